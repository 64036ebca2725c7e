"""Split-step propagation through phase screens: a slow reference that knows nothing of Zernikes, for
validation only.

A point on the object sends a spherical wave through thin screens; between them it propagates by the angular
spectrum (Schmidt, "Numerical Simulation of Optical Wave Propagation", 2010, chapters 6, 8 and 9). Coordinates
are scaled by L/z, z from the source, so the spherical wave becomes a plane one on a fixed grid, and a step
from z1 to z2 one of L^2 (1/z1 - 1/z2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2

from lrfr.degrade.turbulence.physics.zernike import SPECTRUM

Complex = NDArray[np.complex128]
Array = NDArray[np.float64]

_SUBHARMONICS = 5


@dataclass(frozen=True)
class SplitStep:
    """A path of constant Cn2 and a round aperture.

    Attributes:
        aperture_m, range_m, wavelength_m: D, L and lambda.
        r0_m: Fried's parameter of a spherical wave.
        num_screens: thin screens along the path.
        grid: samples of the wave per side; the grid is four apertures wide.
        screen: samples of a screen per side; sources far from the axis look through other parts of it.

    """

    aperture_m: float
    range_m: float
    wavelength_m: float
    r0_m: float
    num_screens: int = 10
    grid: int = 256
    screen: int = 512

    @property
    def _step_m(self) -> float:
        return 4 * self.aperture_m / self.grid

    @cached_property
    def _places(self) -> Array:
        """Places z / L of the screens, from the source."""
        return (np.arange(self.num_screens) + 0.5) / self.num_screens

    def draw_screens(self, generator: np.random.Generator) -> Array:
        """Return phase screens in scaled coordinates, radians, float64 [num_screens, screen, screen]."""
        # equal layers: sum (z/L)^(5/3) r0_i^(-5/3) = r0^(-5/3); a screen seen enlarged by L/z has an r0 as
        # much larger
        share = self._places ** (5 / 3) / (self._places ** (5 / 3)).sum()
        return np.stack([self._screen(self.r0_m * weight ** (-3 / 5), generator) for weight in share])

    def _screen(self, r0_m: float, generator: np.random.Generator) -> Array:
        size, width = self.screen, self.screen * self._step_m
        frequency = np.fft.fftfreq(size, self._step_m)
        f = np.hypot(frequency[:, None], frequency[None])
        f[0, 0] = np.inf
        amplitude = math.sqrt(SPECTRUM) * r0_m ** (-5 / 6) * f ** (-11 / 6) / width
        noise = generator.standard_normal((2, size, size))
        phase = ifft2((noise[0] + 1j * noise[1]) * amplitude).real * size**2
        place = (np.arange(size) - size / 2) * self._step_m
        for level in range(1, _SUBHARMONICS + 1):
            low = np.array([-1, 0, 1]) / (width * 3**level)
            radius = np.hypot(low[:, None], low[None])
            radius[1, 1] = np.inf
            weight = math.sqrt(SPECTRUM) * r0_m ** (-5 / 6) * radius ** (-11 / 6) * low[2]
            drawn = (generator.standard_normal((3, 3)) + 1j * generator.standard_normal((3, 3))) * weight
            waves = np.exp(2j * math.pi * np.outer(place, low))
            phase += (waves @ drawn @ waves.T).real
        return np.asarray(phase - phase.mean())

    def pupil_field(self, screens: Array, source_m: tuple[float, float] = (0.0, 0.0)) -> Complex:
        """Return the wave in the aperture, complex128 [grid/4, grid/4], of a point at ``source_m`` (y, x) on
        the object.
        """
        wave = np.ones((self.grid, self.grid), complex)
        for number, screen in enumerate(screens):
            place = self._places[number]
            offset = [round(s * (1 / place - 1) / self._step_m) for s in source_m]
            wave *= np.exp(1j * np.roll(screen, offset, (0, 1))[: self.grid, : self.grid])
            following = self._places[number + 1] if number + 1 < self.num_screens else 1.0
            wave = (
                ifft2(fft2(wave) * self._transfer(self.range_m * (1 / place - 1 / following)))
                * self._absorber
            )
        start = self.grid * 3 // 8
        side = slice(start, start + self.grid // 4)
        return np.asarray(wave[side, side] * self._aperture)

    def _transfer(self, distance_m: float) -> Complex:
        frequency = np.fft.fftfreq(self.grid, self._step_m)
        squared = frequency[:, None] ** 2 + frequency[None] ** 2
        # waves that would leave the grid sideways are dropped, or they would come back in on the other side
        kept = np.abs(frequency) * self.wavelength_m * distance_m < self.grid * self._step_m / 2
        return np.asarray(
            np.exp(-1j * math.pi * self.wavelength_m * distance_m * squared) * (kept[:, None] & kept[None])
        )

    @cached_property
    def _absorber(self) -> Array:
        place = (np.arange(self.grid) - self.grid / 2) / (0.47 * self.grid)
        return np.asarray(np.exp(-(np.hypot(place[:, None], place[None]) ** 16)))

    @cached_property
    def _aperture(self) -> Array:
        place = (np.arange(self.grid // 4) + 0.5) / (self.grid / 8) - 1
        return np.asarray(np.hypot(place[:, None], place[None]) <= 1, float)
