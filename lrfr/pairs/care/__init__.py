"""A store is looked at, verified, repaired and described."""
