"""A detector whose faces are drawn: five spots of known colors, and pictures with them."""

import cv2
import numpy as np

from lrfr.core.landmarks import TEMPLATE
from lrfr.pairs.align.detectors.base import Detections

COLORS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10), (10, 250, 250))


class Spots:
    """Finds landmarks drawn as five spots of known colors; a second face is drawn 100 px below."""

    name, revision, weights_sha256 = "spots", 1, "ab"
    calls = 0

    def detect(self, image):
        Spots.calls += 1
        faces = []
        for half in (slice(0, 200), slice(200, 400)):
            part = image[half].astype(int)
            points = []
            for color in COLORS:
                rows, columns = np.nonzero(np.abs(part - color).sum(axis=2) < 90)
                if not len(rows):
                    break
                points.append((columns.mean(), rows.mean() + (half.start if len(rows) else 0)))
            faces += [points] if len(points) == 5 else []
        if not faces:
            return Detections.none()
        marks = np.array(faces)
        boxes = np.concatenate([marks.min(1), marks.max(1)], axis=1)
        return Detections(boxes, marks, np.full(len(marks), 0.875))


def open_spots(weights):
    """Spots of five colors, for tests."""
    return Spots()


def picture(scale=1.0, shift=(40, 40), faces=1):
    image = np.full((400 if faces > 1 else 200, 220, 3), 128, np.uint8)
    for face in range(faces):
        for (x, y), color in zip(TEMPLATE * scale + np.array(shift), COLORS, strict=True):
            cv2.circle(image, (round(x), round(y) + 200 * face), 4, color, -1)
    return image
