"""What lossless files hide: crops that were stored as JPEG before, told by their own pixels.

Blocks that a JPEG has rounded lie on the lattice of its quality (:mod:`lrfr.fit.look.codec_marks`). Stored
the same way again, such a picture hardly moves; with another quality or subsampling it does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lrfr.core.image import ImageU8, encode_jpeg, read_picture
from lrfr.fit.look.codec_marks import QUALITIES, codec_evidence
from lrfr.fit.look.container_marks import Container, container_words

_LOOKED_AT = 24
_TOLD = 30.0  # natural logarithm of how much more probable a crop is with its codec than without
_MOSTLY = 0.6
_BESIDE = 2  # qualities whose tables hardly differ
_SUBSAMPLINGS = ("420", "422", "444")


def stored_before(crops: Sequence[ImageU8]) -> tuple[Container | None, str]:
    """Return the JPEG that most crops were stored as before (None where they do not tell one), and what a
    person should know, "" where they were none.

    Args:
        crops: uint8 [h, w, 3] RGB each, from lossless files.

    """
    found = [one for one in map(_codec_of, crops[:_LOOKED_AT]) if one is not None]
    needed = _MOSTLY * min(len(crops), _LOOKED_AT)
    if len(found) < needed:
        return None, ""
    quality, subsampling = Counter(found).most_common(1)[0][0]
    alike = sum(abs(one - quality) <= _BESIDE and how == subsampling for one, how in found)
    if alike < needed:
        qualities = [one for one, _ in found]
        seen = f"{min(qualities)} to {max(qualities)}"
        return (
            None,
            f"the files are lossless, but were JPEG of qualities {seen} before: no one step repeats that",
        )
    container = Container("jpeg", quality, True, subsampling)
    words = f"the files are lossless, but were {container_words(container)} before, which is repeated"
    return container, words


def _codec_of(crop: ImageU8) -> tuple[int, str] | None:
    """Return quality and subsampling of the JPEG that a crop was; None where it was none."""
    evidence = codec_evidence([crop])[0]
    best = int(np.argmax(evidence))
    if evidence[best] < _TOLD:
        return None
    near = [QUALITIES[k] for k in range(best - _BESIDE, best + _BESIDE + 1) if 0 <= k < len(QUALITIES)]
    tries = [(_moved(crop, quality, how), quality, how) for quality in near for how in _SUBSAMPLINGS]
    _, quality, how = min(tries)
    return quality, how


def _moved(crop: ImageU8, quality: int, subsampling: str) -> float:
    """Return how far pixels move, in levels, when they are stored so (again)."""
    again = read_picture(encode_jpeg(crop, quality, subsampling)).pixels
    return float(np.abs(again.astype(np.int16) - crop).mean())
