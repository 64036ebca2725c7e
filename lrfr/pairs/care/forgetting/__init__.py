"""Forgetting faces: which rows are meant, shards and texts without them, views that move, and the act."""
