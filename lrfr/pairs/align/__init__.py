"""From photographs to aligned crops: detectors, the choice of a face, its crop, and checks of landmarks."""
