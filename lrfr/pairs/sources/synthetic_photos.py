"""The source ``synthetic-photos``: embedded faces pasted into backgrounds at random places, sizes and turns,
with known landmarks; what detectors and alignment are tried on where there are no photographs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import digest_of
from lrfr.core.landmarks import TEMPLATE
from lrfr.core.streams import Stream, stream
from lrfr.pairs.sources.base import Content, FaceList, Place, Source
from lrfr.pairs.sources.synthetic import RENDERER, SIZE, invented, read_counts, render_face

# raised whenever a pixel of any photograph changes
REVISION = 1
SIDES_PX = (240, 420)
FACE_PX = (40, 200)
MOST_TURN_DEG = 25.0
FEATHER = 0.06


@dataclass(frozen=True)
class Pasted:
    """Where a face lies in its photograph.

    Attributes:
        height: of the photograph, in pixels.
        width: of the photograph, in pixels.
        face_px: side of the pasted crop.
        matrix: float64 ``[2, 3]``, from pixels of the crop at ``face_px`` to pixels of the photograph.

    """

    height: int
    width: int
    face_px: int
    matrix: NDArray[np.float64]

    @property
    def landmarks(self) -> NDArray[np.float64]:
        """The five landmarks in pixels of the photograph, float64 ``[5, 2]``."""
        points = (TEMPLATE + 0.5) * (self.face_px / SIZE) - 0.5
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])


@dataclass(frozen=True)
class SyntheticPhotosSource(Source):
    """Photographs, each with one invented face at a known place (``ids=10,per_id=4,seed=0``)."""

    ids: int = 10
    per_id: int = 4
    seed: int = 0
    kind = "synthetic-photos"
    cost_ms = 15.0

    def faces(self) -> FaceList:
        """List the photographs without rendering them."""
        return invented("photos", self.ids, self.per_id, self.seed)

    def read(self, place: Place) -> Content:
        """Render one photograph."""
        return photograph(place[0], place[1], self.seed)[0]

    def landmarks(self, place: Place) -> NDArray[np.float64]:
        """Return the five landmarks of one photograph in its pixels, float64 ``[5, 2]``."""
        return place_of(_scene(place[0], place[1], self.seed)).landmarks

    def fingerprint(self, place: Place) -> str | None:
        """Name the photograph by what it is rendered from."""
        return digest_of([self.kind, REVISION, RENDERER, self.seed, *place])

    def describe(self) -> dict[str, str | int]:
        """Return the parameters."""
        return {
            "kind": self.kind,
            "renderer": f"{REVISION}.{RENDERER}",
            "ids": self.ids,
            "per_id": self.per_id,
            "seed": self.seed,
        }


def open_synthetic_photos(place: str) -> SyntheticPhotosSource:
    """Open ``ids=10,per_id=4,seed=0`` (any part may be left out)."""
    return SyntheticPhotosSource(**read_counts(place, SyntheticPhotosSource.kind))


def photograph(identity: int, image: int, seed: int) -> tuple[NDArray[np.uint8], Pasted]:
    """Render one photograph with one face.

    Args:
        identity: number of the person, from 0.
        image: number of the photograph of that person, from 0.
        seed: which population, 0 <= seed < 2**64.

    Returns:
        uint8 RGB ``[h, w, 3]``, sides from 240 to 420 px, and where the face lies in it: its crop has 40 to
        200 px and leans at most 25 degrees.

    """
    scene = _scene(identity, image, seed)
    pasted = place_of(scene)
    return paste(render_face(identity, image, seed)[0], _background(scene, pasted), pasted), pasted


def paste(face: NDArray[np.uint8], background: NDArray[np.uint8], pasted: Pasted) -> NDArray[np.uint8]:
    """Paste an aligned square crop into a picture, with soft edges.

    Args:
        face: uint8 RGB ``[n, n, 3]``, aligned to the template.
        background: uint8 RGB ``[h, w, 3]``; it is not changed.
        pasted: where to.

    Returns:
        uint8 RGB ``[h, w, 3]``.

    """
    side, size = pasted.face_px, (pasted.width, pasted.height)
    how = cv2.INTER_AREA if side < face.shape[0] else cv2.INTER_LINEAR_EXACT
    scaled = cv2.resize(face, (side, side), interpolation=how)
    ramp = np.clip((np.arange(side) + 0.5) / (FEATHER * side), 0.0, 1.0)
    edge = np.minimum(ramp, ramp[::-1]).astype(np.float32)
    moved = cv2.warpAffine(
        scaled, pasted.matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    share = cv2.warpAffine(np.outer(edge, edge), pasted.matrix, size, flags=cv2.INTER_LINEAR)[:, :, None]
    mixed = background + share * (moved.astype(np.float32) - background)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def place_of(scene: Stream) -> Pasted:
    """Draw the photograph's size and where the face lies; all of it lies inside."""
    low, high = SIDES_PX
    height, width = (int(low + (high - low) * scene.u(slot)) for slot in (1, 2))
    most = min(FACE_PX[1], int(0.75 * min(height, width)))
    # small and large faces alike: the side is drawn on a logarithmic scale
    side = int(FACE_PX[0] * (most / FACE_PX[0]) ** scene.u(3))
    turn = math.radians(MOST_TURN_DEG * (2.0 * scene.u(4) - 1.0))
    reach = side * (abs(math.cos(turn)) + abs(math.sin(turn))) / 2.0
    center = np.array(
        [reach + max(0.0, extent - 2 * reach) * scene.u(slot) for slot, extent in ((5, width), (6, height))]
    )
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shift = center - 0.5 - rotation @ np.full(2, (side - 1) / 2.0)
    return Pasted(height, width, side, np.column_stack([rotation, shift]))


def _scene(identity: int, image: int, seed: int) -> Stream:
    return stream(seed, b"photo:%d:%d" % (identity, image), 0, "place")


def _background(scene: Stream, pasted: Pasted) -> NDArray[np.uint8]:
    """Return a soft scene with a few upright blocks in it, as walls and furniture out of focus."""
    words = (scene.words_u16(5 * 5 * 3, "field") >> 8).astype(np.uint8).reshape(5, 5, 3)
    field = (0.8 * words.mean(axis=2, keepdims=True) + 0.2 * words).astype(np.uint8)
    size = (pasted.width, pasted.height)
    picture = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_LINEAR_EXACT))
    for block in (scene.words_u16(6 * 7, "blocks").astype(np.float64) / 65536.0).reshape(6, 7):
        left, top = int(block[0] * pasted.width), int(block[1] * pasted.height)
        right, bottom = left + int(10 + 90 * block[2]), top + int(10 + 150 * block[3])
        picture[top:bottom, left:right] = (255 * block[4:]).astype(np.uint8)
    return picture
