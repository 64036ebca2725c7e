"""Sources that are one file, or a few, with many faces inside."""
