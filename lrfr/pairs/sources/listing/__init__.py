"""How listed faces are held."""
