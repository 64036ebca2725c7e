"""From meters to the dimensionless numbers of the simulator: D/r0, pixels per lambda/D, and pixel over
aperture.

r0 is Fried's parameter of a spherical wave at the stated wavelength (it grows as wavelength^(6/5)):
r0 = (0.423 k^2 Int_0^L Cn2(z) (1 - z/L)^(5/3) dz)^(-3/5), z from the camera, k = 2 pi / lambda; for constant
Cn2 the integral is 3 L / 8 Cn2. Source: Fried 1966; Roggemann and Welsh, "Imaging Through Turbulence" (1996),
chapter 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Optics:
    """One camera and path.

    Attributes:
        aperture_m: diameter D of the lens, meters.
        range_m: distance L to the face, meters.
        wavelength_nm: mean wavelength lambda, nanometers.
        pixel_m: size of one image pixel on the face, meters (a 112-px face crop of 0.22 m: 0.002).

    """

    aperture_m: float
    range_m: float
    wavelength_nm: float
    pixel_m: float

    @property
    def pixels_per_airy(self) -> float:
        """Image pixels per lambda/D, q; 2 is Nyquist sampling of the lens's resolution."""
        return self.wavelength_nm * 1e-9 * self.range_m / (self.aperture_m * self.pixel_m)

    @property
    def pixel_over_aperture(self) -> float:
        """Pixel on the face over aperture: how fast turbulence decorrelates from pixel to pixel."""
        return self.pixel_m / self.aperture_m

    def r0_m(self, cn2: float) -> float:
        """Return Fried's parameter in meters for a constant Cn2 in m^(-2/3); infinite without turbulence."""
        return math.pow(self._strength_per_cn2() * cn2, -0.6) if cn2 > 0 else math.inf

    def cn2(self, r0_m: float) -> float:
        """Return the constant Cn2 in m^(-2/3) that gives Fried's parameter ``r0_m``."""
        return math.pow(r0_m, -5 / 3) / self._strength_per_cn2()

    def _strength_per_cn2(self) -> float:
        wave_number = 2 * math.pi / (self.wavelength_nm * 1e-9)
        return 0.423 * wave_number**2 * 3 * self.range_m / 8
