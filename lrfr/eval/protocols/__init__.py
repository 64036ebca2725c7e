"""The papers' protocols, one file a family, and the table of benchmarks."""
