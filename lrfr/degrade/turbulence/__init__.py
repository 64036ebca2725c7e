"""Atmospheric turbulence from first principles."""
