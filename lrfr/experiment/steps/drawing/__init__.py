"""The pictures that look into networks, losses or results."""
