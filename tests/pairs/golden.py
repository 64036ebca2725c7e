"""What the code that makes crops, mixes and draws gives on fixed input, beside the revision that names it.

``python -m tests.pairs.golden`` renews ``tests/data/pairs_golden.json`` after a part was added or its revision was
raised; it refuses where output moved under an old revision. Bytes are compared as hashes, what networks of a
detector find within 1e-4.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from lrfr.core.image import DECODER_REVISION, ENCODER_REVISION, decode, encode_jpeg, encode_png, square_fit
from lrfr.core.landmarks import ALIGN_REVISION, TEMPLATE, align
from lrfr.pairs.align import aligner
from lrfr.pairs.align.detectors import detector_weights, yunet
from lrfr.pairs.align.detectors.base import Detections
from lrfr.pairs.align.detectors.mtcnn import Mtcnn
from lrfr.pairs.align.detectors.scrfd import Scrfd
from lrfr.pairs.build.plan import BaseOptions, make_plan
from lrfr.pairs.build.prepare import FIT_REVISION, Prepare
from lrfr.pairs.format.manifests import Form, Up
from lrfr.pairs.format.sealed import LAYOUT
from lrfr.pairs.reading.order import IDENTITY_DRAW_REVISION, Identities
from lrfr.pairs.reading.variant_draw import draw_variants
from lrfr.pairs.sources.listed import mixup
from lrfr.pairs.views import DRAW_REVISION
from tests.pairs.toy import ToySource
from tests.pairs.zoo import picture, save

FILE = Path(__file__).parents[1] / "data" / "pairs_golden.json"
COMMAND = "python -m tests.pairs.golden"
POINTS = (TEMPLATE * 0.5 + [3.0, 5.0]).reshape(-1)


def _hash(*parts: bytes | np.ndarray) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return total.hexdigest()


def _ids() -> str:
    """The ids of a fixed plan: they move only with the layout's number and the revisions within them."""
    from lrfr.pairs.build.look.scan_table import Scanned
    from lrfr.pairs.build.plan import variant_identity

    faces = ToySource(ids=3, per_id=2).faces()
    scanned = [Scanned(hashlib.sha256(face.key_bytes).hexdigest(), 10) for face in faces]
    marks = {face.key: tuple(POINTS + index) for index, face in enumerate(faces)}
    plain = make_plan(faces, scanned, BaseOptions(Prepare(16)))
    aligned = make_plan(faces, scanned, BaseOptions(Prepare(16, aligned=True)), marks)
    form = Form("upsampled", Up(16, "bicubic", True), traces=False)
    variant = variant_identity(plain.content_id, "0" * 64, 0, form)
    return " ".join((plain.base_id, plain.content_id, aligned.base_id, variant))


class _Found:
    """A detector of four known faces: the largest is unsure, the surest is smaller, one lies upside down."""

    name, revision, weights_sha256 = "found", 1, ""

    def detect(self, image: np.ndarray) -> Detections:
        shifts = [(4.0, 6.0), (60.0, 40.0), (110.0, 20.0), (20.0, 80.0)]
        marks = [TEMPLATE * scale + shift for scale, shift in zip((0.9, 0.6, 0.4, 0.3), shifts, strict=True)]
        marks[3] = marks[3][::-1]
        boxes = [np.concatenate([points.min(0) - 9, points.max(0) + 9]) for points in marks]
        return Detections(np.array(boxes), np.array(marks) + 0.004, np.array([0.7, 0.95, 0.9, 0.99]))


def _choice() -> str:
    """Every choice of faces, what is said of them and how they are cut, and a picture without one."""
    found, photo = [], picture(11, 200)
    for face in aligner.FACES:
        found += aligner.align_photo(photo, _Found(), aligner.AlignRules(48, face))
    missed = aligner.AlignRules(48, on_miss="keep-center")
    nobody = Mtcnn(_nets(5))  # these see nobody anywhere
    found += aligner.align_photo(picture(12, 40)[:30], nobody, missed)
    words = [f"{one.number} {one.score} {' '.join(map(str, one.remarks))}".encode() for one in found]
    return _hash(*words, *(part for one in found for part in (one.crop, one.landmarks_5xy)))


def _nets(seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Nets of MTCNN's shapes with drawn weights."""
    random = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        spread = (2.0 / max(1, np.prod(shape[1:]))) ** 0.5
        return (random.standard_normal(shape) * spread).astype(np.float32)

    shapes = detector_weights._NETS.items()
    return {net: {name: draw(shape) for name, shape in sizes.items()} for net, sizes in shapes}


class _Session:
    """Stands for a network of SCRFD's form: a few faces at every stride, from the picture that it was given."""

    def get_inputs(self) -> list[object]:
        return [type("Input", (), {"name": "x", "shape": [1, 3, 64, 64]})]

    def get_outputs(self) -> list[object]:
        return [None] * 9

    def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        random, outputs = np.random.default_rng(3), []
        for stride in (8, 16, 32):
            count = (64 // stride) ** 2 * 2
            score = random.uniform(0, 0.6, (count, 1)) + 0.05 * given["x"].mean()
            parts = (score, random.uniform(1, 3, (count, 4)), random.normal(0, 1, (count, 10)))
            outputs += [part.astype(np.float32) for part in parts]
        return outputs


def _seen(found: Detections) -> list[object]:
    """Return how many faces were found, and the first three."""
    parts = (found.boxes_xyxy, found.landmarks_5xy, found.scores)
    return [len(found), *(float(x) for part in parts for x in part[:3].reshape(-1))]


def _detectors() -> dict[str, list[object]]:
    """Each of lrfr's detectors on drawn weights; OpenCV runs YuNet, lrfr reads its rows."""
    photo = np.random.default_rng(2).integers(0, 255, (48, 60, 3)).astype(np.uint8)
    rows = np.random.default_rng(1).uniform(0, 60, (3, 15))
    scrfd = Scrfd(_Session(), FILE)
    return {
        "detector mtcnn": [Mtcnn.revision, _seen(Mtcnn(_nets(6)).detect(photo))],
        "detector scrfd": [scrfd.revision, _seen(scrfd.detect(photo))],
        "detector yunet": [yunet.Yunet.revision, _seen(yunet.from_rows(rows))],
    }


def _mix() -> str:
    listing = mixup.MixupSource((ToySource(ids=6, per_id=2),), 20, seed=3, size=16).listing()
    source = mixup.MixupSource((ToySource(ids=6, per_id=2),), 20, seed=3, size=16)
    mixes = [face for face in listing.faces if face.key.startswith("mixup/")]
    return _hash(*(part for mix in mixes for part in (mix.key_bytes, source.read(mix.place))))


def rendered() -> dict[str, list[object]]:
    """Return name: [revision, hash], of detectors [revision, numbers]."""
    jpeg, png = encode_jpeg(picture(1), 95), save(picture(2), "PNG")
    webp, gif = save(picture(3), "WEBP", lossless=True), save(picture(4), "GIF")
    crop = align(picture(5, 120), POINTS.reshape(5, 2), 48)
    return {
        "decoder": [DECODER_REVISION, _hash(*(decode(data) for data in (jpeg, png, webp, gif)))],
        "encoder": [
            ENCODER_REVISION,
            _hash(jpeg, encode_jpeg(picture(6), 70), decode(encode_png(picture(7)))),
        ],
        "fit": [FIT_REVISION, _hash(square_fit(picture(8, 100), 64), square_fit(picture(9, 64)[:50], 112))],
        "align": [ALIGN_REVISION, _hash(crop)],
        "ids": [
            [LAYOUT, DECODER_REVISION, ENCODER_REVISION, FIT_REVISION, ALIGN_REVISION],
            _hash(_ids().encode()),
        ],
        "choice of faces": [aligner.REVISION, _choice()],
        **_detectors(),
        "mixes": [mixup.REVISION, _mix()],
        "draw of variants": [DRAW_REVISION, _hash(draw_variants("view", 3, np.arange(99), (1.0, 2.0, 0.5)))],
        "draw of identities": [
            IDENTITY_DRAW_REVISION,
            _hash(Identities(np.arange(60) % 11 - 1, 3).order(seed=1, epoch=2)),
        ],
    }


def moved(
    known: dict[str, list[object]], found: dict[str, list[object]], command: str = COMMAND
) -> list[str]:
    """Return what is wrong with each part whose value is not the known one."""
    faults = [f"{part}: has no golden value; run: {command}" for part in found.keys() - known.keys()]
    for part in known.keys() & found.keys():
        (old, value), (new, here) = known[part], found[part]
        if old != new:
            faults.append(f"{part}: its revision is {new}, the golden value is of {old}; run: {command}")
        elif not _alike(value, here):
            faults.append(f"{part}: other output under the same revision {new}: raise it, or mend the part")
    return faults + [f"{part}: is gone; run: {command}" for part in known.keys() - found.keys()]


def _alike(known: object, found: object) -> bool:
    if isinstance(known, list) and isinstance(found, list):
        return len(known) == len(found) and np.allclose(known, found, rtol=1e-4, atol=2e-3)
    return known == found


def renew(file: Path, found: dict[str, list[object]]) -> int:
    """Write the values of this tree; refuse when output moved under an old revision."""
    known = json.loads(file.read_text()) if file.exists() else {}
    faults = [fault for fault in moved(known, found) if "under the same" in fault]
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    file.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(renew(FILE, rendered()))
