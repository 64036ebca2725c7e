"""Spatially varying convolution by matrix products: every pixel gathers with its own PSF.

    out(p) = sum_m w_m(p) (phi_m * picture)(p),      phi_m = b_a b_b^T separable,      w_m bilinear between the nodes

The horizontal filters (one per vector) and then the vertical ones (one per product) are banded Toeplitz matrices applied to
blocks of pixels, so that nearly all work is in GEMMs of fixed shape; the weighted sum runs while a filter's maps are still in
the second-level cache. One picture at a time: larger batches fall out of cache and are slower, and a result can then never
depend on its neighbours. Weights that sum to one at the nodes sum to one everywhere: a constant picture stays constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.degrade.turbulence.basis import Basis

_BLOCK_Y = 8  # output rows of one vertical product: (8 + K - 1) / K is the waste of a band inside a dense block
_BLOCK_X = 16
_BAND = 4  # maps made at a time: they and their weights must fit the second-level cache together
_COLOURS = 3


@dataclass(frozen=True)
class _Band:
    """A few products that share one horizontal vector ``x``: their vertical Toeplitz matrices stacked, and their place among all."""

    matrix: Tensor  # float32 [count * _BLOCK_Y, _BLOCK_Y + K - 1]
    x: int
    first: int
    count: int


@dataclass(frozen=True)
class Workspace:
    """Buffers of one running loop over pictures (fresh ones would be paged in anew every time, at half the renderer's cost)."""

    padded: Tensor  # [3, rows, columns + K - 1]
    blocks: Tensor  # [blocks_x, 3 * rows, V * _BLOCK_X]
    filtered: Tensor  # [V, 3 * rows, columns]
    weights: Tensor  # [largest band * blocks_y * _BLOCK_Y * columns]
    maps: Tensor  # [largest band * series * _BLOCK_Y * columns]
    out: Tensor  # [3, blocks_y, _BLOCK_Y * columns]


class Renderer:
    """Renders pictures of one size with PSFs of one basis; holds constants only, so threads may share one."""

    def __init__(self, height_px: int, width_px: int, rows_px: NDArray[np.float64], columns_px: NDArray[np.float64], basis: Basis) -> None:
        """Prepare constants; ``rows_px`` and ``columns_px`` are the node positions."""
        self.height_px, self.width_px = height_px, width_px
        self.nodes = rows_px.size, columns_px.size
        radius = basis.window_px // 2
        self.blocks_y, self.blocks_x = -(-height_px // _BLOCK_Y), -(-width_px // _BLOCK_X)
        self.window_y, self.window_x = _BLOCK_Y + 2 * radius, _BLOCK_X + 2 * radius
        # rows per colour are whole blocks, so that the vertical windows of all colours are one regular series
        self.rows = -(-(self.blocks_y * _BLOCK_Y + 2 * radius) // _BLOCK_Y) * _BLOCK_Y
        self.columns = self.blocks_x * _BLOCK_X
        # windows of all colours; a few between two colours mix both and are not used
        self._series = (_COLOURS - 1) * (self.rows // _BLOCK_Y) + self.blocks_y
        self._pad_rows = _reflected(np.arange(self.rows) - radius, height_px)
        self._radius = radius
        self._pad_left = _reflected(np.arange(radius) - radius, width_px)
        self._pad_right = _reflected(np.arange(width_px, self.columns + radius), width_px)
        self._weight_rows = _linear(rows_px, self.blocks_y * _BLOCK_Y)
        self._weight_columns_t = _linear(columns_px, self.columns).T.contiguous()
        self.vectors = basis.vectors_kv.shape[1]
        self._horizontal = torch.cat([_toeplitz(v, _BLOCK_X).T for v in basis.vectors_kv.T], dim=1).contiguous()
        self._bands = _bands(basis)

    def workspace(self) -> Workspace:
        """Return buffers for one loop over pictures."""
        largest, block = max(band.count for band in self._bands), _BLOCK_Y * self.columns
        return Workspace(
            padded=torch.empty(_COLOURS, self.rows, self.columns + 2 * self._radius),
            blocks=torch.empty(self.blocks_x, _COLOURS * self.rows, self.vectors * _BLOCK_X),
            filtered=torch.empty(self.vectors, _COLOURS * self.rows, self.columns),
            weights=torch.empty(largest * self.blocks_y * block),
            maps=torch.empty(largest * self._series * block),
            out=torch.empty(_COLOURS, self.blocks_y, block),
        )

    def __call__(self, picture_chw: Tensor, coefficients_nm: Tensor, space: Workspace) -> Tensor:
        """Return the blurred picture.

        Args:
            picture_chw: float32 [3, H, W].
            coefficients_nm: basis coefficients at the nodes, row-major, float32 [N, M].
            space: buffers from :meth:`workspace`.

        Returns:
            float32 [3, H, W], a view into ``space.out``.

        """
        self._filter_horizontally(picture_chw, space)
        by_row = coefficients_nm.T.contiguous().view(-1, self.nodes[1])
        nodes = torch.mm(by_row, self._weight_columns_t).view(-1, self.nodes[0], self.columns)
        space.out.zero_()
        for band in self._bands:
            self._accumulate(band, space.filtered[band.x], nodes[band.first : band.first + band.count], space)
        return space.out.view(_COLOURS, -1, self.columns)[:, : self.height_px, : self.width_px]

    def _filter_horizontally(self, picture_chw: Tensor, space: Workspace) -> None:
        """Fill ``space.filtered`` with the picture, padded, filtered along x by every vector."""
        rows = picture_chw.index_select(1, self._pad_rows)
        centre = slice(self._radius, self._radius + self.width_px)
        space.padded[:, :, centre] = rows
        space.padded[:, :, : centre.start] = rows.index_select(2, self._pad_left)
        space.padded[:, :, centre.stop :] = rows.index_select(2, self._pad_right)
        windows = space.padded.as_strided((self.blocks_x, _COLOURS * self.rows, self.window_x), (_BLOCK_X, space.padded.stride(1), 1))
        torch.bmm(windows, self._horizontal.expand(self.blocks_x, -1, -1), out=space.blocks)
        by_vector = space.blocks.view(self.blocks_x, _COLOURS * self.rows, self.vectors, _BLOCK_X).permute(2, 1, 0, 3)
        space.filtered.view(self.vectors, _COLOURS * self.rows, self.blocks_x, _BLOCK_X).copy_(by_vector)

    def _accumulate(self, band: _Band, filtered: Tensor, nodes: Tensor, space: Workspace) -> None:
        """Filter one horizontally filtered picture by a band's vertical vectors and add the weighted maps to ``space.out``."""
        block, per_colour = _BLOCK_Y * self.columns, self.rows // _BLOCK_Y
        weights = space.weights[: band.count * self.blocks_y * block].view(band.count, self.blocks_y * _BLOCK_Y, self.columns)
        torch.bmm(self._weight_rows.expand(band.count, -1, -1), nodes, out=weights)
        windows = filtered.as_strided((self._series, self.window_y, self.columns), (block, self.columns, 1), filtered.storage_offset())
        maps = space.maps[: self._series * band.count * block].view(self._series, band.count * _BLOCK_Y, self.columns)
        torch.bmm(band.matrix.expand(self._series, -1, -1), windows, out=maps)
        shape, strides = (_COLOURS, self.blocks_y, block), (per_colour * band.count * block, band.count * block, 1)
        for place, weight in enumerate(weights.view(band.count, self.blocks_y, block)):
            space.out.addcmul_(maps.as_strided(shape, strides, place * block), weight)


def _reflected(index: NDArray[np.int64], size: int) -> Tensor:
    """Map indices outside 0 .. size - 1 back inside by reflection about the outermost pixels, as often as needed."""
    index = np.abs(index) % (2 * size - 2)
    return torch.from_numpy(np.where(index >= size, 2 * size - 2 - index, index))


def _linear(positions_px: NDArray[np.float64], count: int) -> Tensor:
    """Return linear interpolation from nodes to pixels 0 .. count - 1, constant beyond the last node, float32 [count, nodes]."""
    hats = [np.interp(np.arange(count), positions_px, unit) for unit in np.eye(positions_px.size)]
    return torch.from_numpy(np.stack(hats, 1)).float()


def _toeplitz(kernel: Tensor, outputs: int) -> Tensor:
    """Return the matrix that convolves a window of outputs + K - 1 samples, float32 [outputs, outputs + K - 1]."""
    size = kernel.numel()
    matrix = torch.zeros(outputs, outputs + size - 1)
    for row in range(outputs):
        matrix[row, row : row + size] = kernel.flip(0)
    return matrix


def _bands(basis: Basis) -> list[_Band]:
    bands = []
    for x in range(basis.vectors_kv.shape[1]):
        places = (basis.pairs_m2[:, 1] == x).nonzero()[:, 0].tolist()
        for start in range(0, len(places), _BAND):
            part = places[start : start + _BAND]
            vertical = [_toeplitz(basis.vectors_kv[:, int(basis.pairs_m2[place, 0])], _BLOCK_Y) for place in part]
            bands.append(_Band(torch.cat(vertical), x, part[0], len(part)))
    return bands
