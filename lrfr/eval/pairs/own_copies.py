"""Trials of faces whose people nobody knows: each face against its own small copy and against other faces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Source
from lrfr.eval.pairs.face_table import hash_text
from lrfr.eval.pairs.hash_draw import hashes, stirred
from lrfr.eval.pairs.pair_list import PairList
from lrfr.eval.pairs.search_list import SearchList

MOST = 3000  # faces; a pair of each kind for every one of them
_FOLDS = 10
_STRANGERS = 5  # one face in so many is nobody of the gallery
TOLD = (
    "nobody is known by name: a large face is to be told from others by its own small copy, which is easier "
    "than by another picture; it may meet another picture of its person as a stranger"
)


def own_copies(
    keys: Sequence[str], open_face: Callable[[str], Source], seed: int = 0
) -> tuple[PairList, SearchList]:
    """Return pairs of every face with itself and with another one, and a search for every face by itself: to
    be seen at two sizes.

    Up to :data:`MOST` faces, chosen by a hash of their keys; no face is in two folds, a fifth are
    distractors.

    Args:
        keys: names of the faces.
        open_face: gives the face of a key.
        seed: of the choice.

    Raises:
        DataError: fewer than ten faces.

    """
    if len(keys) < 2 * _STRANGERS:
        raise DataError(f"{len(keys)} faces are too few to tell them apart", hint="ten or more")
    order = np.argsort(stirred(hashes([hash_text(key) for key in keys]), seed, "copies"), kind="stable")[
        :MOST
    ]
    chosen = [keys[place] for place in order.tolist()]
    images, n = [open_face(key) for key in chosen], len(chosen)
    folds = min(_FOLDS, n // 3)  # of two faces the second pair would be the first one turned round
    own = np.arange(n)
    fold = own * folds // n
    first, size = np.searchsorted(fold, fold), np.bincount(fold)[fold]
    other = first + (own - first + 1) % size
    digest = hashlib.sha256("\n".join(["own copies", *chosen]).encode("utf-8", "surrogateescape")).hexdigest()
    pairs = PairList(
        "view",
        images,
        left=np.r_[own, own],
        right=np.r_[own, other],
        same=np.arange(2 * n) < n,
        fold=np.r_[fold, fold],
        identity=own,
        alignment="as in the view",
        digest=digest,
    )
    known = n - n // _STRANGERS
    search = SearchList(
        "view",
        gallery=images[:known],
        gallery_id=own[:known],
        probe=images[:known],
        probe_id=own[:known],
        distractor=images[known:],
        alignment="as in the view",
        digest=digest,
    )
    return pairs, search
