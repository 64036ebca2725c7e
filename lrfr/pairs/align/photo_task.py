"""Aligning some photographs in one process: crops are written, rows come back."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from lrfr.core.errors import REASONS, ImageFault
from lrfr.core.files import make_folder, write_atomic
from lrfr.core.image import ImageU8, check_image, decode, encode_jpeg, encode_png
from lrfr.pairs.align.aligner import Aligned, AlignRules, Remark, align_photo, cut_face
from lrfr.pairs.align.checks import landmark_fault
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.align.landmark_table import LandmarkRow
from lrfr.pairs.align.photo_list import Photo, crop_names, is_jpeg, name_fault
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.picture_limits import bounded_memory, checked_content, within_limits
from lrfr.pairs.sources.base import Source

JPEG_QUALITY = 95
# where files of the folder of crops are while they are being written
TMP = ".tmp"
# remarks that a person's landmarks keep from the file; the others are measured anew
_KEPT = ("no-face", "several-faces")


@dataclass(frozen=True)
class CropRow:
    """One crop of a photograph.

    Attributes:
        crop: name of its file below the folder of crops.
        bytes: size of that file.
        points: the landmarks that cut it, x1, y1 to x5, y5.
        score: the detector's.
        remarks: what is unusual.
        residual_px: how badly the landmarks fit.

    """

    crop: str
    bytes: int
    points: tuple[float, ...]
    score: float
    remarks: tuple[Remark, ...]
    residual_px: float


@dataclass(frozen=True)
class PhotoRow:
    """What became of one photograph.

    Attributes:
        key: its key.
        stamp: of the content that was looked at.
        crops: its crops; none when no face was found or it was refused.
        given: whether its landmarks came from a file.
        code: why it was refused, "" when it was not.
        detail: more about that.

    """

    key: str
    stamp: str
    crops: tuple[CropRow, ...] = ()
    given: bool = False
    code: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, object]) -> PhotoRow:
        """Read the JSON form.

        Raises:
            TypeError: not a row.
            KeyError: not a row.

        """
        crops = value["crops"]
        if not isinstance(crops, list):
            raise TypeError(crops)
        found = cls(**{**value, "crops": tuple(_crop_of(crop) for crop in crops)})  # type: ignore[arg-type]
        texts = (found.key, found.stamp, found.code, found.detail, *(crop.crop for crop in found.crops))
        # a name of the file is one that may be removed
        plain = all(isinstance(text, str) for text in texts)
        if not plain or type(found.given) is not bool or any(name_fault(crop.crop) for crop in found.crops):
            raise TypeError(value)
        return found


def _crop_of(value: dict[str, object]) -> CropRow:
    remarks, points, size = value["remarks"], value["points"], value["bytes"]
    if not isinstance(remarks, list) or not isinstance(points, list) or type(size) is not int:
        raise TypeError(value)
    numbers = {name: _number(value[name]) for name in ("score", "residual_px")}
    told = {"remarks": tuple(map(_remark_of, remarks)), "points": tuple(map(_number, points))}
    return CropRow(**{**value, **told, **numbers})  # type: ignore[arg-type]


def _remark_of(value: object) -> Remark:
    if not isinstance(value, dict) or value.keys() != {"code", "value"} or not isinstance(value["code"], str):
        raise TypeError(value)
    return Remark(value["code"], _number(value["value"]))


def _number(value: object) -> float:
    """Return a finite number; a text is none, whatever it spells."""
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise TypeError(value)
    return float(value)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PhotoReport(TaskReport):
    """Rows of the photographs of one task."""

    rows: tuple[PhotoRow, ...] = ()


@dataclass(frozen=True)
class DetectorChoice:
    """Which detector, by what a worker needs to open it."""

    name: str = "mtcnn"
    weights: Path | None = None


@dataclass(frozen=True)
class PhotoTask:
    """Align some photographs.

    Attributes:
        source: where they are read from.
        out: folder of the crops.
        photos: which ones.
        rules: how crops are cut.
        detector: what finds faces.
        given: landmarks by key, as a person left them; None detects.
        taken: names that the crops of further faces may not have.

    """

    source: Source
    out: Path
    photos: tuple[Photo, ...]
    rules: AlignRules
    detector: DetectorChoice = DetectorChoice()
    given: dict[str, tuple[LandmarkRow, ...]] | None = field(default=None, hash=False)
    taken: frozenset[str] = frozenset()

    def run(self) -> PhotoReport:
        """Align them and write their crops."""
        with bounded_memory():
            return PhotoReport(len(self.photos), tuple(self._row(photo) for photo in self.photos))

    def _row(self, photo: Photo) -> PhotoRow:
        given = self.given is not None
        try:
            image = within_limits(partial(self._pixels, photo))
            found = self._given(photo, image) if given else self._detect(image)
        except ImageFault as fault:
            return PhotoRow(photo.key, photo.stamp, (), given, fault.code, fault.detail)
        names = crop_names(photo.key, len(found), self.taken)
        return PhotoRow(photo.key, photo.stamp, tuple(map(self._keep, names, found)), given)

    def _pixels(self, photo: Photo) -> ImageU8:
        content = checked_content(self.source.read(photo.place))
        return check_image(content) if isinstance(content, np.ndarray) else decode(content)

    def _detect(self, image: ImageU8) -> list[Aligned]:
        detector = open_detector(self.detector.name, self.detector.weights)
        return [item for item in align_photo(image, detector, self.rules) if item.crop is not None]

    def _given(self, photo: Photo, image: ImageU8) -> list[Aligned]:
        """Cut by a person's landmarks."""
        assert self.given is not None
        rows = self.given.get(photo.key, ())
        if not rows:
            raise ImageFault("E_LANDMARK", "no line of the landmark file names it")
        cuts = []
        for number, row in enumerate(rows):
            fault = landmark_fault(row.points_xy, image.shape[0], image.shape[1])
            if fault:
                raise ImageFault("E_LANDMARK", fault)
            kept = tuple(remark for remark in row.remarks if remark.code in _KEPT)
            cut = cut_face(image, row.points_xy, self.rules.size_px, row.score, kept)
            cuts.append(replace(cut, number=number))
        return cuts

    def _keep(self, name: str, found: Aligned) -> CropRow:
        """Write one crop and return its row."""
        assert found.crop is not None and found.landmarks_5xy is not None and found.fit is not None
        data = encode_jpeg(found.crop, JPEG_QUALITY, "444") if is_jpeg(name) else encode_png(found.crop)
        path = self.out / name
        make_folder(path.parent)
        write_atomic(path, data, self.out / TMP)
        points = tuple(float(value) for value in found.landmarks_5xy.ravel())
        score, residual = round(found.score, 4), round(found.fit.residual_px, 3)
        return CropRow(name, len(data), points, score, found.remarks, residual)


def reason_of(row: PhotoRow) -> str:
    """Return why a photograph was refused, in words."""
    said = REASONS.get(row.code, "its name cannot be used")
    return f"{said} ({row.detail})" if row.detail else said
