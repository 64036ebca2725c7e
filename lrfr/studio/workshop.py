"""What a studio works with, and its long answers: what requests share, and it holds no recipe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property

from lrfr import __version__
from lrfr.core.errors import DataError, LrfrError
from lrfr.core.image import ImageU8
from lrfr.core.machine import usable_cores
from lrfr.degrade.inspect.contact_sheet import SheetRow, contact_sheet
from lrfr.degrade.inspect.spec_check import differences
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.json_schema import spec_schema
from lrfr.degrade.spec.model import Spec, load_spec
from lrfr.degrade.spec.resolve import preset_help, preset_names, preset_text
from lrfr.studio.asked import Against, OneFace, Pictures
from lrfr.studio.face_book import Face, FaceBook, read_crops
from lrfr.studio.measures import Looks, compare_looks, looks_of
from lrfr.studio.picture_pieces import FIRST, Shown, cost_of, drawn, steps_of
from lrfr.studio.recipes.parameters import defaults, histograms, ranges, starters, unit_of
from lrfr.studio.recipes.recipe_edits import written_out
from lrfr.studio.recipes.recipe_files import FALLBACK, Places, RecipeFiles
from lrfr.studio.recipes.recipe_text import Opened, RecipeReader
from lrfr.studio.wire import face_frame, face_json, frame, hr_frame, step_json

SHOWN_CROPS = 12


class Workshop:
    """Faces, target and recipes of a studio.

    Args:
        places: see :class:`Places`.

    Raises:
        SpecError: the recipe cannot be read, or a folder holds no face.

    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.files = RecipeFiles(places)
        self.name, self.text = self.files.first()
        self.book = FaceBook(places.faces)
        self.reader = RecipeReader(places.folder)
        self._target: tuple[list[ImageU8], Looks] | None = None
        self._lock = threading.Lock()

    @cached_property
    def about(self) -> Mapping[str, object]:
        """What a page must know first; plain data."""
        schema = spec_schema()
        units = {name: {key: unit_of(name, key) for key in op.model_fields} for name, op in OPS.items()}
        places = self.places
        return {
            "version": __version__,
            "name": self.name,
            "text": self.text,
            "schema": schema,
            "units": units,
            "ranges": ranges(),
            "defaults": defaults(),
            "starters": starters(),
            "presets": {name: preset_help(name) for name in preset_names()},
            "faces": len(self.book),
            "names": [face.name for face in self.book.files[:2000]],
            "faces_folder": str(places.faces) if places.faces else None,
            "target": str(places.target) if places.target else None,
            "folder": str(places.folder),
            "store": str(places.store),
            "can_fit": places.fits,
            "cores": usable_cores(),
        }

    def warm(self) -> None:
        """Load what the first picture needs; a recipe that is wrong is told by the page."""
        opened = self.reader.open(self.text)
        recipe = opened.spec or load_spec(preset_text(FALLBACK))
        faces, _ = self.book.faces(range(min(FIRST, len(self.book))), recipe.image.size_px)
        for spec in {recipe.name: recipe, FALLBACK: load_spec(preset_text(FALLBACK))}.values():
            with suppress(LrfrError):
                shown = [item for piece in drawn(Pipeline(spec), faces[:1], range(1)) for item in piece]
                cost_of(shown, 0.0)
                self._compared(shown)

    def target(self) -> tuple[list[ImageU8], Looks] | None:
        """Return the camera's crops and what they look like, read when they are first asked for."""
        if self.places.target is None:
            return None
        with self._lock:
            if self._target is None:
                crops = read_crops(self.places.target)
                self._target = crops, looks_of(crops)
            return self._target

    def document(self, opened: Opened) -> Mapping[str, object]:
        """Return a recipe that was read as plain data."""
        spec = opened.spec
        return {
            "text": opened.text,
            "data": opened.data,
            "resolved": opened.resolved,
            "faults": [asdict(fault) for fault in opened.faults],
            "digest": spec.digest if spec else None,
            "size": spec.image.size_px if spec else None,
            "seed": spec.seed if spec else None,
            "histograms": histograms(spec.steps) if spec else {},
        }

    def answer(self, asked: Pictures, stale: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the frames of an answer: the document, HR faces, degraded faces as they come, statistics and
        cost, the end.
        """
        began = time.perf_counter()
        opened = self.reader.open(asked.text, asked.edits)
        head = {"kind": "document", "number": asked.number}
        yield frame({**head, **self.document(opened)})
        shown: list[Shown] = []
        if opened.spec is not None and not stale():
            pipeline = Pipeline(opened.spec.with_(seed=asked.seed))
            faces, refused = self.book.faces(asked.faces, pipeline.spec.image.size_px)
            yield b"".join(hr_frame(face) for face in faces) if asked.hr else b""
            if refused:
                yield frame({"kind": "refused", "faces": refused})
            seconds = 0.0
            start, pieces = time.perf_counter(), drawn(pipeline, faces, _variants(asked), stale)
            for piece in pieces:
                seconds += time.perf_counter() - start
                shown += piece if asked.measures else []
                yield b"".join(face_frame(item) for item in piece)
                start = time.perf_counter()
            if asked.measures and shown and not stale():
                yield frame({"kind": "cost", **asdict(cost_of(shown, seconds))})
                yield frame({"kind": "measures", **self._compared(shown)})
        ms = round(1e3 * (time.perf_counter() - began), 1)
        yield frame({"kind": "end", "number": asked.number, "ms": ms, "stale": stale()})

    def _compared(self, shown: Sequence[Shown]) -> Mapping[str, object]:
        target = self.target()
        looks = looks_of([item.degraded.image for item in shown])
        return compare_looks(looks, target[1] if target else None).as_json()

    def told(self, asked: Pictures) -> Mapping[str, object]:
        """Return the same as one object for a script.

        Raises:
            SpecError: the recipe is wrong.

        """
        spec = self.reader.spec(asked.text, asked.edits)
        pipeline = Pipeline(spec.with_(seed=asked.seed))
        faces, refused = self.book.faces(asked.faces, pipeline.spec.image.size_px)
        start = time.perf_counter()
        shown = [item for piece in drawn(pipeline, faces, _variants(asked)) for item in piece]
        cost = cost_of(shown, time.perf_counter() - start)
        more = {"cost": asdict(cost), "measures": self._compared(shown)} if asked.measures and shown else {}
        opened = self.reader.open(asked.text, asked.edits)
        found = {"document": self.document(opened), "faces": [face_json(item) for item in shown]}
        return {**found, "refused": refused, **more}

    def trace(self, asked: OneFace) -> Mapping[str, object]:
        """Return what a face looked like after every step.

        Raises:
            SpecError: the recipe is wrong.
            DataError: there is no such face.

        """
        pipeline = Pipeline(self.reader.spec(asked.text, asked.edits).with_(seed=asked.seed))
        face = self._one(asked.face, pipeline.spec)
        done = pipeline.run([face.key], [face.pixels], asked.variant)[0]
        steps = steps_of(pipeline, face, done.trace)
        return {"trace": done.trace.as_json(), "steps": [step_json(step) for step in steps]}

    def _one(self, face: int | str, spec: Spec) -> Face:
        faces, refused = self.book.faces([face], spec.image.size_px)
        if refused:
            raise DataError(refused[0][1])
        return faces[0]

    def sheet(self, asked: Pictures) -> ImageU8:
        """Return the contact sheet of the faces asked for.

        Raises:
            SpecError: the recipe is wrong.

        """
        pipeline = Pipeline(self.reader.spec(asked.text, asked.edits).with_(seed=asked.seed))
        faces, _ = self.book.faces(asked.faces, pipeline.spec.image.size_px)
        by_face: dict[int | str, list[Shown]] = {face.id: [] for face in faces}
        for piece in drawn(pipeline, faces, _variants(asked)):
            for item in piece:
                by_face[item.face.id].append(item)
        rows = [
            SheetRow(face.name, face.pixels, [item.degraded for item in by_face[face.id]]) for face in faces
        ]
        if not rows:
            raise DataError("no face to draw")
        return contact_sheet(rows, pipeline.spec, f"{pipeline.spec.name}, seed {pipeline.spec.seed}")

    def diff(self, asked: Against) -> Mapping[str, object]:
        """Return where a recipe differs from a preset, defaults filled in.

        Raises:
            SpecError: one of them is wrong.

        """
        own, preset = self.reader.spec(asked.text, asked.edits), load_spec(_preset(asked.preset))
        places = [asdict(item) for item in differences(own.as_json(), preset.as_json())]
        return {"same_pixels": own.pixel_digest == preset.pixel_digest, "differences": places}

    def alone(self, text: str) -> str:
        """Return a recipe's text as it may lie anywhere: with what it extends written out.

        Raises:
            SpecError: the recipe is wrong.

        """
        spec = self.reader.spec(text)
        return text if self.reader.open(text).resolved is None else written_out(spec)

    def written_out(self, text: str) -> str:
        """Return a recipe's text with what it extends written out."""
        return written_out(self.reader.spec(text))


def _variants(asked: Pictures) -> range:
    return range(asked.first_variant, asked.first_variant + asked.draws)


def _preset(name: str) -> str:
    preset_text(name)  # a name alone could also be a file
    return preset_text(name)
