"""A machine that hunts for what forged files and kills can do: ``python -m tests.hunt --minutes 60``."""
