"""One file a method of the literature, and their table."""
