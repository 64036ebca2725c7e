"""Several models in one picture: what small faces do to their embeddings, and where they look."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lrfr.core.embedder import Embedder
from lrfr.eval.analysis import pictures, signals
from lrfr.eval.analysis.figures import Shown
from lrfr.eval.embeddings import Floats, embed_images, unit
from lrfr.eval.low_res import size_label
from lrfr.eval.scoring.metrics import F64

_FACES = 4


def draw_beside(
    above: tuple[str, Embedder], models: Mapping[str, Embedder], shown: Shown
) -> dict[str, bytes]:
    """Return PNG files by name: ``beside-dimensions`` (MAug Fig. 6) and, where the models hand out their
    blocks, ``beside-attention`` (F-SKD Fig. 3, CATFace Figs. 7 and 8).

    Args:
        above: name and embedder of the model that is shown on HR.
        models: name to embedder of those shown on the last size.
        shown: faces, and the sizes whose first and last count.

    """
    errors = {name: dimension_errors(embed, shown) for name, embed in models.items()}
    last = size_label(shown.sizes[-1])
    made = {"beside-dimensions": pictures.histogram(errors, f"mean |HR - {last}| of a dimension")}
    maps = _maps(above, models, shown)
    few = shown.faces[:: max(1, len(shown.faces) // _FACES)][:_FACES]
    return made | ({"beside-attention": pictures.attention(few, maps)} if maps else {})


def dimension_errors(embed: Embedder, shown: Shown) -> F64:
    """Return the mean absolute difference of each dimension of the unit embedding between the first size and
    the last, ``[D]``.
    """
    ends = (shown.sizes[0], shown.sizes[-1])
    large, small = (unit(embed_images(embed, shown.faces, size=size).plain) for size in ends)
    errors: F64 = np.abs(small - large).mean(axis=0).astype(np.float64)
    return errors


def _maps(above: tuple[str, Embedder], models: Mapping[str, Embedder], shown: Shown) -> dict[str, Floats]:
    """Return the maps of first and last block by what they are of; nothing where no model has blocks."""
    few = shown.faces[:: max(1, len(shown.faces) // _FACES)][:_FACES]
    asked = [(*above, shown.sizes[0]), *((name, embed, shown.sizes[-1]) for name, embed in models.items())]
    found: dict[str, Floats] = {}
    for block, place in (("first", 0), ("last", -1)):
        for name, embed, size in asked:
            taps = shown.blocks(embed, shown.small(few, size))
            if taps:
                found[f"{block}, {name}, {size_label(size)}"] = signals.attention_map(taps[place])
    return found
