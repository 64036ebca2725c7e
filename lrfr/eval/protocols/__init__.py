"""One file per family of benchmark protocols."""
