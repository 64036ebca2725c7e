"""A fit from paths: what is read, run and written, and its page."""
