"""Whether a recipe's networks and its parents' go together: what they are, and then two faces."""
