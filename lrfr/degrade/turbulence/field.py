"""Random tilt and Zernike fields over a grid of nodes, with the right variance at every node and correlation
between nodes.

Node noise is multiplied by symmetric square roots of covariance matrices. Unlike an FFT on a torus this wraps
nothing around (tilt has most of its power at the longest waves) and works for any height and width. The roots
do not depend on D/r0, which only scales the result by (D/r0)^(5/6). Symmetric roots, not Cholesky factors:
they exist for nearly singular matrices without jitter, and are unique.

Tilts of all nodes and both axes are drawn jointly. For modes 4 .. J each order n has its own correlation over
the nodes, and Noll's covariance mixes the modes at every node (Chimitt and Chan, arXiv 2004.11210; cross-mode
correlation between *different* nodes follows from the mix alone). Tilt and higher orders are independent,
although Noll couples coma to tilt (r = -0.27).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import ndtri
from torch import Tensor

from lrfr.degrade.turbulence.physics.angular import Correlation
from lrfr.degrade.turbulence.physics.ripple import LAGS_PX, Level, fit_levels
from lrfr.degrade.turbulence.physics.zernike import noll_covariance, radial_orders

# all modes up to radial order 10
MAX_MODES = 66
_NODE_SPACING = 0.15  # wanted distance of nodes in units of D
# a cubic spline needs four nodes; the cost of the roots grows with the sixth power of the nodes a side
_MIN_NODES, _MAX_NODES = 4, 28
_RIPPLE_ORDER = 7  # in a sequence the finest shifts forget as fast as this radial order


@dataclass(frozen=True)
class Geometry:
    """Everything that the fields depend on; equal geometries share one :class:`FieldModel` (it is the cache
    key).

    Attributes:
        height_px, width_px: size of the picture.
        pixel_over_aperture: object-plane pixel over aperture diameter, s_px.
        pixels_per_airy: q, image pixels per lambda/D; 2 is Nyquist sampling.
        outer_scale_over_aperture: L0 / D; infinity is Kolmogorov turbulence.

    """

    height_px: int
    width_px: int
    pixel_over_aperture: float = 0.02
    pixels_per_airy: float = 2.0
    outer_scale_over_aperture: float = math.inf


def node_positions(side_px: int, pixel_over_aperture: float) -> NDArray[np.float64]:
    """Return node positions [px] along one axis, the first and last on the outermost pixel centers, at most
    0.15 D apart or 28.
    """
    wanted = math.ceil((side_px - 1) * pixel_over_aperture / _NODE_SPACING - 1e-9) + 1
    return np.linspace(0, side_px - 1, min(max(wanted, _MIN_NODES), _MAX_NODES))


class FieldModel:
    """Square roots of all covariances for one geometry; made once by :func:`field_model`."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.rows_px = node_positions(geometry.height_px, geometry.pixel_over_aperture)
        self.columns_px = node_positions(geometry.width_px, geometry.pixel_over_aperture)
        self.num_nodes = self.rows_px.size * self.columns_px.size
        y, x = np.meshgrid(self.rows_px, self.columns_px, indexing="ij")
        self._dy = np.subtract.outer(y.ravel(), y.ravel()) * geometry.pixel_over_aperture
        self._dx = np.subtract.outer(x.ravel(), x.ravel()) * geometry.pixel_over_aperture
        self._correlation = Correlation(
            int(radial_orders(MAX_MODES).max()), geometry.outer_scale_over_aperture
        )
        self.mixing = torch.from_numpy(np.linalg.cholesky(noll_covariance(MAX_MODES, 4))).float()

    @cached_property
    def tilt_root(self) -> Tensor:
        """Root of the joint tilt covariance (x of all nodes, then y), radians at D/r0 = 1, float32 [2N,
        2N].
        """
        distance, unique, places = self._distances()
        along, across = (values[places] for values in self._correlation.tilt(unique))
        safe = np.where(distance > 0, distance, 1.0)
        # a node and itself have no direction, and need none: there the two covariances are equal
        cos, sin = np.where(distance > 0, self._dx / safe, 1.0), self._dy / safe
        xx = along * cos**2 + across * sin**2
        yy = along * sin**2 + across * cos**2
        xy = (along - across) * cos * sin
        return _symmetric_root(np.block([[xx, xy], [xy, yy]]))

    @cached_property
    def order_roots(self) -> list[Tensor]:
        """Root of each radial order's correlation over the nodes, float32 [N, N], for n = 2, 3, ..."""
        _, unique, places = self._distances()
        return [
            _symmetric_root(self._correlation.order(n, unique)[places])
            for n in range(2, self._correlation.max_order + 1)
        ]

    def _distances(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
        """Return distances [N, N] in units of D, their distinct values, and where each stands among those."""
        distance = np.hypot(self._dx, self._dy)
        unique, places = np.unique(distance.round(9), return_inverse=True)
        return distance, unique, places.reshape(distance.shape)

    def num_normals(self, num_modes: int) -> int:
        """Return how many standard normals one draw of tilt and modes 4 .. ``num_modes`` takes."""
        return self._first_mode + self.num_nodes * (num_modes - 3)

    @property
    def _first_mode(self) -> int:
        return 2 * self.num_nodes + sum(level.num_normals for level in self.ripples)

    def shifts_px(self, normals: Tensor) -> Tensor:
        """Return pixel shifts (x, y) at D/r0 = 1, float32 [2, H, W]: node tilts, interpolated, and what is
        finer than the nodes.

        A tilt of a radians turns the beam by (2 / pi) a lambda / D, which is (2 / pi) q a pixels (Noll 1976:
        a2 Z2 = 2 a2 x).
        """
        tilt = (self.tilt_root @ normals[: 2 * self.num_nodes]).view(
            2, self.rows_px.size, self.columns_px.size
        )
        shifts = self.smooth_rows @ tilt @ self.smooth_columns.T
        start = 2 * self.num_nodes
        for level in self.ripples:
            level.add_to(shifts, normals[start : start + level.num_normals])
            start += level.num_normals
        return shifts * (2 / math.pi * self.geometry.pixels_per_airy)

    @cached_property
    def ripples(self) -> list[Level]:
        """What interpolated node tilts lack at short range, in radians at D/r0 = 1."""
        wanted, present = {}, {}
        for lag in (lag for lag in LAGS_PX if lag < self.geometry.width_px):
            along, across = self._correlation.tilt(np.array([0, lag * self.geometry.pixel_over_aperture]))
            wanted[lag] = 2 * np.array([along[0] - along[1], across[0] - across[1]])
            present[lag] = self._interpolated_structure(lag)
        spacing_px = float(self.columns_px[1] - self.columns_px[0])
        return fit_levels(self.geometry.height_px, self.geometry.width_px, spacing_px, wanted, present)

    def _interpolated_structure(self, lag_px: int) -> NDArray[np.float64]:
        """Return the mean squared difference of interpolated tilts along and across a horizontal lag, float64
        [2].
        """
        rows = self.smooth_rows[:: max(1, self.geometry.height_px // 24)].double()
        columns = self.smooth_columns.double()
        columns = (columns[lag_px:] - columns[:-lag_px])[:: max(1, self.geometry.width_px // 48)]
        weights = torch.einsum("yg,xh->yxgh", rows, columns).reshape(-1, self.num_nodes)
        halves = [
            weights @ root
            for root in (self.tilt_root[: self.num_nodes].double(), self.tilt_root[self.num_nodes :].double())
        ]
        return np.array([float(half.square().sum(1).mean()) for half in halves])

    def zernike(self, normals: Tensor, num_modes: int) -> Tensor:
        """Return the coefficients of modes 4 .. ``num_modes`` in radians at D/r0 = 1, float32 [N, num_modes -
        3].

        The draws of a mode do not depend on ``num_modes``: a longer expansion only adds modes.
        """
        unit = normals[self._first_mode :][: (num_modes - 3) * self.num_nodes].view(-1, self.num_nodes)
        fields = [
            rows @ root
            for rows, root in zip(torch.split(unit, _order_sizes(num_modes)), self.order_roots, strict=False)
        ]
        return (self.mixing[: num_modes - 3, : num_modes - 3] @ torch.cat(fields)).T

    def next_frame(self, normals: Tensor, fresh: Tensor, rho: float, num_modes: int) -> Tensor:
        """Return the normals of the next frame of a sequence, correlated with this one's by ``rho`` per frame
        for tilt.

        An autoregression of order one on the node noise keeps every frame's statistics exact. Order n forgets
        as rho^((n+1)/2): its temporal cutoff grows as n + 1 (Conan, Rousset, Madec, JOSA A 12 (1995) 1559).
        """
        ripples = sum(level.num_normals for level in self.ripples)
        orders = [
            np.full(2 * self.num_nodes, 1),
            np.full(ripples, _RIPPLE_ORDER),
            np.repeat(radial_orders(num_modes), self.num_nodes),
        ]
        memory = torch.from_numpy(rho ** ((np.concatenate(orders) + 1) / 2)).float()
        return normals * memory + fresh * (1 - memory**2).sqrt()

    @cached_property
    def smooth_rows(self) -> Tensor:
        """Cubic-spline interpolation from node rows to pixel rows, float32 [H, rows]."""
        return _spline(self.rows_px, self.geometry.height_px)

    @cached_property
    def smooth_columns(self) -> Tensor:
        """Cubic-spline interpolation from node columns to pixel columns, float32 [W, columns]."""
        return _spline(self.columns_px, self.geometry.width_px)


@functools.cache
def _order_sizes(num_modes: int) -> list[int]:
    """Return how many of the modes 4 .. ``num_modes`` have radial order 2, 3, ... (Noll's order goes up in
    n).
    """
    return [int(count) for count in np.bincount(radial_orders(num_modes))[2:]]


def _symmetric_root(matrix: NDArray[np.float64]) -> Tensor:
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    # eigenvalues near rounding are set to zero: their square roots would carry rounding noise into the
    # seventh digit
    values = torch.where(values > 1e-10 * values[-1], values, 0.0)
    root: Tensor = vectors * values.sqrt() @ vectors.T
    return root.float()


def _spline(positions_px: NDArray[np.float64], side_px: int) -> Tensor:
    return torch.from_numpy(CubicSpline(positions_px, np.eye(positions_px.size))(np.arange(side_px))).float()


@functools.lru_cache(maxsize=8)
def field_model(geometry: Geometry) -> FieldModel:
    """Return the field model of a geometry; the last eight are kept, keyed by every parameter."""
    return FieldModel(geometry)


@functools.cache
def _quantiles() -> NDArray[np.float32]:
    return np.asarray(ndtri((np.arange(65536) + 0.5) / 65536), np.float32)


def normals_from_words(words_u16: NDArray[np.uint16]) -> Tensor:
    """Map uniform 16-bit words to standard normals by the quantile function, float32 (|z| <= 4.3, std
    0.99999).
    """
    return torch.from_numpy(_quantiles()[words_u16])
