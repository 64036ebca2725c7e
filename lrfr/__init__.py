"""lrfr: a degradation engine, pair store, trainers and evaluator for low-resolution face recognition."""

__version__ = "0.1.0"
