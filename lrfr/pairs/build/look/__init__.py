"""The first look at the bytes of a source, and what is remembered of it."""
