"""Commands over trainings and weights."""
