"""From scores to numbers: metrics, conventions, search, intervals."""
