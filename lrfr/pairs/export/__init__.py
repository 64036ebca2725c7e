"""Pairs leave a store for the formats of other tools."""
