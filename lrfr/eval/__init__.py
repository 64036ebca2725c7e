"""ROOM 4: embeddings become numbers, plots and a report."""
