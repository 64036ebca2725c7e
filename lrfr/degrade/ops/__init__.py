"""Degradation operators."""
