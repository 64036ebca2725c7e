"""Where tasks run: here, in processes, on Ray; the bytes do not depend on it."""
