"""Values of the spec language: distributions, and the parameter fields of ops."""
