"""Which reading of its input suits a foreign model? Tried on a few faces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.degrade.ops.resize import resize_batch
from lrfr.pairs.sources.synthetic import render_face
from lrfr.train.weights.foreign.input_contract import RANGES, InputContract

# float32 input of a contract to raw embeddings [N, D]
Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Order = Literal["rgb", "bgr"]
FACES = 64
DRAWS = 3
# measured on a MobileFaceNet: wrong channel orders cost up to .02, [0, 1] for [-1, 1] .01, [0, 255] .9
NEAR = 0.05
FAR = 0.2


@dataclass(frozen=True)
class Reading:
    """One way to read the input, and how it went.

    Attributes:
        contract: the reading.
        spread: mean cosine of two different faces; near 1 where the input is saturated.
        flip: mean cosine of a face and its mirror image; falls where the input is noise to the model.
        separation: d' of same and different identities, None without labels.

    """

    contract: InputContract
    spread: float
    flip: float
    separation: float | None = None

    @property
    def score(self) -> float:
        """How much nearer a face is to its mirror image than to other faces, 0 .. 1 or so."""
        return self.flip - self.spread


@dataclass(frozen=True)
class Verdict:
    """What the faces say of a contract.

    Attributes:
        readings: all that were tried, the best first.
        given: the one that was asked about.
        gains: by how much d' of same and different people rises with the other order of channels, one a draw
            of faces; empty where that was not tried.

    """

    readings: tuple[Reading, ...]
    given: Reading
    gains: tuple[float, ...] = ()

    @property
    def plausible(self) -> tuple[Reading, ...]:
        """The readings that are as good as the best, within what a few faces can tell."""
        return tuple(one for one in self.readings if one.score >= self.readings[0].score - NEAR)

    @property
    def word(self) -> Literal["plausible", "doubtful", "implausible"]:
        """What is to be thought of the reading that was asked about."""
        behind = self.readings[0].score - self.given.score
        return "plausible" if behind <= NEAR else "doubtful" if behind <= FAR else "implausible"

    def __str__(self) -> str:
        good = ", ".join(
            f"{one.contract.channels} {one.contract.range_name} ({one.score:.3f})" for one in self.plausible
        )
        asked = self.given.contract
        return (
            f"input {asked.channels} {asked.range_name} is {self.word} ({self.given.score:.3f}); "
            f"plausible: {good}{self._order()}"
        )

    def _order(self) -> str:
        """Return what the draws say of the order of the channels, where they agree."""
        if not self.gains:
            return ""
        asked = self.given.contract.channels
        other = _other(asked)
        spans = " to ".join(f"{gain:+.2f}" for gain in sorted({min(self.gains), max(self.gains)}))
        if min(self.gains) > 0:
            return (
                f"; {other} tells faces apart better in all of {len(self.gains)} draws (d' {spans}): "
                f"measure both on pairs of yours (lrfr eval), or --{other}"
            )
        return f"; {asked} tells them apart better in all draws" if max(self.gains) < 0 else ""


def _other(order: Order) -> Order:
    return "rgb" if order == "bgr" else "bgr"


def channel_gains(forward: Forward, contract: InputContract, draws: int = DRAWS) -> tuple[float, ...]:
    """Return by how much d' of embedded faces rises when the channels come in the other order, for some
    draws of people.
    """
    other = replace(contract, channels=_other(contract.channels))
    gains = []
    for draw in range(draws):
        faces, labels = embedded_faces_for(draw=draw)
        faces = _fitted(faces, contract.size_px)
        asked, turned = (_separation(_cosines(forward, one, faces), labels) for one in (contract, other))
        gains.append(turned - asked)
    return tuple(gains)


def _fitted(faces: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    same = faces.shape[1:3] == (size_px, size_px)
    return faces if same else resize_batch(faces, size_px, "bicubic", True)


@lru_cache(maxsize=DRAWS)
def embedded_faces_for(count: int = FACES, draw: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return embedded (invented) faces uint8 ``[count, 112, 112, 3]`` and their identities, four faces
    each; another draw has other people.
    """
    places = [divmod(number, 4) for number in range(count)]
    faces = np.stack([render_face(identity, sample, draw)[0] for identity, sample in places])
    faces.flags.writeable = False  # whoever asks again gets the same
    return faces, np.array([identity for identity, _ in places])


def check_readings(
    forward: Forward,
    contract: InputContract,
    faces: Sequence[ImageU8] | NDArray[np.uint8],
    labels: NDArray[np.int64] | None = None,
) -> Verdict:
    """Try a contract and its alternatives (the other channel order, other ranges) on faces.

    A recognizer that gets what it was trained on keeps a face and its mirror image together and different
    faces apart. Saturated input (0 .. 255 where -1 .. 1 is expected) brings all faces together, which a few
    faces show beyond doubt; a wrong channel order hardly matters to many networks: then both are plausible.

    Args:
        forward: the model: float32 input as the contract says to raw embeddings.
        contract: what is asked about.
        faces: uint8 RGB, equally large, a few different people.
        labels: their identities, where known.

    """
    batch = _fitted(np.stack(list(faces)), contract.size_px)
    ranges = dict.fromkeys(
        [(contract.mean, contract.std), *(RANGES[name] for name in ("-1,1", "0,1", "0,255"))]
    )
    orders: tuple[Order, ...] = ("rgb", "bgr")
    tried = [
        _measured(forward, replace(contract, channels=order, mean=mean, std=std), batch, labels)
        for (mean, std), order in itertools.product(ranges, orders)
    ]
    given = next(one for one in tried if one.contract == contract)
    return Verdict(tuple(sorted(tried, key=lambda one: -one.score)), given)


def _measured(
    forward: Forward, contract: InputContract, batch: NDArray[np.uint8], labels: NDArray[np.int64] | None
) -> Reading:
    plain, mirrored = (_unit(forward(contract.apply(x))) for x in (batch, batch[:, :, ::-1]))
    cosines = plain @ plain.T
    same = np.eye(len(batch), dtype=bool) if labels is None else labels[:, None] == labels[None]
    flip = float((plain * mirrored).sum(1).mean())
    separation = None if labels is None else _separation(cosines, labels)
    return Reading(contract, float(cosines[~same].mean()), flip, separation)


def _cosines(forward: Forward, contract: InputContract, batch: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows_unit = _unit(forward(contract.apply(batch)))
    return rows_unit @ rows_unit.T


def _separation(cosines: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return d' of same and different identities, 0 where one of the two has no pair."""
    same = labels[:, None] == labels[None]
    own, others = cosines[same & ~np.eye(len(labels), dtype=bool)], cosines[~same]
    if not len(own) or not len(others):
        return 0.0
    pooled = np.sqrt((own.var() + others.var()) / 2)
    return float((own.mean() - others.mean()) / max(pooled, 1e-12))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    # an overflow of the model is no embedding: such a reading gets a cosine of 0 with its mirror image
    found = np.nan_to_num(rows.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    rows_unit: NDArray[np.float64] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return rows_unit
