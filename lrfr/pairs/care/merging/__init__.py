"""Bringing stores together, and the views in them."""
