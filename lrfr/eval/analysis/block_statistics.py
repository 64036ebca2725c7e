"""F-SKD's statistics by block: norms and correlation of a teacher's features on HR and of models' on LR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lrfr.core.embedder import Embedder
from lrfr.eval.analysis import charts
from lrfr.eval.analysis.figures import Shown
from lrfr.eval.embeddings import Floats
from lrfr.eval.scoring.intervals import norm_test, pearson_maps
from lrfr.eval.scoring.metrics import F64

_MOST_FACES = 100


@dataclass(frozen=True)
class BlockComparison:
    """One block of one model on LR beside the teacher's on HR.

    Attributes:
        model: its name.
        block: number of the block, from 1.
        hr_norms: the teacher's feature norms, [N].
        lr_norms: the model's, [N].
        test: of the norms (:func:`~lrfr.eval.scoring.intervals.norm_test`).
        hr_pixels: channel means of every pixel of every face, [N * H * W]; empty where shapes differ.
        lr_pixels: the model's.
        r: mean Pearson's r over faces by kind; empty where shapes differ.

    """

    model: str
    block: int
    hr_norms: F64
    lr_norms: F64
    test: Mapping[str, float]
    hr_pixels: F64
    lr_pixels: F64
    r: Mapping[str, float]

    @property
    def row(self) -> dict[str, float | str]:
        """Return the numbers of a table."""
        return {
            "model": self.model,
            "block": self.block,
            "norm HR": float(self.hr_norms.mean()),
            "norm LR": float(self.lr_norms.mean()),
            **self.test,
            **{f"r {kind}": value for kind, value in self.r.items()},
        }


def compare_blocks(teacher: Embedder, models: Mapping[str, Embedder], shown: Shown) -> list[BlockComparison]:
    """Return F-SKD's statistics of each model and block over at most 100 faces: the teacher's on the first
    size against the model's on the last.
    """
    some = shown.faces[:_MOST_FACES]
    above = shown.blocks(teacher, shown.small(some, shown.sizes[0]))
    small = shown.small(some, shown.sizes[-1])
    return [
        _compared(name, block, hr, lr)
        for name, model in models.items()
        for block, (hr, lr) in enumerate(zip(above, shown.blocks(model, small), strict=False), 1)
    ]


def _compared(name: str, block: int, hr_nchw: Floats, lr_nchw: Floats) -> BlockComparison:
    hr, lr = (
        np.linalg.norm(tap.reshape(len(tap), -1), axis=1).astype(np.float64) for tap in (hr_nchw, lr_nchw)
    )
    alike = hr_nchw.shape == lr_nchw.shape
    pixels = [
        tap.mean(axis=1).astype(np.float64).ravel() if alike else np.empty(0) for tap in (hr_nchw, lr_nchw)
    ]
    maps = pearson_maps(hr_nchw, lr_nchw) if alike else {}
    r = {kind: float(np.nanmean(values)) for kind, values in maps.items()}
    return BlockComparison(name, block, hr, lr, norm_test(hr, lr), pixels[0], pixels[1], r)


def draw_blocks(compared: list[BlockComparison], teacher: str) -> dict[str, bytes]:
    """Return the box plot of norms and the clouds of correlation as PNG files by name; nothing where no model
    has blocks.
    """
    if not compared:
        return {}
    by_model: dict[str, list[BlockComparison]] = {}
    for one in compared:
        by_model.setdefault(one.model, []).append(one)
    blocks = min(map(len, by_model.values()))
    first = next(iter(by_model.values()))[:blocks]
    norms = {f"{teacher}, HR": [one.hr_norms for one in first]}
    norms |= {name: [one.lr_norms for one in found[:blocks]] for name, found in by_model.items()}
    p_values = {name: [one.test["p"] for one in found] for name, found in by_model.items()}
    made = {"norms": charts.boxes(norms, p_values)}
    alike = {
        name: [(one.hr_pixels, one.lr_pixels, one.r["channel_mean"]) for one in found if one.r]
        for name, found in by_model.items()
    }
    alike = {name: panels for name, panels in alike.items() if panels}
    return made | ({"correlation": charts.clouds(alike, (f"{teacher}, HR", "LR"))} if alike else {})
