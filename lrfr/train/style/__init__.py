"""Training of the controllable style generator (CFSM), and the guided mode of recognizer training."""
