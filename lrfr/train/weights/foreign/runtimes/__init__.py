"""Files of other programs, opened and run."""
