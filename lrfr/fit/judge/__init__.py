"""How far two sets of faces are apart, and whether that can be told."""
