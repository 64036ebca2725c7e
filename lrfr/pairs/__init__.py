"""ROOM 2: faces become shards."""
