"""What a model costs, and what resolution does to signals and pictures."""
