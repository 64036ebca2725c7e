"""Controllable face-style degradation."""
