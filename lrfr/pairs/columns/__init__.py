"""Row arrays: sealed columns of numbers beside the faces of a base."""
