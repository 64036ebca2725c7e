"""The statistics of fixed faces, beside the revision that names the caches and records which hold them.

``python -m tests.fit.golden`` renews ``tests/data/fit_golden.json`` after the revision was raised.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lrfr.core.image import square_fit
from lrfr.fit.look.enlargement import WayUp
from lrfr.fit.look.face_statistics import REVISION, Gaze, face_statistics
from lrfr.pairs.sources.synthetic import render_face
from tests.pairs.golden import renew

FILE = Path(__file__).parents[1] / "data" / "fit_golden.json"
COMMAND = "python -m tests.fit.golden"


def rendered() -> dict[str, list[object]]:
    """Return {way of looking: [revision, statistics of one face]}: crops of native sizes, and enlarged ones."""
    small = square_fit(render_face(0, 0, 1)[0], 24)
    gazes = {"native": Gaze(112), "enlarged": Gaze(112, WayUp("bicubic", True, 112), 24, True)}
    crops = {"native": small, "enlarged": square_fit(small, 112)}
    return {
        f"statistics, {name}": [
            REVISION,
            [float(f"{x:.6g}") for x in face_statistics([crops[name]], gaze)[0]],
        ]
        for name, gaze in gazes.items()
    }


if __name__ == "__main__":
    sys.exit(renew(FILE, rendered()))
