"""From one photograph to its crops: find faces, choose, cut, and say what is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError, as_count, did_you_mean, shortly
from lrfr.core.files import read_bytes
from lrfr.core.image import ImageU8, check_image, decode
from lrfr.core.landmarks import TEMPLATE, align
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.pairs.align.checks import landmark_fault
from lrfr.pairs.align.detectors.base import Detections, Detector
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.align.landmark_fit import TEMPLATE_PX, Fit, fit_landmarks

FACES = ("largest", "center", "all")
ON_MISS = ("keep-center", "skip")
# raised whenever the same detections may give another choice of face or other landmarks
REVISION = 3
# a find whose score lies further below the best one's is chosen only where nothing surer is there
LEAST_SURE = 0.2
# pictures whose shorter side is below this are looked at enlarged, too, where nothing was found
SMALL_PICTURE_PX = 200
ZOOMS = (1, 2, 3)
# landmarks are kept to this many decimals, so that a file of them gives the very same crops again
DECIMALS = 2
MOST_ENLARGED, MOST_TURN_DEG, MOST_SIDEWAYS, LEAST_COVERED = 1.5, 30.0, 0.7, 0.98
# code: (what it means, what its number is)
REMARK_TEXTS = {
    "no-face": "no face was found",
    "several-faces": "one of several faces was chosen (number found)",
    "small": "the crop is enlarged (crop pixels per pixel)",
    "turned": "the head leans (degrees)",
    "sideways": "the head is turned aside (nose off the middle, in half eye distances)",
    "cut-off": "part of the crop lies outside the photograph and is black (share inside)",
}


@dataclass(frozen=True)
class Remark:
    """Something unusual about a crop: ``code`` of :data:`REMARK_TEXTS` and the measured quantity."""

    code: str
    value: float

    def __str__(self) -> str:
        return self.code if self.code == "no-face" else f"{self.code}={self.value:.3g}"


def flag_of(code: str) -> str:
    """Return the name under which a store counts and lists remarks of a code: a key of :data:`FLAG_TEXTS`."""
    return f"W_{code.upper().replace('-', '_')}"


FLAG_TEXTS = {flag_of(code): text.split(" (")[0] for code, text in REMARK_TEXTS.items()}


@dataclass(frozen=True)
class AlignRules:
    """How crops are cut.

    Attributes:
        size_px: side of the crops.
        face: ``largest`` takes the face with the largest area less twice its squared distance from the
            picture's center, ``center`` the one nearest to the center, ``all`` every face, best first.
        on_miss: what becomes of a picture without a face: ``keep-center`` takes its central square,
            ``skip`` takes nothing.

    """

    size_px: int = 112
    face: Literal["largest", "center", "all"] = "largest"
    on_miss: Literal["keep-center", "skip"] = "skip"

    def __post_init__(self) -> None:
        if self.face not in FACES:
            raise SpecError(f"unknown choice of face '{self.face}'", hint=did_you_mean(self.face, FACES))
        if self.on_miss not in ON_MISS:
            raise SpecError(f"unknown on_miss '{self.on_miss}'", hint=did_you_mean(self.on_miss, ON_MISS))
        as_count(self.size_px, "size_px", 8, 1024)


@dataclass(frozen=True)
class Aligned:
    """One crop, or the word that there is none.

    Attributes:
        index: number of the picture it comes from.
        number: which face of the picture, from 0.
        crop: uint8 RGB ``[size, size, 3]``; None where no face was found and none was to be kept.
        landmarks_5xy: float64 ``[5, 2]`` in pixels of the picture, the same that cut the crop; of a center
            kept for want of a face they are where the template's points lie. None where there is no crop.
        score: the detector's, in [0, 1]; 0 without a face.
        remarks: what is unusual, with numbers.
        fit: how well the landmarks fit; None where there is no crop.

    """

    index: int
    number: int
    crop: ImageU8 | None
    landmarks_5xy: NDArray[np.float64] | None
    score: float
    remarks: tuple[Remark, ...] = ()
    fit: Fit | None = field(default=None, compare=False)


def align_images(
    images: Sequence[ImageU8 | str | Path],
    *,
    size_px: int = 112,
    detector: str | Detector = "mtcnn",
    face: Literal["largest", "center", "all"] = "largest",
    on_miss: Literal["keep-center", "skip"] = "skip",
    weights: Path | None = None,
    hooks: Hooks = SILENT,
) -> list[Aligned]:
    """Find the face of each picture and cut it out, aligned to the ArcFace template.

    Args:
        images: uint8 RGB arrays ``[h, w, 3]`` of any sizes, or paths of image files.
        size_px: side of the crops, 8 to 1024.
        detector: a name of the table of detectors, or a detector.
        face: which face of a picture with several, see :class:`AlignRules`.
        on_miss: what becomes of a picture without one.
        weights: the detector's file of weights; without it lrfr's data folder is searched.
        hooks: progress and the wish to stop.

    Returns:
        One :class:`Aligned` a picture in order, with ``face="all"`` one a face; never none for a picture.

    Raises:
        SpecError: an unknown name or a size out of range.
        EnvironmentFault: the detector has no weights here.
        ImageFault: a file cannot be decoded.
        Stopped: a stop was asked for.

    """
    rules = AlignRules(size_px, face, on_miss)
    finder = open_detector(detector, weights) if isinstance(detector, str) else detector
    if not callable(getattr(finder, "detect", None)):
        raise SpecError(f"expected a detector or its name, got {shortly(detector)}")
    done: list[Aligned] = []
    for index, image in enumerate(images):
        if hooks.stopping():
            raise Stopped
        done += align_photo(_pixels(image), finder, rules, index)
        hooks.progress(index + 1, len(images))
    return done


def _pixels(image: ImageU8 | str | Path) -> ImageU8:
    return decode(read_bytes(Path(image))) if isinstance(image, str | Path) else check_image(image)


def align_photo(image: ImageU8, detector: Detector, rules: AlignRules, index: int = 0) -> list[Aligned]:
    """Return the crops of one picture, at least one :class:`Aligned`."""
    found = detect_faces(image, detector)
    if not len(found):
        return [_missed(image, rules, index)]
    order = choose(found, image.shape[0], image.shape[1], rules.face)
    several = (Remark("several-faces", float(len(found))),) if len(found) > len(order) else ()
    cuts = []
    for number, at in enumerate(order):
        cut = cut_face(image, found.landmarks_5xy[at], rules.size_px, float(found.scores[at]), several)
        cuts.append(replace(cut, index=index, number=number))
    return cuts


def detect_faces(image: ImageU8, detector: Detector) -> Detections:
    """Detect; a small picture without a face is looked at enlarged two and three times, too."""
    found = Detections.none()
    for zoom in ZOOMS if min(image.shape[:2]) < SMALL_PICTURE_PX else ZOOMS[:1]:
        larger = image
        if zoom > 1:
            larger = np.asarray(
                cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC), np.uint8
            )
        found = _plausible(detector.detect(larger).shrunk(zoom), image.shape[0], image.shape[1])
        if len(found):
            break
    return found


def _plausible(found: Detections, height: int, width: int) -> Detections:
    """Leave out what would be refused if a person brought it: the table of an alignment can be used again."""
    marks = np.round(found.landmarks_5xy, DECIMALS)
    kept = [at for at, points in enumerate(marks) if not landmark_fault(points, height, width)]
    if len(kept) == len(found):
        return found
    return Detections(found.boxes_xyxy[kept], found.landmarks_5xy[kept], found.scores[kept])


def choose(found: Detections, height: int, width: int, face: str) -> list[int]:
    """Return the indices of the chosen detections, best first and doubtful ones last: one, or all."""
    boxes = found.boxes_xyxy
    size = boxes[:, 2:] - boxes[:, :2]
    offset = (boxes[:, :2] + boxes[:, 2:]) / 2.0 - np.array([width, height]) / 2.0
    far = (offset**2).sum(axis=1)
    worth = -far if face == "center" else size.prod(axis=1) - 2.0 * far
    doubtful = found.scores < found.scores.max() - LEAST_SURE
    order = [int(at) for at in np.lexsort((-worth, doubtful))]
    return order if face == "all" else order[:1]


def cut_face(
    image: ImageU8,
    points: NDArray[np.float64],
    size_px: int,
    score: float = 1.0,
    remarks: tuple[Remark, ...] = (),
) -> Aligned:
    """Cut one face by its landmarks.

    Args:
        image: uint8 RGB ``[h, w, 3]``.
        points: float64 ``[5, 2]``; they are rounded to 1/100 px first.
        size_px: side of the crop.
        score: the detector's.
        remarks: what is known already; what the fit shows is added.

    Raises:
        ImageFault: E_LANDMARK when the points coincide.

    """
    marks = np.asarray(np.round(points, DECIMALS), np.float64)
    fit = fit_landmarks(marks, image.shape[0], image.shape[1], size_px)
    crop = align(image, marks, size_px)
    return Aligned(0, 0, crop, marks, score, (*remarks, *_remarks_of(fit)), fit)


def _remarks_of(fit: Fit) -> tuple[Remark, ...]:
    seen = (
        ("small", fit.scale, fit.scale > MOST_ENLARGED),
        ("turned", fit.turn_deg, abs(fit.turn_deg) > MOST_TURN_DEG),
        ("sideways", fit.sideways, abs(fit.sideways) > MOST_SIDEWAYS),
        ("cut-off", fit.covered, fit.covered < LEAST_COVERED),
    )
    return tuple(Remark(code, round(value, 4)) for code, value, unusual in seen if unusual)


def _missed(image: ImageU8, rules: AlignRules, index: int) -> Aligned:
    """Return the central square, cut by the landmarks of an average face in it, or nothing."""
    remark = Remark("no-face", 0.0)
    if rules.on_miss == "skip":
        return Aligned(index, 0, None, None, 0.0, (remark,))
    height, width = image.shape[:2]
    side = min(height, width)
    ratio = side / rules.size_px
    # where the template's points lie among the centers of the crop's pixels, then of the picture's
    points = (TEMPLATE * (rules.size_px / TEMPLATE_PX) + 0.5) * ratio - 0.5
    points += np.array([width - side, height - side]) / 2.0
    return replace(cut_face(image, points, rules.size_px, 0.0, (remark,)), index=index)
