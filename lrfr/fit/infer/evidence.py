"""What crops tell one by one: native sizes and the qualities of a codec, as laws that are known before all
else is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.fit.infer.fitted_spec import share
from lrfr.fit.infer.prior_space import Variable
from lrfr.fit.look.codec_marks import codec_evidence
from lrfr.fit.look.codec_qualities import few_qualities
from lrfr.fit.look.face_statistics import Gaze, natives_of, on_canvas

Floats = NDArray[np.float64]
_MOST_SIZES = 8
_OUTLIERS = 0.03


@dataclass(frozen=True)
class KnownLaw:
    """A law that crops tell one by one.

    Attributes:
        literal: what stands in the spec.
        shares: of each value.

    """

    literal: object
    shares: Mapping[int, float]

    def masses(self, variable: Variable) -> Floats:
        """Return the shares of a variable's present classes, [B]."""
        found = np.zeros(variable.count - 1)
        for value, part in self.shares.items():
            if not variable.words or value in variable.words:
                found[variable.class_of(value) - 1] += part
        total = float(found.sum())
        return found / total if total > 0 else np.full(len(found), 1 / len(found))

    def inside(self, variable: Variable) -> bool:
        """Return whether the prior has all values."""
        if variable.words:
            return all(value in variable.words for value in self.shares)
        return variable.edges[0] <= min(self.shares) and max(self.shares) < variable.edges[-1] + 1

    def among(self, others: Mapping[str, object], share_of_others: float) -> Mapping[str, object]:
        """Return a ``choice`` of this law's values, and of others for a share."""
        options, weights = others["choice"], others["weights"]
        assert isinstance(options, list) and isinstance(weights, list)
        total = sum(weights)
        mixed = {o: share_of_others * w / total for o, w in zip(options, weights, strict=True)}
        for value, part in self.shares.items():
            mixed[value] = mixed.get(value, 0.0) + (1 - share_of_others) * part
        return {"choice": list(mixed), "weights": [float(f"{w:.4g}") for w in mixed.values()]}


@dataclass(frozen=True)
class Evidence:
    """The crops of one part.

    Attributes:
        stats: of each, [N, D].
        sizes: native side of each, 0 where unknown, [N].
        codecs: log probability ratios of each JPEG quality, [N, Q]; no columns where native pixels are
            not known.
        exact_sizes: whether ``sizes`` are to be believed.

    """

    stats: NDArray[np.float32]
    sizes: NDArray[np.int64]
    codecs: Floats
    exact_sizes: bool

    @classmethod
    def of(
        cls, crops: Sequence[ImageU8], stats: NDArray[np.float32], gaze: Gaze, *, exact_sizes: bool
    ) -> Evidence:
        """Look at crops one by one; their statistics are given."""
        shown = list(on_canvas(crops, gaze.canvas_px)) if gaze.way else crops
        natives, sizes = natives_of(shown, gaze)
        codecs = codec_evidence(natives) if exact_sizes else np.zeros((len(crops), 0))
        return cls(stats, sizes, codecs, exact_sizes)

    def take(self, rows: NDArray[np.bool_]) -> Evidence:
        """Return some of the crops."""
        parts = {name: getattr(self, name)[rows] for name in ("stats", "sizes", "codecs")}
        return replace(self, **parts)

    def known(self, variables: Sequence[Variable]) -> dict[int, KnownLaw]:
        """Return the laws that are known, by the number of their variable."""
        if not self.exact_sizes:
            return {}
        found: dict[int, KnownLaw] = {}
        if (self.sizes > 0).any():
            law = KnownLaw(literal := size_law(self.sizes), _shares_of(literal))
            found.update({k: law for k, v in enumerate(variables) if v.parameter == "size"})
        codecs = [k for k, v in enumerate(variables) if v.parameter == "quality"]
        # with several codecs in the chain it is not said whose quality was seen
        shares = few_qualities(self.codecs) if len(codecs) == 1 and self.codecs.shape[1] else None
        if shares is not None:
            weights = [share(w) for w in shares.values()]
            literal = {"choice": list(shares), "weights": weights} if len(shares) > 1 else next(iter(shares))
            law = KnownLaw(literal, shares)
            found.update({k: law for k in codecs if law.inside(variables[k])})
        return found

    def mixed_literals(
        self, variables: Sequence[Variable], prior: Sequence[Floats], share_of_prior: float
    ) -> dict[str, object]:
        """Return, by the variable's name, what is known mixed with a prior's histograms."""
        return {
            variables[k].name: law.among(variables[k].literal(prior[k]), share_of_prior)
            for k, law in self.known(variables).items()
            if law.inside(variables[k])
        }


def _shares_of(literal: object) -> Mapping[int, float]:
    if isinstance(literal, int):
        return {literal: 1.0}
    assert isinstance(literal, dict)
    if "choice" in literal:
        return dict(zip(literal["choice"], literal["weights"], strict=True))
    low, high = literal["randint"]
    return {side: 1 / (high - low + 1) for side in range(low, high + 1)}


def size_law(sizes: NDArray[np.int64]) -> object:
    """Return the simplest law of native sides that were seen one by one.

    A few that stand alone are taken for errors of the detector.
    """
    held = sizes > 0
    sides, counts = np.unique(sizes[held], return_counts=True)
    count = max(int(held.sum()), 1)
    shares = counts / count
    order = np.argsort(-shares)
    few = order[: int(np.searchsorted(np.cumsum(shares[order]), 1 - _OUTLIERS)) + 1]
    if len(few) == 1:
        return int(sides[few[0]])
    if len(few) <= _MOST_SIZES and (shares[few].min() > 3 / count or len(few) <= 3):
        few = np.sort(few)
        kept = shares[few] / shares[few].sum()
        return {"choice": sides[few].tolist(), "weights": [share(float(w)) for w in kept]}
    low, high = (int(sides[np.searchsorted(np.cumsum(shares), q)]) for q in (0.006, 0.994))
    inside = (sides >= low) & (sides <= high)
    width = high - low + 1
    even = -math.log(width) * float(shares[inside].sum()) * count - math.log(count)
    own = shares[inside] / shares[inside].sum()
    free = float((shares[inside] * np.log(own)).sum()) * count - 0.5 * (inside.sum() - 1) * math.log(count)
    if even >= free:
        return {"randint": [low, high]}
    return {"choice": sides[inside].tolist(), "weights": [float(f"{w:.4f}") for w in own]}
