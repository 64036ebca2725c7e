"""The optics of turbulence: Zernike statistics, point-spread functions, theory."""
