"""The contract of a detector: a picture in, boxes with five landmarks and scores out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """What a detector found in one picture, best score first.

    Attributes:
        boxes_xyxy: float64 ``[n, 4]``, left, top, right and bottom edge in pixels; the picture's own edges
            are 0, 0, width and height. A box may reach beyond them.
        landmarks_5xy: float64 ``[n, 5, 2]``, x and y in pixels of the eye on the picture's left, the other
            eye, the nose tip and both mouth corners in the same order. The center of the first pixel is
            (0, 0).
        scores: float64 ``[n]`` in [0, 1].

    """

    boxes_xyxy: NDArray[np.float64]
    landmarks_5xy: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def none() -> Detections:
        """Return what is found in a picture without a face."""
        return Detections(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))

    def shrunk(self, zoom: int) -> Detections:
        """Return detections in a picture that was enlarged ``zoom`` times, in that picture's own pixels."""
        return Detections(self.boxes_xyxy / zoom, (self.landmarks_5xy + 0.5) / zoom - 0.5, self.scores)


class Detector(Protocol):
    """Anything that finds faces; a plug-in's class needs nothing of lrfr.

    Attributes:
        name: its name in the table of detectors.
        revision: raised whenever the same weights may give other landmarks.
        weights_sha256: digest of its weights; "" where it has none.

    """

    name: str
    revision: int
    weights_sha256: str

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find every face of a uint8 RGB picture ``[h, w, 3]`` of any size."""
        ...
