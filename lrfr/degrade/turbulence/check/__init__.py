"""The turbulence simulator held against theory and drawn as a page."""
