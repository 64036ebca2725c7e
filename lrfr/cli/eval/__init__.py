"""Commands over results and reports."""
