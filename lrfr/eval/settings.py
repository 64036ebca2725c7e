"""What a user may choose about an evaluation; one flat record for all protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.eval.embeddings import FUSIONS, Embed, LowRes, Progress, Size, Source, embed_images
from lrfr.eval.results import Model
from lrfr.eval.scoring.conventions import CONVENTIONS

DEFAULT_SIZES: tuple[Size, ...] = (112, 56, 28, 14, 7)
NATIVE: tuple[Size, ...] = (None,)

SizeCell = tuple[str, Size, Size]


@dataclass(frozen=True)
class Settings:
    """How to evaluate.

    Attributes:
        sizes: LR sizes in px, names or paths of degradation specs, or ``None`` in it for the image as it is.
            None: the benchmark's own. The largest is the HR side of cross-resolution tests.
        matching: ``same`` and/or ``cross``.
        convention: ``A`` .. ``F``, see :mod:`lrfr.eval.scoring.conventions`.
        flip: fusion of image and mirror image; None: the convention's or protocol's own.
        low_res: how small images are made.
        any_folds: let convention E run on folds of another size than 600.
        replicates: bootstrap replicates; 0 for no intervals.
        seed: seed of the bootstrap and of drawn splits.
        batch: images per call of ``embed``.
        finetuned: ``no``, ``paper`` or ``ours``: whether the model saw the benchmark's training part.
        template_norm: IJB: ``keep`` the norm of each image embedding (N1) or make it ``unit`` (N0).
        detector_score: IJB: weight each image by its detector score (D1).
        gallery_mean: SurvFace: a person's template is the mean of ``raw`` or ``unit`` features.
        official_sweep: SurvFace: also the 1,000-threshold sweep of the published scripts.

    """

    sizes: Sequence[Size] | None = None
    matching: Sequence[str] = ("same", "cross")
    convention: str = "F"
    flip: str | None = None
    low_res: LowRes = field(default_factory=LowRes)
    any_folds: bool = False
    replicates: int = 1000
    seed: int = 0
    batch: int = 64
    finetuned: str = "no"
    template_norm: str = "keep"
    detector_score: bool = True
    gallery_mean: str = "raw"
    official_sweep: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown words and impossible numbers before anything is read."""
        choices = {
            "convention": ([self.convention], CONVENTIONS),
            "flip": ([self.flip] if self.flip else [], FUSIONS),
            "matching": (self.matching, ("same", "cross")),
            "finetuned": ([self.finetuned], ("no", "paper", "ours")),
            "template norm": ([self.template_norm], ("keep", "unit")),
            "gallery mean": ([self.gallery_mean], ("raw", "unit")),
        }
        for what, (given, known) in choices.items():
            unknown = [word for word in given if word not in known]
            if unknown:
                raise SpecError(f"unknown {what} '{unknown[0]}'", hint=f"known: {', '.join(known)}")
        if not self.matching:
            raise SpecError("no matching given", hint="known: same, cross")
        if self.sizes is not None and (
            not self.sizes or any(isinstance(s, int) and not 1 <= s <= 4096 for s in self.sizes)
        ):
            raise SpecError(
                f"sizes {list(self.sizes)}", hint="give sides from 1 to 4096 px, for example 112,28,14"
            )
        if self.replicates < 0 or self.batch < 1:
            raise SpecError("replicates must be 0 or more and batch 1 or more")

    def fusion(self, default: str | None = None) -> str:
        """Return the flip fusion in force: the user's, else the protocol's, else the convention's."""
        return self.flip or default or CONVENTIONS[self.convention].flip


def size_cells(settings: Settings, default: Sequence[Size]) -> list[SizeCell]:
    """List (matching, size of first image or gallery, size of second image or probe); the HR-HR cell always
    stands first.
    """
    sizes = list(dict.fromkeys(settings.sizes or default))
    largest = max(sizes, key=_extent)
    cells: list[SizeCell] = [("same", largest, largest)]
    if "cross" in settings.matching:
        cells += [("cross", largest, size) for size in sizes if size != largest]
    if "same" in settings.matching:
        cells += [("same", size, size) for size in sizes if size != largest]
    return cells


def _extent(size: Size) -> float:
    """Order sizes: a spec's output is never the HR side, the image as it is always may be."""
    if isinstance(size, str):
        return 0.0
    return float("inf") if size is None else float(size)


@dataclass(frozen=True)
class Task:
    """What a benchmark's runner is given: who is evaluated, how, and where progress goes.

    ``embed`` is the benchmark's callable: embeddings for most, attribute logits or class scores for those
    that say so.
    """

    embed: Embed
    settings: Settings = field(default_factory=Settings)
    model: Model = field(default_factory=lambda: Model("embedder"))
    on_progress: Progress | None = None

    def embedded(self, sources: Sequence[Source], size: Size, fusion: str = "none") -> NDArray[np.float32]:
        """Return the fused embeddings (or logits) of images at one size, [N, D]."""
        settings = self.settings
        found = embed_images(
            self.embed,
            sources,
            size=size,
            low_res=settings.low_res,
            mirror=fusion != "none",
            batch=settings.batch,
            on_progress=self.on_progress,
        )
        return found.fuse(fusion)
