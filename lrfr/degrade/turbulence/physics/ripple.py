"""The part of the tilt field that is finer than its nodes.

Between nodes a spline is too smooth: neighboring pixels would move together more than turbulence lets them
(the mean squared difference at 1 px would be 40 % too small). What is missing is added as the gradient of
random potentials, white noise on cubic B-splines at a few grid spacings. A gradient differs three times more
along a separation than across it at short range, as tilt does; how much of each spacing is found by
non-negative least squares on the structure functions. The added shift is small (0.02 px rms at D/r0 = 1 for a
face crop) and only matters between near neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import nnls
from torch import Tensor

Array = NDArray[np.float64]

_SPACINGS = (1.0, 0.5, 0.25)  # of the potentials' grids, in node spacings
_WEIGHTS = (1.5, 1.0)
LAGS_PX = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Level:
    """One potential: cubic B-splines (value, slope) along rows and columns, each float32 [pixels, knots], and
    its amplitude.
    """

    rows: tuple[Tensor, Tensor]
    columns: tuple[Tensor, Tensor]
    amplitude: float = 1.0

    @property
    def num_normals(self) -> int:
        """How many standard normals a draw takes."""
        return self.rows[0].shape[1] * self.columns[0].shape[1]

    def add_to(self, shifts: Tensor, normals: Tensor) -> None:
        """Add this potential's shifts (x, y) to ``shifts``, float32 [2, H, W], in the unit that was
        fitted.
        """
        value, slope = (self._both_rows @ normals.view(self.rows[0].shape[1], -1)).chunk(2)
        shifts[0].addmm_(value, self.columns[1].T)
        shifts[1].addmm_(slope, self.columns[0].T)

    @cached_property
    def _both_rows(self) -> Tensor:
        """Value and slope along the rows, one below the other, times the amplitude."""
        return torch.cat(self.rows) * self.amplitude

    def structure(self, lag_px: int) -> Array:
        """Return the mean squared shift difference of unit amplitude along and across ``lag_px``, float64
        [2].
        """
        value_x, slope_x = (_mean_power(_difference(part, lag_px)) for part in self.columns)
        value_y, slope_y = (_mean_power(part) for part in self.rows)
        return np.array([value_y * slope_x, slope_y * value_x])


def _mean_power(matrix: Tensor) -> float:
    return float(matrix.double().square().sum(1).mean())


def _difference(matrix: Tensor, lag_px: int) -> Tensor:
    return matrix[lag_px:] - matrix[:-lag_px]


def fit_levels(
    height_px: int, width_px: int, spacing_px: float, wanted: dict[int, Array], present: dict[int, Array]
) -> list[Level]:
    """Return potentials whose structure functions add up to what is missing.

    Args:
        height_px: height of the picture.
        width_px: width of the picture.
        spacing_px: spacing of the tilt nodes.
        wanted: lag in pixels -> mean squared difference along and across; the unit is free.
        present: the same of the interpolated node tilts.

    """
    # a grid finer than the pixels would add only white noise
    spacings = [spacing_px * share for share in _SPACINGS if spacing_px * share >= 0.9]
    levels = [Level(_splines(height_px, step), _splines(width_px, step)) for step in spacings]
    if not levels or not wanted:
        return []
    total = np.concatenate(list(wanted.values()))
    matrix = np.stack([np.concatenate([level.structure(lag) for lag in wanted]) for level in levels], 1)
    # relative to the total, as the errors that remain will be; more along than across, where separable
    # splines fall short
    weight = np.tile(_WEIGHTS, len(wanted)) / total
    power, _ = nnls(matrix * weight[:, None], (total - np.concatenate(list(present.values()))) * weight)
    return [
        Level(level.rows, level.columns, float(np.sqrt(p))) for level, p in zip(levels, power, strict=True)
    ]


def _splines(side_px: int, step_px: float) -> tuple[Tensor, Tensor]:
    """Return value and slope of every cubic B-spline with knots ``step_px`` apart that reaches into the
    picture.
    """
    count = int(np.ceil((side_px - 1) / step_px)) + 3
    knots = (np.arange(count + 4) - 3) * step_px
    spline = BSpline(knots, np.eye(count), 3)
    pixels = np.arange(side_px)
    return torch.from_numpy(spline(pixels)).float(), torch.from_numpy(spline(pixels, 1) * step_px).float()
