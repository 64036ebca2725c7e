"""Faces become shards: scan, plan, HR and LR tasks, the view."""
