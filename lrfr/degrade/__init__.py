"""ROOM 1: a YAML spec becomes pixels."""
