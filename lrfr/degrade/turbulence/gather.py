"""Spatially varying convolution by matrix products: every pixel gathers with its own PSF.

    out(p) = sum_m w_m(p) (phi_m * picture)(p),      phi_m = b_a b_b^T separable,      w_m bilinear between
    the nodes

The horizontal filters (one per vector) and then the vertical ones (one per product) are banded Toeplitz
matrices applied to blocks of pixels, so that nearly all work is in GEMMs of fixed shape; a vector's products
and their weighted sum follow while its maps are still in the second-level cache. One picture at a time:
larger batches fall out of cache and are slower, and a result can then never depend on its neighbors. Weights
that sum to one at the nodes sum to one everywhere: a constant picture stays constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.degrade.turbulence.physics.basis import Basis

_BLOCK_Y = (
    8  # output rows of one vertical product: (8 + K - 1) / K is the waste of a band inside a dense block
)
_BLOCK_X = 16
_BAND = 4  # maps made at a time: they and their weights must fit the second-level cache together
_COLORS = 3


@dataclass(frozen=True)
class _Band:
    """A few products that share one horizontal vector: their vertical Toeplitz matrices stacked, and their
    place among all.
    """

    matrix: Tensor  # float32 [count * _BLOCK_Y, _BLOCK_Y + K - 1]
    first: int
    count: int


@dataclass(frozen=True)
class _Views:
    """A band's part of the buffers; making views takes as long as the small products themselves, so they are
    made once.
    """

    matrix: Tensor  # [series, count * _BLOCK_Y, window_y]
    nodes: Tensor  # [count, node rows, columns]
    weights: Tensor  # [count, blocks_y * _BLOCK_Y, columns]
    maps: Tensor  # [series, count * _BLOCK_Y, columns]
    terms: list[
        tuple[Tensor, Tensor]
    ]  # of each product: its map [3, blocks_y, _BLOCK_Y * columns] and the weight of every pixel


@dataclass(frozen=True)
class Workspace:
    """Buffers of one running loop over pictures (fresh ones would be paged in anew every time, at half the
    renderer's cost).
    """

    padded: Tensor  # [3, rows, columns + K - 1]
    windows_x: Tensor  # view of padded: [blocks_x, 3 * rows, window_x]
    blocks: Tensor  # [blocks_x, 3 * rows, _BLOCK_X]
    filtered: Tensor  # [3 * rows, columns]
    windows_y: Tensor  # view of filtered: [series, window_y, columns]
    nodes: Tensor  # [M * node rows, columns]
    bands: list[list[_Views]]  # of each horizontal vector; all share the same memory for weights and maps
    out: Tensor  # [3, blocks_y, _BLOCK_Y * columns]


class Renderer:
    """Renders pictures of one size with PSFs of one basis; holds constants only, so threads may share one."""

    def __init__(
        self,
        height_px: int,
        width_px: int,
        rows_px: NDArray[np.float64],
        columns_px: NDArray[np.float64],
        basis: Basis,
    ) -> None:
        """Prepare constants; ``rows_px`` and ``columns_px`` are the node positions."""
        self.height_px, self.width_px = height_px, width_px
        self.nodes = rows_px.size, columns_px.size
        radius = basis.window_px // 2
        self.blocks_y, self.blocks_x = -(-height_px // _BLOCK_Y), -(-width_px // _BLOCK_X)
        self.window_y, self.window_x = _BLOCK_Y + 2 * radius, _BLOCK_X + 2 * radius
        # rows per color are whole blocks, so that the vertical windows of all colors are one regular series
        self.rows = -(-(self.blocks_y * _BLOCK_Y + 2 * radius) // _BLOCK_Y) * _BLOCK_Y
        self.columns = self.blocks_x * _BLOCK_X
        # windows of all colors; a few between two colors mix both and are not used
        self._series = (_COLORS - 1) * (self.rows // _BLOCK_Y) + self.blocks_y
        self._pad_rows = _reflected(np.arange(self.rows) - radius, height_px)
        self._radius = radius
        self._pad_left = _reflected(np.arange(radius) - radius, width_px)
        self._pad_right = _reflected(np.arange(width_px, self.columns + radius), width_px)
        self._weight_rows = _linear(rows_px, self.blocks_y * _BLOCK_Y).expand(_BAND, -1, -1)
        self._weight_columns_t = _linear(columns_px, self.columns).T.contiguous()
        self._horizontal = [
            _toeplitz(vector, _BLOCK_X).T.contiguous().expand(self.blocks_x, -1, -1)
            for vector in basis.vectors_kv.T
        ]
        self._bands = _bands(basis)

    def workspace(self) -> Workspace:
        """Return buffers for one loop over pictures."""
        block = _BLOCK_Y * self.columns
        padded = torch.empty(_COLORS, self.rows, self.columns + 2 * self._radius)
        filtered = torch.empty(_COLORS * self.rows, self.columns)
        nodes = torch.empty(
            sum(band.count for bands in self._bands for band in bands) * self.nodes[0], self.columns
        )
        weights, maps = torch.empty(_BAND * self.blocks_y * block), torch.empty(_BAND * self._series * block)
        return Workspace(
            padded=padded,
            windows_x=padded.as_strided(
                (self.blocks_x, _COLORS * self.rows, self.window_x), (_BLOCK_X, padded.stride(1), 1)
            ),
            blocks=torch.empty(self.blocks_x, _COLORS * self.rows, _BLOCK_X),
            filtered=filtered,
            windows_y=filtered.as_strided(
                (self._series, self.window_y, self.columns), (block, self.columns, 1)
            ),
            nodes=nodes,
            bands=[[self._views(band, nodes, weights, maps) for band in bands] for bands in self._bands],
            out=torch.empty(_COLORS, self.blocks_y, block),
        )

    def _views(self, band: _Band, nodes: Tensor, weights: Tensor, maps: Tensor) -> _Views:
        block, per_color = _BLOCK_Y * self.columns, self.rows // _BLOCK_Y
        maps = maps[: self._series * band.count * block]
        weights = weights[: band.count * self.blocks_y * block]
        shape, strides = (
            (_COLORS, self.blocks_y, block),
            (per_color * band.count * block, band.count * block, 1),
        )
        each = [maps.as_strided(shape, strides, place * block) for place in range(band.count)]
        return _Views(
            matrix=band.matrix.expand(self._series, -1, -1),
            nodes=nodes.view(-1, self.nodes[0], self.columns)[band.first : band.first + band.count],
            weights=weights.view(band.count, self.blocks_y * _BLOCK_Y, self.columns),
            maps=maps.view(self._series, band.count * _BLOCK_Y, self.columns),
            terms=list(zip(each, weights.view(band.count, self.blocks_y, block), strict=True)),
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
        self._pad(picture_chw, space)
        torch.mm(
            coefficients_nm.T.contiguous().view(-1, self.nodes[1]), self._weight_columns_t, out=space.nodes
        )
        space.out.zero_()
        for matrix, bands in zip(self._horizontal, space.bands, strict=True):
            torch.bmm(space.windows_x, matrix, out=space.blocks)
            space.filtered.view(-1, self.blocks_x, _BLOCK_X).copy_(space.blocks.transpose(0, 1))
            for band in bands:
                torch.bmm(self._weight_rows[: len(band.nodes)], band.nodes, out=band.weights)
                torch.bmm(band.matrix, space.windows_y, out=band.maps)
                for one, weight in band.terms:
                    space.out.addcmul_(one, weight)
        return space.out.view(_COLORS, -1, self.columns)[:, : self.height_px, : self.width_px]

    def _pad(self, picture_chw: Tensor, space: Workspace) -> None:
        """Fill ``space.padded`` with the picture and its mirrored borders."""
        rows = picture_chw.index_select(1, self._pad_rows)
        center = slice(self._radius, self._radius + self.width_px)
        space.padded[:, :, center] = rows
        space.padded[:, :, : center.start] = rows.index_select(2, self._pad_left)
        space.padded[:, :, center.stop :] = rows.index_select(2, self._pad_right)


def _reflected(index: NDArray[np.int64], size: int) -> Tensor:
    """Map indices outside 0 .. size - 1 back inside by reflection about the outermost pixels, as often as
    needed.
    """
    index = np.abs(index) % (2 * size - 2)
    return torch.from_numpy(np.where(index >= size, 2 * size - 2 - index, index))


def _linear(positions_px: NDArray[np.float64], count: int) -> Tensor:
    """Return linear interpolation from nodes to pixels 0 .. count - 1, constant beyond the last node, float32
    [count, nodes].
    """
    hats = [np.interp(np.arange(count), positions_px, unit) for unit in np.eye(positions_px.size)]
    return torch.from_numpy(np.stack(hats, 1)).float()


def _toeplitz(kernel: Tensor, outputs: int) -> Tensor:
    """Return the matrix that convolves a window of outputs + K - 1 samples, float32 [outputs, outputs + K -
    1].
    """
    size = kernel.numel()
    matrix = torch.zeros(outputs, outputs + size - 1)
    for row in range(outputs):
        matrix[row, row : row + size] = kernel.flip(0)
    return matrix


def _bands(basis: Basis) -> list[list[_Band]]:
    """Return the bands of each horizontal vector."""
    bands: list[list[_Band]] = [[] for _ in basis.vectors_kv.T]
    for x, same in enumerate(bands):
        places = (basis.pairs_m2[:, 1] == x).nonzero()[:, 0].tolist()
        for start in range(0, len(places), _BAND):
            part = places[start : start + _BAND]
            # convolution, not correlation: :func:`_toeplitz` flips the vector
            vertical = [
                _toeplitz(basis.vectors_kv[:, int(basis.pairs_m2[place, 0])], _BLOCK_Y) for place in part
            ]
            same.append(_Band(torch.cat(vertical), part[0], len(part)))
    return bands
