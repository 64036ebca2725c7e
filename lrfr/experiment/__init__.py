"""Declared comparisons: a YAML file becomes a resumable plan of command lines."""
