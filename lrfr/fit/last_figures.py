"""The figures of a fit on the test crops, which nothing was chosen by: the spec, its rivals, the floors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.image import ImageU8, square_fit
from lrfr.degrade.spec.model import Spec, load_spec
from lrfr.fit.fit_record import Shown
from lrfr.fit.infer.bank import simulate
from lrfr.fit.infer.fitted_spec import read_back
from lrfr.fit.judge.comparison import FaceSet, Judge, Row, content_sets
from lrfr.fit.judge.two_sample import Ruler
from lrfr.fit.look.clean_faces import CleanFaces
from lrfr.fit.look.crop_files import Crops
from lrfr.fit.look.face_statistics import NAMES, Gaze, face_statistics
from lrfr.fit.structure_scan import Structure

PRESETS = ("surveillance", "realesrgan-1", "maug-paper", "sensor", "webcam", "detected")
_SHOWN = 10


@dataclass(frozen=True)
class Figures:
    """What was measured on the test crops.

    Attributes:
        rows: of the table.
        differing: statistics that differ most between the spec and the crops.
        shown: sets for the page.

    """

    rows: tuple[Row, ...]
    differing: tuple[tuple[str, float], ...]
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class LastFigures:
    """Measures specs on test crops.

    Attributes:
        crops: of the camera.
        test: rows of the crops that are measured on.
        other: rows of further crops of the camera, for real against real.
        clean: faces of other people.
        structure: of the camera.
        ruler: of the camera.
        seed: of classifiers.

    """

    crops: Crops
    test: NDArray[np.int64]
    other: NDArray[np.int64]
    clean: CleanFaces
    structure: Structure
    ruler: Ruler
    seed: int

    def judge(self, embed: Embedder | None = None) -> Judge:
        """Return the judge of the test crops."""
        return Judge(self.ruler, self.structure.gaze(), self._real("real", self.test), self.seed, embed)

    def run(self, spec: Spec, distance: Callable[[Spec], float], embed: Embedder | None) -> Figures:
        """Measure a spec, its rivals (the best preset by ``distance``) and the floors."""
        judge, real = self.judge(embed), self._real("real", self.test)
        preset = min(PRESETS, key=lambda name: distance(self.as_crops(load_spec(name))))
        clean = self._faces()
        sets = [
            self._real("real against real", self.other[: len(self.test)]),
            self.made(spec, "fitted"),
            self.made(self.structure.spec(), "structure scan only"),
            self.made(self.as_crops(load_spec(preset)), f"best preset ({preset})"),
            FaceSet("clean faces", self._sized(clean[0]), clean[1]),
        ]
        rows = [*(judge.row(one) for one in sets), self._content(real, sets[-1])]
        shown = [self._shown(one) for one in (real, *sets[1:])]
        return Figures(tuple(rows), tuple(judge.differing(sets[1])), tuple(shown))

    def _real(self, name: str, rows: NDArray[np.int64]) -> FaceSet:
        return FaceSet(name, [self.crops.pictures[k] for k in rows], [self.crops.names[k] for k in rows])

    def made(self, spec: Spec, name: str) -> FaceSet:
        """Return test people as the camera of a spec sees them, as many as there are test crops."""
        faces, people = self._faces()
        names = [b"test/%d" % k for k in range(len(faces))]
        return FaceSet(name, simulate(spec, faces, names, self.structure.gaze()), people)

    def as_crops(self, spec: Spec) -> Spec:
        """Return a preset with the camera's own way from the small picture to the crop."""
        data = dict(spec.as_json())
        steps = data["pipeline"]
        assert isinstance(steps, list)
        pipeline = [*steps, *self.structure.tail()]
        return read_back({**data, "pipeline": pipeline, "store": self.structure.store()})

    def _faces(self) -> tuple[list[ImageU8], list[str]]:
        own = list(self.clean.parts["test"])
        rows = (own * (1 + len(self.test) // max(len(own), 1)))[: len(self.test)]
        return self.clean.faces.take(rows), [self.clean.labels[row] for row in rows]

    def _sized(self, faces: Sequence[ImageU8]) -> list[ImageU8]:
        way = self.structure.way
        return list(faces) if way is None else [square_fit(face, way.canvas_px) for face in faces]

    def _content(self, real: FaceSet, clean: FaceSet) -> Row:
        ours, theirs = content_sets(real, clean)
        plain = Gaze(112)
        ruler = Ruler.of(face_statistics(ours.crops, plain), face_statistics(theirs.crops, plain))
        judge = Judge(ruler, plain, ours, self.seed, None)
        return judge.row(replace(theirs, name="content alone (both at 12 px)"))

    def _shown(self, faces: FaceSet) -> Shown:
        stats = face_statistics(faces.crops, self.structure.gaze())
        bands = [k for k, name in enumerate(NAMES) if name.startswith("spectrum: luma")]
        return Shown(faces.name, tuple(faces.crops[:_SHOWN]), tuple(stats[:, bands].mean(axis=0).tolist()))
