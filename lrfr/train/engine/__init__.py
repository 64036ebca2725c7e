"""The training loop and what it stands on: state, loaders, journal, processes, determinism."""
