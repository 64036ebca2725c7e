"""Does a camera still look like its recipe? Its new crops against the statistics of those that it was fitted
to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.fit.judge.two_sample import Ruler, permuted_p
from lrfr.fit.look.face_statistics import NAMES, Gaze, face_statistics

ALARM = 0.01
_MOST = 2000  # crops a side: the kernel has a cell for every two
# what an operator may act on: a word, and the statistics that tell it (no codec is seen without its blocks)
_KINDS: Mapping[str, tuple[str, ...]] = {
    "distance (native size)": ("size",),
    "compression": ("native: comb", "native: coefficients", "native: blocks"),
    "sharpness": ("spectrum: luma", "autocorrelation", "native: step", "native: tail", "native: bend"),
    "noise": ("native: grain",),
    "light and color": ("tone", "spectrum: C", "native: C"),
}


@dataclass(frozen=True)
class Moved:
    """One kind of statistics: how probable so large a difference is by chance, and what moved most."""

    kind: str
    p: float
    most: str
    by: float


@dataclass(frozen=True)
class Drift:
    """What a check found.

    Attributes:
        p: how often a random division of both sets is as far apart.
        n, reference: new crops, and crops of the fit.
        moved: kinds of statistics, the surest first.
        notes: what a person should know.

    """

    p: float
    n: int
    reference: int
    moved: tuple[Moved, ...]
    notes: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        """Whether the camera has changed, at a false alarm in a hundred checks."""
        return self.p < ALARM

    @property
    def words(self) -> str:
        """One sentence."""
        if not self.drifted:
            return f"no drift told at n = {self.n} (p = {self.p:.3f}; alarm below {ALARM})"
        kinds = [one.kind for one in self.moved if one.p < ALARM]
        return f"drift (p = {self.p:.3f}): {', '.join(kinds) or 'several things a little'}"

    def table(self) -> tuple[list[str], list[list[str]], str]:
        """Return columns, rows and title of what moved."""
        rows = [[one.kind, f"{one.p:.3f}", one.most, f"{one.by:+.2f}"] for one in self.moved]
        return ["what", "p", "moved most", "by, spreads"], rows, f"{self.n} crops against {self.reference}"

    def as_json(self) -> dict[str, object]:
        """Return plain data."""
        return {**asdict(self), "drifted": self.drifted, "words": self.words}


def check_drift(
    reference: NDArray[np.float32],
    crops: Sequence[ImageU8],
    gaze: Gaze,
    *,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Drift:
    """Compare new crops with the statistics of a fit.

    Every kind of statistics is tested by permutation (a Gaussian kernel's MMD); the p of the check is the
    least of theirs times their number (Bonferroni).

    Args:
        reference: statistics of the crops of the fit, [N, D]; at most 2,000, evenly chosen, are looked at.
        crops: new ones; as many.
        gaze: as of the fit.
        seed: of the permutations.
        notes: to pass on.

    """
    reference = reference[_some(len(reference))]
    stats = face_statistics([crops[row] for row in _some(len(crops))], gaze)
    ruler = Ruler.of(reference, stats)
    old, new = ruler.scaled(reference), ruler.scaled(stats)
    moved = []
    for kind, prefixes in _KINDS.items():
        columns = [k for k, name in enumerate(NAMES) if name.startswith(prefixes)]
        p = permuted_p(old[:, columns], new[:, columns], seed, 1000)
        shift = np.median(new[:, columns], axis=0) - np.median(old[:, columns], axis=0)
        most = int(np.argmax(np.abs(shift)))
        moved.append(Moved(kind, min(1.0, p * len(_KINDS)), NAMES[columns[most]], float(shift[most])))
    moved.sort(key=lambda one: (one.p, -abs(one.by)))
    return Drift(moved[0].p, len(stats), len(reference), tuple(moved), tuple(notes))


def _some(count: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, _MOST)).astype(np.int64)
