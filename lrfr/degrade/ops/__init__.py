"""The operators of the degradation language, one file a family, and their table."""
