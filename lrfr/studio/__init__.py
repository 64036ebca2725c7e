"""A local page on which a degradation recipe is tuned by eye."""
