"""Benchmarks of surveillance cameras."""
