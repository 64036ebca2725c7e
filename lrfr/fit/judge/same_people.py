"""Whether crops show people of the source, as a recognizer tells it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.image import ImageU8

_MOST = 200  # crops that are looked at
# of a Gumbel law, which largest values follow: from its median to what 1 in 100 exceeds, in units of the way
# from its 10th percentile to its median; percentiles this low are as steady in 50 faces as in 400
_ONE_IN_100 = 3.53
_SHARE, _LEAST = 0.05, 3  # of the crops


def same_people(
    embed: Embedder, crops: Sequence[ImageU8], faces: Sequence[ImageU8], people: Sequence[str]
) -> list[str]:
    """Return a warning where more crops than chance explains are as near to a face of the source as different
    people hardly ever are.

    What is near is learned from the source: the cosine that 1 in 100 of its faces would reach with any face
    of another person. Both sides are taken about their own means, since what a camera does to all crops moves
    all their embeddings. Where more than half of a source's people stand in it twice without a label, that
    cosine is as high as theirs, and nothing is said.

    Args:
        embed: the recognizer.
        crops: of the camera, uint8 RGB; 200 spread over them are looked at.
        faces: of the source, some hundred.
        people: identity of each of ``faces``.

    """
    looked = list(crops)[:: max(1, len(crops) // _MOST)][:_MOST]
    ours, theirs = _directions(embed(looked)), _directions(embed(list(faces)))
    names = np.unique(np.array(people), return_inverse=True)[1]
    among = np.where(names[:, None] == names[None], -1.0, theirs @ theirs.T).max(axis=1)
    low, middle = np.quantile(among, [0.1, 0.5])
    limit = float(middle + _ONE_IN_100 * (middle - low))
    count = int(((ours @ theirs.T).max(axis=1) > limit).sum())
    if count < _LEAST or count <= _SHARE * len(looked):
        return []
    return [
        f"{count} of {len(looked)} crops are nearer to a face of the source (cosine above {limit:.2f}) than "
        f"99 of 100 of its own are to anybody else: with the same people on both sides distances are too "
        f"small; take other people"
    ]


def _directions(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return embeddings [N, D] less their mean, of length 1 each."""
    centered = np.asarray(embeddings, np.float64)
    centered = centered - centered.mean(axis=0)
    return np.asarray(centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-12))
