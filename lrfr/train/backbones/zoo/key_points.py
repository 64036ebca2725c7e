"""Key-point relative position encoding (KP-RPE): attention is biased by where patches lie relative to each
other and to the landmarks of the face.

Sources: Kim, Su, Liu, Jain and Liu, "KeyPoint Relative Position Encoding for Face Recognition", CVPR 2024;
the buckets are those of Wu et al., "Rethinking and Improving Relative Position Encoding for Vision
Transformer", ICCV 2021, Eq. 18, by the product of rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lrfr.core.landmarks import TEMPLATE

_TEMPLATE_PX = 112
# what CVLface ships (its ratio is 1.9): exact up to alpha patches, logarithmic to gamma, at most beta
_ALPHA, _BETA, _GAMMA = 1.9, 3.8, 15.2
_REACH = int(_BETA)
BUCKETS = (2 * _REACH + 1) ** 2


class KeyPointLinear(nn.Linear):
    """What every patch gives for every bucket of distances, of each head and block: a linear function of its
    offsets from five landmarks, which are those of the template that faces are aligned to.

    Args:
        side: patches along a side of the picture.
        heads: of the attention.
        depth: number of blocks.

    """

    offsets_tk: Tensor
    bucket_tt: Tensor

    def __init__(self, side: int, heads: int, depth: int) -> None:
        super().__init__(TEMPLATE.size, BUCKETS * heads * depth)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        self.heads = heads
        # functions of the layout alone: no part of the weights
        self.register_buffer("offsets_tk", landmark_offsets(side), persistent=False)
        self.register_buffer("bucket_tt", distance_buckets(side), persistent=False)

    def biases(self) -> Iterator[Tensor]:
        """Yield what is added to the attention of each block, ``[1, heads, T, T]`` by query and key."""
        values_ntb = self(self.offsets_tk).unflatten(1, (-1, BUCKETS)).transpose(0, 1)
        for part_htb in values_ntb.split(self.heads):
            yield part_htb.gather(2, self.bucket_tt.expand(self.heads, -1, -1))[None]


def landmark_offsets(side: int) -> Tensor:
    """Return the offsets (x, y) of the patches' centers from the template's landmarks, float32 ``[T, 10]``,
    in sides of the picture; patches go row by row.
    """
    centers = (torch.arange(side) + 0.5) / side
    rows, columns = torch.meshgrid(centers, centers, indexing="ij")
    centers_t12 = torch.stack([columns, rows], dim=-1).view(-1, 1, 2)
    landmarks_12 = torch.tensor(TEMPLATE / _TEMPLATE_PX, dtype=torch.float32)
    return (centers_t12 - landmarks_12).flatten(1)


def distance_buckets(side: int) -> Tensor:
    """Return the bucket of every pair of patches, int64 ``[T, T]`` by query and key."""
    place = torch.arange(side)
    near = _bucket(place[:, None] - place[None])  # [side, side], by row or column of query and key
    rows, columns = (index.flatten() for index in torch.meshgrid(place, place, indexing="ij"))
    by_row, by_column = near[rows[:, None], rows[None]], near[columns[:, None], columns[None]]
    return by_row * (2 * _REACH + 1) + by_column


def _bucket(distance: Tensor) -> Tensor:
    """Return signed distances in patches as numbers from 0 to twice the reach."""
    far = distance.abs().clamp_min(1).double()
    stretch = (_BETA - _ALPHA) / math.log(_GAMMA / _ALPHA)
    reached = (_ALPHA + torch.log(far / _ALPHA) * stretch).round().clamp_max(_REACH).long()
    return torch.where(distance.abs() <= _ALPHA, distance, distance.sign() * reached) + _REACH
