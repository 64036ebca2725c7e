"""Where faces come from: one file a family of formats, listed in ``SOURCES``."""
