"""A camera's crops become the spec that makes such crops of clean faces."""
