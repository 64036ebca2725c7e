"""The table of a fit: the fitted spec, its rivals and the floors, all at the same number of faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.image import ImageU8
from lrfr.fit.judge.two_sample import Ruler, c2st, frechet, kid
from lrfr.fit.look.face_statistics import NAMES, Gaze, face_statistics, on_canvas

Stats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One set against the camera's test crops.

    Attributes:
        name: of the set.
        n: faces a side.
        logistic, trees: accuracies of the classifiers.
        low, high: 95 % interval of the larger.
        frechet, kid: on the statistics.
        norms: Wasserstein-1 distance of the embeddings' norms, in their mean; None without a recognizer.
        embeddings: Frechet on the embeddings along the 16 leading directions of the camera's, in units of
            all their variance there is; None without a recognizer.
        words: what may be said.

    """

    name: str
    n: int
    logistic: float
    trees: float
    low: float
    high: float
    frechet: float
    kid: float
    words: str
    norms: float | None = None
    embeddings: float | None = None

    @property
    def c2st(self) -> float:
        """The larger accuracy."""
        return max(self.logistic, self.trees)

    def as_json(self) -> Mapping[str, object]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True)
class FaceSet:
    """Faces as crops, with who is in them."""

    name: str
    crops: Sequence[ImageU8]
    people: Sequence[str]


class Judge:
    """Measures sets of faces against a camera's test crops.

    Args:
        ruler: of the camera.
        gaze: how crops are looked at.
        real: the test crops.
        seed: of folds and classifiers.
        embed: a recognizer, or None.

    """

    def __init__(self, ruler: Ruler, gaze: Gaze, real: FaceSet, seed: int, embed: Embedder | None) -> None:
        self.ruler, self.gaze, self.real, self.seed, self.embed = ruler, gaze, real, seed, embed
        self.stats = face_statistics(real.crops, gaze)
        self._embeddings = None if embed is None else _embedded(embed, real.crops)

    def row(self, other: FaceSet) -> Row:
        """Return the distances of one set."""
        n = min(len(other.crops), len(self.real.crops))
        stats = face_statistics(other.crops[:n], self.gaze)
        ours, theirs = self.ruler.reduced(self.stats[:n]), self.ruler.reduced(stats)
        told = c2st(
            self.ruler.scaled(self.stats[:n]),
            self.ruler.scaled(stats),
            (self.real.people[:n], other.people[:n]),
            self.seed,
        )
        norms, embeddings = self._recognized(other.crops[:n], n)
        return Row(
            other.name,
            n,
            told.logistic,
            told.trees,
            told.low,
            told.high,
            frechet(ours, theirs),
            kid(ours, theirs),
            told.words,
            norms,
            embeddings,
        )

    def _recognized(self, crops: Sequence[ImageU8], n: int) -> tuple[float | None, float | None]:
        """Return how far norms and embeddings are apart, None each without a recognizer."""
        if self.embed is None or self._embeddings is None:
            return None, None
        ours, theirs = self._embeddings[:n], _embedded(self.embed, crops)
        a, b = np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1)
        apart = float(np.abs(np.sort(a) - np.sort(b)).mean() / max(float(a.mean()), 1e-9))
        _, _, rows = np.linalg.svd(ours - ours.mean(axis=0), full_matrices=False)
        main = rows[:16].T / max(float((ours - ours.mean(axis=0)).std()), 1e-9) / np.sqrt(ours.shape[1])
        return apart, frechet(ours @ main, theirs @ main)

    def differing(self, other: FaceSet, most: int = 8) -> list[tuple[str, float]]:
        """Return the statistics that differ most, with the difference of medians in the camera's spreads."""
        stats = face_statistics(other.crops, self.gaze)
        shift = np.median(self.ruler.scaled(stats), axis=0) - np.median(self.ruler.scaled(self.stats), axis=0)
        order = np.argsort(-np.abs(shift))[:most]
        return [(NAMES[k], float(shift[k])) for k in order]


def content_sets(real: FaceSet, clean: FaceSet) -> tuple[FaceSet, FaceSet]:
    """Return both sides at 12 px: what still differs is who and what is pictured, no degradation."""
    return tuple(  # type: ignore[return-value]
        FaceSet(one.name, list(on_canvas(list(on_canvas(one.crops, 12)), 112)), one.people)
        for one in (real, clean)
    )


def _embedded(embed: Embedder, crops: Sequence[ImageU8]) -> NDArray[np.float64]:
    # at their own sizes: resizing, and the routing of small faces, is the recognizer's
    return np.asarray(embed(list(crops)), np.float64)
