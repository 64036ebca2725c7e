"""How far two sets of faces are apart by their statistics: Frechet, KID, energy, or whether they are told.

C2ST: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests" (ICLR 2017): the accuracy, on faces it has
not seen, of a classifier that is trained to tell two sets; 0.5 where it cannot. KID: Binkowski et al. (ICLR
2018), the unbiased squared maximum mean discrepancy under (x.y / d + 1)^3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from lrfr.core.errors import missing_extra

Floats = NDArray[np.float64]
_DIRECTIONS = 32
_FOLDS = 5


@dataclass(frozen=True)
class Ruler:
    """The space that distances are measured in: statistics scaled by the camera's spread, then the leading
    directions in which the camera's and simulated faces vary.

    Attributes:
        middle, spread: of the camera's statistics, [D].
        directions: orthonormal [D, 32].
        unit: spread of the camera's faces along each.

    """

    middle: Floats
    spread: Floats
    directions: Floats
    unit: Floats

    @classmethod
    def of(cls, real: NDArray[np.float32], simulated: NDArray[np.float32]) -> Ruler:
        """Return the ruler of a camera's faces and of simulated ones of all kinds."""
        low, middle, high = np.quantile(real.astype(np.float64), [0.16, 0.5, 0.84], axis=0)
        wide = np.concatenate([real, simulated]).astype(np.float64)
        spread = np.maximum((high - low) / 2, 0.1 * wide.std(axis=0) + 1e-4)
        scaled = np.clip((wide - middle) / spread, -8, 8)
        _, _, rows = np.linalg.svd(scaled - scaled.mean(axis=0), full_matrices=False)
        directions = rows[:_DIRECTIONS].T
        own = np.clip((real - middle) / spread, -8, 8) @ directions
        return cls(middle, spread, directions, np.maximum(own.std(axis=0), 0.3))

    def scaled(self, stats: NDArray[np.float32]) -> Floats:
        """Return statistics in units of the camera's spread, cut at 8."""
        return np.asarray(np.clip((stats.astype(np.float64) - self.middle) / self.spread, -8, 8))

    def reduced(self, stats: NDArray[np.float32]) -> Floats:
        """Return faces along the leading directions, in units of the camera's spread there."""
        return np.asarray(self.scaled(stats) @ self.directions / self.unit)


def frechet(a: Floats, b: Floats) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets [N, d]."""
    ca, cb = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(ca @ cb + 1e-9 * np.eye(len(ca)))
    value = np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + np.trace(ca + cb) - 2 * np.trace(root.real)
    return float(max(value, 0.0))


def share_nearer(real: Floats, pair: tuple[Floats, Floats], seed: int, times: int = 40) -> float:
    """Return in what share of resamplings the first of two sets of the same faces is nearer to real ones."""
    random = np.random.default_rng([seed, 19])
    wins = 0
    for _ in range(times):
        own = real[random.integers(0, len(real), len(real))]
        rows = random.integers(0, len(pair[0]), len(pair[0]))
        first, second = (frechet(own, one[rows]) for one in pair)
        wins += first < second
    return wins / times


def kid(a: Floats, b: Floats) -> float:
    """Return the unbiased squared MMD under (x.y / d + 1)^3 of two sets [N, d]."""
    size = a.shape[1]
    aa, bb, ab = ((x @ y.T / size + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    own = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(own - 2 * ab.mean())


def energy(a: Floats, b: Floats) -> float:
    """Return the unbiased energy distance 2 E|x - y| - E|x - x'| - E|y - y'| of two sets [N, d].

    Unlike a Frechet distance its mean does not depend on how many faces there are, nor need they be more
    than dimensions; two sets of one distribution have 0, by chance less. Szekely and Rizzo, "Energy
    statistics" (J. Stat. Plan. Inference 2013), equation 6.1 with its own pairs left out.
    """
    n, m = len(a), len(b)
    own = cdist(a, a).sum() / (n * (n - 1)) + cdist(b, b).sum() / (m * (m - 1))
    return float(2 * cdist(a, b).mean() - own)


@dataclass(frozen=True)
class Nearness:
    """How near a candidate is to the validation crops.

    Attributes:
        frechet: by which fits are chosen among each other.
        energy: by which the structure scan is left. A Frechet distance says little where there are fewer
            crops than directions: of 20 crops a true spec has 19 and a scan that anybody tells 22.

    """

    frechet: float
    energy: float

    @classmethod
    def of(cls, real: Floats, faces: Floats) -> Nearness:
        """Return how near simulated faces are to real ones, [N, d] each."""
        return cls(frechet(real, faces), energy(real, faces))


@dataclass(frozen=True)
class Told:
    """Whether classifiers tell two sets.

    Attributes:
        logistic, trees: accuracies on faces that were not trained on.
        low, high: 95 % interval (Wilson) of the larger.
        n: faces a side.

    """

    logistic: float
    trees: float
    low: float
    high: float
    n: int

    @property
    def larger(self) -> float:
        """The larger accuracy."""
        return max(self.logistic, self.trees)

    @property
    def words(self) -> str:
        """What may be said."""
        return "distinguishable" if self.low > 0.5 else f"not distinguished at n = {self.n}"


def check_installed() -> None:
    """Refuse to begin without the classifiers.

    Raises:
        EnvironmentFault: scikit-learn is missing.

    """
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise missing_extra("scikit-learn", "fit") from None


def c2st(a: Floats, b: Floats, people: tuple[Sequence[str], Sequence[str]], seed: int) -> Told:
    """Train classifiers to tell two sets and measure them on others.

    Args:
        a: scaled statistics of one set, [N, D].
        b: of the other; the larger set is cut to the smaller.
        people: identity of each face of a and b; nobody stands in two folds.
        seed: of folds and classifiers.

    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    n = min(len(a), len(b))
    x = np.concatenate([a[:n], b[:n]])
    y = np.repeat([0, 1], n)
    folds = _folds([*people[0][:n], *people[1][:n]], y, seed)
    hits = {"logistic": 0, "trees": 0}
    for fold in range(_FOLDS):
        train, test = folds != fold, folds == fold
        if not test.any() or len(set(y[train])) < 2:
            continue
        models = {
            "logistic": LogisticRegression(C=0.02, max_iter=400),
            "trees": HistGradientBoostingClassifier(
                max_iter=60, max_leaf_nodes=8, min_samples_leaf=10, l2_regularization=1.0, random_state=seed
            ),
        }
        for name, model in models.items():
            hits[name] += int((model.fit(x[train], y[train]).predict(x[test]) == y[test]).sum())
    logistic, trees = hits["logistic"] / (2 * n), hits["trees"] / (2 * n)
    low, high = wilson(max(logistic, trees), 2 * n)
    return Told(logistic, trees, low, high, n)


def _folds(people: Sequence[str], sides: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return a fold for each face: people shuffled, dealt out in turn, each side for itself."""
    random = np.random.default_rng([seed, 13])
    found = np.zeros(len(people), np.int64)
    for side in (0, 1):
        names = sorted({p for p, s in zip(people, sides, strict=True) if s == side})
        dealt = {names[k]: turn % _FOLDS for turn, k in enumerate(random.permutation(len(names)))}
        for row, person in enumerate(people):
            if sides[row] == side:
                found[row] = dealt[person]
    return found


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of ``count``."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def permuted_p(a: Floats, b: Floats, seed: int, times: int = 400) -> float:
    """Return how often a random division of both sets is as far apart as they are (Gaussian MMD).

    The width of the kernel is the median distance of the faces.
    """
    x = np.concatenate([a, b])
    square = np.square(x).sum(axis=1)
    apart = np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0)
    kernel = np.exp(-apart / max(float(np.median(apart)), 1e-9))
    random = np.random.default_rng([seed, 17])
    sides = np.concatenate([np.full(len(a), 1 / len(a)), np.full(len(b), -1 / len(b))])
    own = sides @ kernel @ sides
    drawn = np.stack([random.permutation(sides) for _ in range(times)])
    others = np.einsum("ti,ti->t", drawn @ kernel, drawn)
    return float((1 + (others >= own).sum()) / (1 + times))
