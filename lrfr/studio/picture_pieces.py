"""Degraded faces in small pieces, so that slow ops are shown as they come and stale work ends at once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lrfr.core.image import ImageU8, encode_jpeg
from lrfr.degrade.inspect.contact_sheet import enlarge
from lrfr.degrade.pipeline import Degraded, Pipeline, Trace, replay
from lrfr.pairs.format.records import HEAD_BYTES, lr_record
from lrfr.studio.face_book import Face

# of one piece: what somebody waits for the next picture, and for stale work to end
PIECE_S = 0.06
FIRST = 4
MAX_TRACED = 60
_TABS = 256
_TABLE_BYTES = 4  # of a record's place in its block


class Newest:
    """The newest request of every tab; what is older is stale."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, tab: str) -> int:
        """Return the number of a tab's newest request, 0 before its first."""
        return self._numbers.get(tab, 0)

    def note(self, tab: str, number: int) -> Callable[[], bool]:
        """Note a request; return whether a newer one has come since, as a question to ask again and again."""
        with self._lock:
            self._numbers[tab] = max(number, self._numbers.pop(tab, 0))
            while len(self._numbers) > _TABS:
                self._numbers.popitem(last=False)
        return lambda: self._numbers.get(tab, number) != number


@dataclass(frozen=True)
class Shown:
    """A degraded face on its way to a page.

    Attributes:
        face: which.
        draw: number of the variant among those asked for, from 0.
        degraded: pixels at the native size, and what was drawn.
        seen: as the network sees it, by the recipe's ``store.up``.

    """

    face: Face
    draw: int
    degraded: Degraded
    seen: ImageU8


def drawn(
    pipeline: Pipeline, faces: Sequence[Face], variants: range, stale: Callable[[], bool] = lambda: False
) -> Iterator[list[Shown]]:
    """Yield pictures in pieces, all faces of a variant before the next; ends early once stale.

    Args:
        pipeline: the recipe.
        faces: cut to its image size.
        variants: numbers of the variants.
        stale: asked between pieces.

    """
    up, count = pipeline.spec.store.up, FIRST
    for draw, variant in enumerate(variants):
        start = 0
        while start < len(faces):
            if stale():
                return
            some = faces[start : start + count]
            began = time.perf_counter()
            done = pipeline.run([face.key for face in some], [face.pixels for face in some], variant)
            piece = [
                Shown(face, draw, degraded, enlarge(degraded.image, up))
                for face, degraded in zip(some, done, strict=True)
            ]
            each = (time.perf_counter() - began) / len(some)
            start, count = start + count, max(1, min(64, int(PIECE_S / max(each, 1e-4))))
            yield piece


@dataclass(frozen=True)
class Step:
    """What a face looked like after a step of its trace."""

    id: str
    op: str
    params: Mapping[str, object]
    image: ImageU8


def steps_of(pipeline: Pipeline, face: Face, trace: Trace) -> list[Step]:
    """Replay a trace one step at a time; at most :data:`MAX_TRACED` steps are shown, the last one always."""
    image, found = face.pixels, []
    for number, step in enumerate(trace.steps):
        one = Trace(trace.key, trace.variant, trace.seed, trace.spec, [step])
        image = replay(one, image, pipeline.spec)
        if number < MAX_TRACED - 1 or number == len(trace.steps) - 1:
            found.append(Step(step.id, step.op, step.params, image))
    return found


@dataclass(frozen=True)
class Cost:
    """What a recipe costs.

    Attributes:
        ms: milliseconds a degraded face took on one core here.
        lr_bytes, hr_bytes: mean bytes of a row of a store.
        images: how many were looked at.

    """

    ms: float
    lr_bytes: float
    hr_bytes: float
    images: int


def cost_of(shown: Sequence[Shown], seconds: float) -> Cost:
    """Return what pictures cost that took ``seconds`` in all."""
    head = HEAD_BYTES + _TABLE_BYTES
    records = [lr_record(0, item.degraded.image, item.face.pixels) for item in shown]
    faces = {item.face.id: item.face.pixels for item in shown}
    return Cost(
        1e3 * seconds / max(1, len(shown)),
        sum(len(record.payload) + head for record in records) / max(1, len(records)),
        sum(len(encode_jpeg(pixels)) + head for pixels in faces.values()) / max(1, len(faces)),
        len(shown),
    )
