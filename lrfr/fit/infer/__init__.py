"""From statistics to distributions: prior, bank of simulations, posteriors, populations, simple laws."""
