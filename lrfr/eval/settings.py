"""What a user may choose about an evaluation; one flat record for all protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.files import digest_of
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.embeddings import FUSIONS, Source, embed_images, image_key
from lrfr.eval.low_res import LowRes, Size, spec_digests
from lrfr.eval.results import Model, Result, placeless
from lrfr.eval.scoring.conventions import CONVENTIONS

DEFAULT_SIZES: tuple[Size, ...] = (112, 56, 28, 14, 7)
NATIVE: tuple[Size, ...] = (None,)

SizeCell = tuple[str, Size, Size]
# what a result says elsewhere (its sizes, its own remark) or what moves no number
_ALIGNING = ("align", "face", "on_miss", "detector", "detector_weights")
_UNDECIDING = {"sizes", "matching", "batch", "finetuned", "any_folds"}


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
        align: ``detect`` finds the faces of pictures that are no crops, a path is a file of their landmarks;
            None takes the pictures as aligned crops.
        face: with ``detect``, which face of a picture: ``largest`` or ``center``.
        on_miss: with ``align``, what becomes of a picture without one: ``keep-center`` measures its central
            square, so that the test stays whole, ``skip`` leaves it out.
        detector: with ``detect``, its name.
        detector_weights: its file of weights.

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
    align: str | Path | None = None
    face: str | None = None
    on_miss: str | None = None
    detector: str | None = None
    detector_weights: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse unknown words and impossible numbers before anything is read."""
        choices = {
            "convention": ([self.convention], CONVENTIONS),
            "flip": ([self.flip] if self.flip else [], FUSIONS),
            "matching": (self.matching, ("same", "cross")),
            "finetuned": ([self.finetuned], ("no", "paper", "ours")),
            "template norm": ([self.template_norm], ("keep", "unit")),
            "gallery mean": ([self.gallery_mean], ("raw", "unit")),
            "face of a picture that is measured": ([self.face] if self.face else [], ("largest", "center")),
            "on_miss": ([self.on_miss] if self.on_miss else [], ("keep-center", "skip")),
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
        for name in ("align", "detector_weights"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        stray = [name for name in _ALIGNING[1:] if getattr(self, name) is not None]
        if stray and self.align != "detect" and (self.align is None or stray != ["on_miss"]):
            raise SpecError(f"'{stray[0]}' is about detecting faces", hint="it goes with align=detect")
        if self.replicates < 0 or self.batch < 1:
            raise SpecError("replicates must be 0 or more and batch 1 or more")

    def fusion(self, default: str | None = None) -> str:
        """Return the flip fusion in force: the user's, else the protocol's, else the convention's."""
        return self.flip or default or CONVENTIONS[self.convention].flip

    def changed(self) -> Mapping[str, object]:
        """Return the settings that decide numbers where they differ from the defaults, as plain JSON."""
        default = _deciding(Settings())
        return {name: value for name, value in _deciding(self).items() if value != default.get(name)}

    def digest(self) -> str:
        """Return sha256 over all settings that decide numbers, defaults included."""
        return digest_of(placeless(_deciding(self)))


def _deciding(settings: Settings) -> dict[str, object]:
    body = asdict(settings)
    kept = {item.name: body[item.name] for item in fields(settings) if item.name not in _UNDECIDING}
    # what came later is in no name where it is not asked for
    return {name: value for name, value in kept.items() if name not in _ALIGNING or value is not None}


def settings_from(given: Mapping[str, object]) -> Settings:
    """Return checked settings, from keywords or from a result's :meth:`Settings.changed`.

    Raises:
        SpecError: a name is no setting, or a value has another type.

    """
    from pydantic import TypeAdapter, ValidationError

    known = [item.name for item in fields(Settings)]
    for name in given:
        if name not in known:
            raise SpecError(f"there is no setting '{name}'", hint=did_you_mean(name, known))
    try:
        return TypeAdapter(Settings).validate_python(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(first["msg"], path=".".join(str(part) for part in first["loc"])) from None


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
    that say so. ``stored`` has the digest of each size whose images lie in a store.
    """

    embed: Embedder
    settings: Settings = field(default_factory=Settings)
    model: Model = field(default_factory=lambda: Model("embedder"))
    hooks: Hooks = SILENT
    stored: Mapping[str, str] = field(default_factory=dict)

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
            hooks=self.hooks,
        )
        return found.fuse(fusion)

    def blank(self, benchmark: str, protocol: str, cell: SizeCell, flip: str = "none") -> Result:
        """Return a result without numbers, its conditions filled in."""
        matching, *sizes = cell
        settings = self.settings
        return Result(
            benchmark,
            protocol,
            self.model,
            matching=matching,
            sizes=(sizes[0], sizes[1]),
            flip=flip,
            interpolation=settings.low_res.filter,
            antialias=settings.low_res.antialias,
            spec_digests=self._digests(sizes),
            settings=settings.changed(),
            settings_digest=settings.digest(),
            finetuned=settings.finetuned,
        )

    def _digests(self, sizes: Sequence[Size]) -> dict[str, str]:
        kept = {size: self.stored[size] for size in sizes if isinstance(size, str) and size in self.stored}
        return {**spec_digests([size for size in sizes if size not in kept]), **kept}


def with_draws(pixels: str, sources: Sequence[Source], cell: SizeCell) -> str:
    """Return the digest of what a test sees: where a spec makes images small, their keys seed its draws
    and so decide pixels too.
    """
    if not any(isinstance(size, str) for size in cell[1:]):
        return pixels
    keys = [image_key(source, row).decode("utf-8", "surrogateescape") for row, source in enumerate(sources)]
    return digest_of([pixels, *keys])
