"""A YAML recipe becomes a validated spec: resolved, checked, with a digest."""
