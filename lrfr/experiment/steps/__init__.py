"""The steps of a declared comparison: which command lines it takes, and running them."""
