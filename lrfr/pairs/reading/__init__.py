"""Reading a view: one face at a time in a plain DataLoader, or batches in an exact order."""
