"""ROOM 5: thin click commands; the only room that prints."""
