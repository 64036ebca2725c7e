"""The detectors by name; installed packages add theirs under the entry points ``lrfr.detectors``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lrfr.core.errors import LrfrError
from lrfr.core.registry import Registry
from lrfr.pairs.align.detectors.base import Detector

# the file of weights that the user named, or None: the detector looks for its own
DetectorOpener = Callable[[Path | None], Detector]

DETECTORS: Registry[DetectorOpener] = Registry(
    "detector",
    "lrfr.detectors",
    {
        "mtcnn": "lrfr.pairs.align.detectors.mtcnn:open_mtcnn",
        "scrfd": "lrfr.pairs.align.detectors.scrfd:open_scrfd",
        "yunet": "lrfr.pairs.align.detectors.yunet:open_yunet",
    },
)


@lru_cache(maxsize=4)
def open_detector(name: str, weights: Path | None = None) -> Detector:
    """Return a detector, the same one whenever the same is asked for in a process.

    Args:
        name: a name of :data:`DETECTORS`.
        weights: its file of weights; without it lrfr's data folder is searched.

    Raises:
        SpecError: no such detector, or a file that holds no weights of it.
        EnvironmentFault: it has no weights here; the hint says how to get them.

    """
    return DETECTORS[name](weights)


@dataclass(frozen=True)
class DetectorState:
    """What is known about one detector on this machine.

    Attributes:
        name: its name.
        help: one sentence.
        revision: its revision, 0 where it cannot be opened.
        weights_sha256: digest of the weights found.
        missing: what keeps it from working and what to do; "" when it is ready.

    """

    name: str
    help: str
    revision: int = 0
    weights_sha256: str = ""
    missing: str = ""


def detector_states() -> list[DetectorState]:
    """Return the state of every detector, without importing torch for lrfr's own."""
    states = []
    for name in DETECTORS.names():
        said = DETECTORS.help(name)
        try:
            found = open_detector(name)
        except LrfrError as error:
            states.append(DetectorState(name, said, missing=str(error)))
        else:
            states.append(DetectorState(name, said, found.revision, found.weights_sha256))
    return states
