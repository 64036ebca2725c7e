"""The source ``synthetic``: invented faces of invented people, rendered on the fly; needs no data and no
network.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.files import digest_of
from lrfr.core.streams import Stream, stream
from lrfr.pairs.faces.canvas import Canvas
from lrfr.pairs.faces.light import shading
from lrfr.pairs.faces.parts import draw_face
from lrfr.pairs.faces.people import appearance_of, identity_of
from lrfr.pairs.faces.pose import Camera, Head
from lrfr.pairs.sources.base import Content, Face, FaceList, Place, Source

SIZE = 112
# raised whenever a pixel of any face changes, so that stores never mix two renderers
RENDERER = 1
ATTRIBUTES = ("Male", "Bald", "Big_Nose", "Chubby", "Narrow_Eyes")


def invented(prefix: str, ids: int, per_id: int, seed: int) -> FaceList:
    """Return the rows of invented people, named by number, with their soft-biometric labels."""
    return FaceList(
        Face(
            f"{prefix}{seed}/p{person:06d}/{image:04d}",
            f"p{person:06d}",
            (person, image),
            identity_of(person, seed).attributes,
        )
        for person in range(ids)
        for image in range(per_id)
    )


@dataclass(frozen=True)
class SyntheticSource(Source):
    """Invented people, drawn on the spot (``ids=100,per_id=12,seed=0``); needs no data."""

    ids: int = 100
    per_id: int = 12
    seed: int = 0
    kind = "synthetic"
    cost_ms = 10.0

    def faces(self) -> FaceList:
        """List the faces without rendering them."""
        return invented("s", self.ids, self.per_id, self.seed)

    def read(self, place: Place) -> Content:
        """Render one face."""
        return render_face(place[0], place[1], self.seed)[0]

    def fingerprint(self, place: Place) -> str | None:
        """Name the face by what it is rendered from."""
        return digest_of(["synthetic", RENDERER, self.seed, *place])

    def describe(self) -> dict[str, str | int]:
        """Return the parameters."""
        return {
            "kind": self.kind,
            "renderer": RENDERER,
            "ids": self.ids,
            "per_id": self.per_id,
            "seed": self.seed,
        }


def open_synthetic(place: str) -> SyntheticSource:
    """Open ``ids=100,per_id=12,seed=0`` (any part may be left out)."""
    return SyntheticSource(**read_counts(place, SyntheticSource.kind))


def read_counts(place: str, kind: str) -> dict[str, int]:
    """Read ``ids=100,per_id=12,seed=0``.

    Raises:
        SpecError: another name, or no whole number above 0 (from 0 for the seed).

    """
    values: dict[str, int] = {}
    for part in filter(None, place.split(",")):
        name, _, number = part.partition("=")
        if name not in {"ids", "per_id", "seed"}:
            raise SpecError(
                f"the {kind} source has no '{name}'", hint=did_you_mean(name, ("ids", "per_id", "seed"))
            )
        if (
            not (number.isdecimal() and len(number) < 11)
            or int(number) >= 2**31
            or (name != "seed" and int(number) == 0)
        ):
            raise SpecError(
                f"'{number}' is no value for {name}", hint=f"for example {kind}:ids=100,per_id=12,seed=0"
            )
        values[name] = int(number)
    return values


def render_face(identity: int, image: int, seed: int) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Render one photograph of an invented person, aligned to the ArcFace template.

    Args:
        identity: number of the person, from 0.
        image: number of the photograph of that person, from 0.
        seed: which population, 0 <= seed < 2**64.

    Returns:
        uint8 RGB ``[112, 112, 3]`` and the labels Male, Bald, Big_Nose, Chubby and Narrow_Eyes (1 or 0).

    """
    person = identity_of(identity, seed)
    seen = appearance_of(person, identity, image, seed)
    camera = Camera.of(Head.of(person), person, seen)
    source = stream(seed, b"face:%d:%d" % (identity, image), 0, "scene")
    canvas = Canvas(camera, SIZE, _background(source))
    draw_face(canvas, person, seen)
    color, lit = canvas.finish()
    light, highlight = shading(camera, person, seen, SIZE)
    tone = np.asarray(seen.tint, np.float32) * np.float32(seen.exposure)
    pixels = (color * (np.float32(1.0) + lit * (light - np.float32(1.0))) + highlight * lit) * tone
    pixels += _grain(source) * np.float32(seen.grain)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), person.attributes


def _background(source: Stream) -> NDArray[np.uint8]:
    """Return a soft out-of-focus scene."""
    words = source.words_u16(5 * 5 * 3 + 3, "background").astype(np.float64) / 65536.0
    gray = 30.0 + 180.0 * words[0]
    base = (
        gray
        + 70.0 * (words[1] - 0.5) * np.array([1.0, 0.1, -1.0])
        + 30.0 * (words[2] - 0.5) * np.array([-0.5, 1.0, -0.5])
    )
    field = words[3:].reshape(5, 5, 3) - 0.5
    coarse = np.clip(base + 110.0 * field.mean(axis=2, keepdims=True) * 1.5 + 30.0 * field, 0, 255)
    return np.asarray(cv2.resize(coarse.astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR_EXACT))


def _grain(source: Stream) -> NDArray[np.float32]:
    """Return zero-mean noise of unit variance (the sum of four bytes, scaled)."""
    count = SIZE * SIZE * 3
    halves = source.words_u16(count * 2, "grain").view(np.uint8).reshape(4, count)
    total = halves.astype(np.int32).sum(axis=0) - 510
    return np.asarray(total * np.float32(1.0 / 147.8), np.float32).reshape(SIZE, SIZE, 3)
