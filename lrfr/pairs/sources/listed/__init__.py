"""Sources that are a list of faces beside the files it names."""
