"""The papers' tables as data, and our numbers set beside them."""
