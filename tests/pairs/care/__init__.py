"""Care of a store: forgetting and merging."""
