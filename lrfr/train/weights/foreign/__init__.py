"""Models of other programs: what they take, and how they are run."""
