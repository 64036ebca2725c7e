"""Finding the faces of photographs before they are cut: how, and the task that does it for some of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, ImageFault, as_path, check_kind, did_you_mean
from lrfr.core.files import digest_of
from lrfr.pairs.align.aligner import REVISION, AlignRules, align_photo
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.align.landmark_table import LandmarkRow
from lrfr.pairs.align.photo_task import DetectorChoice
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.tasks import content_digest
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.picture_limits import checked_content, within_limits
from lrfr.pairs.format.manifests import FaceFinder
from lrfr.pairs.format.sealed import plain_fields
from lrfr.pairs.sources.base import Place, Source

DETECT = "detect"


class Alignment(TypedDict, total=False):
    """How faces become aligned, in words.

    Attributes:
        align: ``detect`` finds them, a path is a file of landmarks by key; without it nothing is aligned.
        face: which face of a photograph: ``largest``, ``center`` or ``all``.
        on_miss: what becomes of a photograph without one: ``keep-center`` or ``skip``.
        detector: name of what finds them.
        detector_weights: its file of weights.

    """

    align: str | Path | None
    face: Literal["largest", "center", "all"] | None
    on_miss: Literal["keep-center", "skip"] | None
    detector: str | None
    detector_weights: str | Path | None


def alignment_of(given: Mapping[str, object]) -> Alignment:
    """Return what some values, such as those of a command line, say of alignment."""
    return cast(Alignment, {name: given[name] for name in Alignment.__annotations__ if name in given})


def landmark_file(align: object) -> Path:
    """Return the path of a file of landmarks that ``align`` names.

    Raises:
        DataError: it leads nowhere.

    """
    path = as_path(align, "a file of landmarks")
    if not path.exists():
        hint = did_you_mean(str(align), [DETECT]) or f"{DETECT} finds faces; lrfr align writes such files"
        raise DataError("there is no such file of landmarks", file=str(path), hint=hint)
    return path


@dataclass(frozen=True)
class FaceSearch:
    """How the faces of photographs are found, by the rules of ``lrfr align``.

    Attributes:
        detector: what finds them.
        rules: which face is taken, and what becomes of a photograph without one; the side of the crops is
            the build's.

    """

    detector: DetectorChoice = field(default_factory=DetectorChoice)
    rules: AlignRules = field(default_factory=AlignRules)

    def finder(self) -> FaceFinder:
        """Return what of this enters a base's identity.

        Raises:
            SpecError: no such detector, or a file that holds no weights of it.
            EnvironmentFault: it has no weights here.

        """
        opened = open_detector(self.detector.name, self.detector.weights)
        made = (opened.name, opened.revision, opened.weights_sha256, REVISION)
        return FaceFinder(*made, self.rules.face, self.rules.on_miss)

    @classmethod
    def of(cls, words: Alignment) -> FaceSearch:
        """Return the search that some words of an alignment describe.

        Raises:
            SpecError: one of them is unknown.

        """
        weights, name = words.get("detector_weights"), words.get("detector")
        check_kind(name, str | None, "the name of a detector")
        where = as_path(weights, "a detector's weights") if weights is not None else None
        face, on_miss = words.get("face"), words.get("on_miss")
        rules = AlignRules()
        rules = rules if face is None else replace(rules, face=face)
        rules = rules if on_miss is None else replace(rules, on_miss=on_miss)
        return cls(DetectorChoice("mtcnn" if name is None else name, where), rules)

    @classmethod
    def like(cls, finder: FaceFinder, weights: Path | None = None) -> FaceSearch:
        """Return the search that a base names."""
        rules = AlignRules(face=finder.face, on_miss=finder.on_miss)
        return cls(DetectorChoice(finder.detector, weights), rules)


def search_digest(search: FaceSearch, prepare: Prepare) -> str:
    """Return what names everything that decides what is found in a picture of given bytes."""
    return digest_of([plain_fields(prepare.describe()), plain_fields(search.finder())])


@dataclass(frozen=True)
class FoundFaces:
    """What was found in one photograph.

    Attributes:
        faces: best first, each with what is unusual about it; their ``key`` is empty.
        code: why nothing of it is used, "" where something is.
        detail: more about that.

    """

    faces: tuple[LandmarkRow, ...] = ()
    code: str = ""
    detail: str = ""


@dataclass(frozen=True)
class FaceReport(TaskReport):
    """What was found in the photographs of one task, and the seconds that the search took."""

    found: tuple[FoundFaces, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class FaceTask:
    """Find the faces of some photographs.

    Attributes:
        source: where they are read from.
        places: of the photographs.
        digests: of their content as it was scanned, 32 bytes each.
        prepare: how their pixels are read.
        search: what is looked for.

    """

    source: Source
    places: tuple[Place, ...]
    digests: bytes
    prepare: Prepare
    search: FaceSearch

    def run(self) -> FaceReport:
        """Return one :class:`FoundFaces` a photograph."""
        start = time.process_time()
        found = tuple(self._found(number) for number in range(len(self.places)))
        return FaceReport(len(found), found, time.process_time() - start)

    def _found(self, number: int) -> FoundFaces:
        place = self.places[number]
        try:
            content = checked_content(within_limits(partial(self.source.read, place)))
            expected = self.digests[32 * number : 32 * number + 32].hex()
            if (self.source.fingerprint(place) or content_digest(content)[0]) != expected:
                return FoundFaces(code="E_CHANGED")
            picture = within_limits(partial(self.prepare.picture, content))
            return faces_of(picture, self.search, self.prepare.size_px)
        except ImageFault as fault:
            return FoundFaces(code=fault.code, detail=fault.detail)


def faces_of(image: NDArray[np.uint8], search: FaceSearch, size_px: int) -> FoundFaces:
    """Find the faces of one picture, uint8 RGB ``[h, w, 3]``, for crops of ``size_px``."""
    detector = open_detector(search.detector.name, search.detector.weights)
    rules = AlignRules(size_px, search.rules.face, search.rules.on_miss)
    rows = tuple(
        LandmarkRow("", tuple(map(float, item.landmarks_5xy.ravel())), round(item.score, 4), item.remarks)
        for item in align_photo(image, detector, rules)
        if item.landmarks_5xy is not None
    )
    return FoundFaces(rows) if rows else FoundFaces(code="E_NO_FACE")
