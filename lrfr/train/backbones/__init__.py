"""Network architectures, what they hand to losses, and the table of presets."""
