"""From results to a report: sections, plots, comparisons, provenance."""
