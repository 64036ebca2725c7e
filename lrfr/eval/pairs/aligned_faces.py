"""Pictures of a list that are no crops yet: their faces are found, or given by landmarks, and cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import sha256_file
from lrfr.core.progress import Stopped
from lrfr.eval.embeddings import AlignedFace, Source, StoredFace, image_key, load_image
from lrfr.eval.pairs.pair_list import PairList
from lrfr.eval.pairs.search_list import SearchList
from lrfr.eval.results import Files, Unused
from lrfr.pairs.align.aligner import AlignRules, align_photo, cut_face
from lrfr.pairs.align.checks import check_landmarks, landmark_fault
from lrfr.pairs.align.detectors.base import Detections
from lrfr.pairs.align.landmark_table import LandmarkRow, is_own_table, read_table
from lrfr.pairs.build.look.face_search import DETECT, Alignment, FaceSearch, FoundFaces, faces_of

if TYPE_CHECKING:
    from lrfr.eval.settings import Settings, Task

FOUND, NO_FACE = "found", "no-face"
CROP_PX = 112


@dataclass(frozen=True)
class CutFaces:
    """The faces of some pictures, in their order.

    Attributes:
        faces: of each picture; None where it has none and is to be left out.
        files: what was seen, with the outcome of every picture.
        how: in words.

    """

    faces: tuple[AlignedFace | None, ...]
    files: Files
    how: str


def cut_pairs(pairs: PairList, task: Task) -> tuple[PairList, tuple[str, ...]]:
    """Return a list of aligned crops, as the settings' ``align`` says, and what to tell of it.

    Raises:
        SpecError: the settings do not fit the pictures.
        DataError: no pair is left.

    """
    cut = cut_faces(pairs.images, task, pairs.files)
    there = np.array([face is not None for face in cut.faces], bool)
    kept = np.flatnonzero(there[pairs.left] & there[pairs.right])
    if not len(kept):
        raise DataError(f"{pairs.name}: no pair has a face in both pictures", file=pairs.place or None)
    lost = len(pairs.left) - len(kept)
    told = f"{lost} of {len(pairs.left)} pairs are left out, for a face was not found: this is another test"
    # a picture without a face is in no pair that is kept
    images: list[Source] = [
        source if face is None else face for face, source in zip(cut.faces, pairs.images, strict=True)
    ]
    made = replace(
        pairs,
        images=images,
        left=pairs.left[kept],
        right=pairs.right[kept],
        same=pairs.same[kept],
        fold=None if pairs.fold is None else pairs.fold[kept],
        alignment=cut.how,
        files=cut.files,
    )
    return made, (told,) if lost else ()


def cut_search(lists: SearchList, task: Task) -> tuple[SearchList, tuple[str, ...]]:
    """Return search lists of aligned crops, as :func:`cut_pairs`; probes whose person has no picture left in
    the gallery are left out, too.
    """
    cut = cut_faces(lists.images, task, lists.files)
    count = (len(lists.gallery), len(lists.gallery) + len(lists.probe))
    gallery, probe, strangers = cut.faces[: count[0]], cut.faces[count[0] : count[1]], cut.faces[count[1] :]
    of_gallery = np.flatnonzero([face is not None for face in gallery])
    people = lists.gallery_id[of_gallery]
    known = np.isin(lists.probe_id, people)
    of_probe = np.flatnonzero(known & np.array([face is not None for face in probe], bool))
    lost = (len(gallery) - len(of_gallery), len(probe) - len(of_probe))
    told = f"{lost[0]} gallery pictures and {lost[1]} probes are left out, for a face was not found: "
    made = replace(
        lists,
        gallery=[face for face in gallery if face],
        gallery_id=people,
        probe=[face for row in of_probe.tolist() if (face := probe[row])],
        probe_id=lists.probe_id[of_probe],
        distractor=[face for face in strangers if face],
        alignment=cut.how,
        files=cut.files,
    )
    return made, (f"{told}this is another test",) if any(lost) else ()


def cut_faces(sources: Sequence[Source], task: Task, seen: Files | None = None) -> CutFaces:
    """Find the face of every picture by the settings' ``align``.

    Args:
        sources: the pictures.
        task: whose settings say how, and whose hooks hear of it.
        seen: what was seen of the files before.

    Raises:
        SpecError: unknown words, a malformed file of landmarks or one of other pictures, faces of a store.
        EnvironmentFault: the detector has no weights here.
        ImageFault: a picture cannot be decoded.
        Stopped: the hooks asked for it.

    """
    if any(isinstance(source, StoredFace) for source in sources):
        raise SpecError("a view's crops were cut when it was made", hint="lrfr make-pairs --align detect")
    settings = task.settings
    finder = _Finder.of(settings, sources)
    faces: list[AlignedFace | None] = []
    ends: dict[str, list[str]] = {}
    for row, source in enumerate(sources):
        if task.hooks.stopping():
            raise Stopped
        assert not isinstance(source, AlignedFace)
        found = finder.find(source, row)
        name = image_key(source, row).decode("utf-8", "replace")
        face = found.faces[0] if found.faces else None
        for end in [remark.code for remark in face.remarks] if face else [NO_FACE]:
            ends.setdefault(end, []).append(name)
        if face and all(remark.code != NO_FACE for remark in face.remarks):
            ends.setdefault(FOUND, []).append(name)
        faces.append(AlignedFace(source, face.points, finder.size_px) if face else None)
        task.hooks.progress(row + 1, len(sources), size="faces")
    return CutFaces(tuple(faces), _counted(faces, ends, seen), finder.how)


def _counted(
    faces: Sequence[AlignedFace | None], ends: Mapping[str, Sequence[str]], seen: Files | None
) -> Files:
    """Return what was seen before with what became of the pictures."""
    before = seen or Files(len(faces), len(faces))
    lost = ends.get(NO_FACE, ()) if None in faces else ()
    unused = {**before.unused, **({"no face was found": Unused.of(lost)} if lost else {})}
    counted = {end: Unused.of(names) for end, names in sorted(ends.items())}
    return Files(before.seen, before.used - len(lost), unused, counted)


@dataclass(frozen=True)
class _Finder:
    """How faces are found: by a detector, or by landmarks of the pictures' own names."""

    search: FaceSearch
    size_px: int
    how: str
    given: Mapping[int, LandmarkRow] | None = None

    @classmethod
    def of(cls, settings: Settings, sources: Sequence[Source]) -> _Finder:
        size = max([CROP_PX, *(side for side in settings.sizes or () if isinstance(side, int))])
        words = {name: getattr(settings, name) for name in ("face", "detector", "detector_weights")}
        words["on_miss"] = settings.on_miss or "keep-center"
        search = FaceSearch.of(cast(Alignment, words))
        if settings.align == DETECT:
            return cls(search, size, f"found by {search.finder()}")
        path = Path(str(settings.align))
        on_miss = search.rules.on_miss
        how = f"by landmarks {sha256_file(path)[:12] if path.is_file() else ''} (on miss {on_miss})"
        return cls(search, size, how, _named(sources, read_table(path), path))

    def find(self, source: Source, row: int) -> FoundFaces:
        """Return the face of one picture, or none."""
        image = load_image(source)
        if self.given is None:
            return faces_of(image, self.search, self.size_px)
        mark = self.given.get(row)
        if mark is not None and not landmark_fault(mark.points_xy, *image.shape[:2]):
            cut = cut_face(image, mark.points_xy, self.size_px, mark.score)
            return FoundFaces((replace(mark, remarks=cut.remarks),))
        rules = AlignRules(self.size_px, on_miss=self.search.rules.on_miss)
        kept = [item for item in align_photo(image, _Nobody(), rules) if item.landmarks_5xy is not None]
        return FoundFaces(
            tuple(
                LandmarkRow("", tuple(map(float, item.landmarks_5xy.ravel())), 0.0, item.remarks)
                for item in kept
                if item.landmarks_5xy is not None
            )
        )


class _Nobody:
    """A detector that finds nobody: what its pictures become is the rule for misses."""

    name, revision, weights_sha256 = "nobody", 1, ""

    def detect(self, image: Any) -> Detections:
        return Detections.none()


def _named(
    sources: Sequence[Source], table: Mapping[str, Sequence[LandmarkRow]], path: Path
) -> dict[int, LandmarkRow]:
    """Return the landmarks of pictures by their number: keys are paths below one folder, whichever fits most.

    Raises:
        SpecError: no key is a picture's.

    """
    paths = {row: source for row, source in enumerate(sources) if isinstance(source, Path)}
    if not paths:
        raise SpecError(
            "these pictures have no names to find landmarks by",
            file=str(path),
            hint="--align detect",
        )
    roots = Counter(
        picture.parts[:-size]
        for picture in paths.values()
        for size in range(1, len(picture.parts) + 1)
        if "/".join(picture.parts[-size:]) in table
    )
    # of two folders that fit alike, the upper one: its keys say more
    root = max(roots, key=lambda parts: (roots[parts], -len(parts)), default=())
    below = {row: picture for row, picture in paths.items() if picture.parts[: len(root)] == root}
    names = {row: "/".join(picture.parts[len(root) :]) for row, picture in below.items()}
    found = {row: table[name][0] for row, name in names.items() if name in table}
    marks = {names[row]: mark.points for row, mark in found.items()}
    marks = marks or {key: rows[0].points for key, rows in table.items()}
    check_landmarks(list(names.values()), marks, str(path), is_own_table(path))
    return found
