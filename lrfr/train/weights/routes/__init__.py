"""Several recognizers as one model: which takes a face of which size, and with what weight."""
