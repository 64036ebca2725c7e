"""YuNet through OpenCV, for those who have its ONNX file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import EnvironmentFault, SpecError
from lrfr.core.files import sha256_file
from lrfr.pairs.align.detectors.base import Detections


def open_yunet(weights: Path | None) -> Yunet:
    """YuNet (Wu, Peng and Yu, 2023) by OpenCV's FaceDetectorYN; needs its ONNX file."""
    if weights is None:
        raise EnvironmentFault(
            "the detector 'yunet' ships no weights",
            hint="name its ONNX file with --detector-weights, or take --detector mtcnn",
        )
    if not weights.is_file():
        raise SpecError("no such file", file=str(weights))
    try:
        return Yunet(weights)
    except cv2.error:
        raise SpecError("OpenCV cannot read this as YuNet's ONNX file", file=str(weights)) from None


class Yunet:
    """OpenCV's FaceDetectorYN."""

    name = "yunet"
    # raised whenever the same weights may give other landmarks
    revision = 1

    def __init__(self, path: Path, least_score: float = 0.7) -> None:
        self.weights_sha256 = sha256_file(path)
        self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), least_score, 0.3, 5000)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find faces of a uint8 RGB picture ``[h, w, 3]``."""
        self._net.setInputSize((image.shape[1], image.shape[0]))
        found = self._net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        return Detections.none() if found is None else from_rows(np.asarray(found, np.float64))


def from_rows(rows: NDArray[np.float64]) -> Detections:
    """Return OpenCV's rows ``[n, 15]`` as detections, best first.

    A row holds x, y, width and height, then the right and left eye, the nose tip, the right and left mouth
    corner of the person (so from the picture's left to its right), then the score.
    """
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    return Detections(boxes, rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14])
