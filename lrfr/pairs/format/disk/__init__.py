"""Files of a store as they lie on disk, read so that no damage in them can end the process."""
