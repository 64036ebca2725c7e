"""What the code that makes crops gives on fixed input, beside the revision that names it.

``python -m tests.pairs.golden`` writes ``tests/data/pairs_golden.json`` anew; do so only together with a raised
revision.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from lrfr.core.image import DECODER_REVISION, ENCODER_REVISION, decode, encode_jpeg, encode_png, square_fit
from lrfr.core.landmarks import ALIGN_REVISION, TEMPLATE, align
from lrfr.pairs.build.plan import BaseOptions, make_plan
from lrfr.pairs.build.prepare import FIT_REVISION, Prepare
from lrfr.pairs.format.manifests import Form, Up
from lrfr.pairs.format.sealed import LAYOUT
from tests.pairs.toy import ToySource
from tests.pairs.zoo import picture, save

FILE = Path(__file__).parents[1] / "data" / "pairs_golden.json"
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


def rendered() -> dict[str, list[object]]:
    """Return name: [revision, hash]."""
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
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(rendered(), indent=1) + "\n")
