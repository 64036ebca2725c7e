"""Commands over specs and pixels."""
