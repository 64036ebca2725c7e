"""The embedded faces: a parametric renderer of invented people, so that everything runs without data."""
