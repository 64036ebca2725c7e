"""Weights enter and leave: import, export, routing."""
