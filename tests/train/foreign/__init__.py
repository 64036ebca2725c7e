"""Files of other programs: readers, families, imports."""
