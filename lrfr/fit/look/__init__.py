"""What is seen in crops: files, containers, sizes, statistics."""
