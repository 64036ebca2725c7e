"""Recipes as text: read, edited, opened and saved, and what the page must know of their parameters."""
