"""Where faces come from: one file a family of formats, and their table."""
