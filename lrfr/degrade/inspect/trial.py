"""A spec tried on invented faces before a run of a million begins: what an op cannot take is an error of the
spec, told at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lrfr.core.errors import LrfrError, SpecError
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import Spec

# gates and choices differ from face to face
FACES = 8
# ms of all faces together, above which one is enough
_MOST_MS = 400.0


def try_pipeline(pipeline: Pipeline) -> None:
    """Degrade some invented faces, one where the spec is dear.

    Raises:
        SpecError: an op cannot take a face, or gives something else; names the step where only one is left.

    """
    spec, side = pipeline.spec, pipeline.spec.image.size_px
    count = FACES if FACES * pipeline.cost_ms <= _MOST_MS else 1
    y, x = np.mgrid[0:side, 0:side] / max(side - 1, 1)
    ramp = np.stack([x, y, (x + y) / 2], 2) * 120
    texture = np.random.Generator(np.random.Philox(key=1)).random((side, side, 3)) * 120
    face = (ramp + texture).astype(np.uint8)
    try:
        for number in range(count):
            pipeline.run_face(f"trial/{number}".encode(), face, 0)
    except LrfrError as error:
        error.file = error.file or f"spec {spec.name}"
        raise
    except Exception as error:  # an op may be anyone's
        raise SpecError(
            f"a trial face ended in {type(error).__name__}: {error}", file=f"spec {spec.name}"
        ) from error


def try_specs(specs: Iterable[Spec]) -> None:
    """Open some specs and try each as :func:`try_pipeline` does, with its errors."""
    for spec in specs:
        try_pipeline(Pipeline(spec))
