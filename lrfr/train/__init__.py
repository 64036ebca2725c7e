"""ROOM 3: shards become weights."""
