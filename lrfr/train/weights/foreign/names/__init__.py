"""Whose weights these are: names of tensors, families of programs, and the backbone that they fit."""
