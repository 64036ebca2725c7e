"""One model by resolution in pictures: faces, embeddings, attention maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.errors import SpecError
from lrfr.core.image import ImageU8
from lrfr.core.lists.walk import pictures_below
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.analysis import charts, pictures, signals
from lrfr.eval.embeddings import Floats, embed_images, load_image, unit
from lrfr.eval.low_res import LowRes, Size, size_label
from lrfr.eval.scoring.metrics import F64

CAPTIONS = {
    "gallery": "The faces at each size, enlarged without smoothing.",
    "ssim": "Structural similarity of a face taken down and back up (bicubic) to itself.",
    "error-bound": "Bound on the error of bilinear enlargement, relative to the largest size.",
    "pca": "First two principal components of the unit embeddings; large marks are centers.",
    "tsne": "t-SNE of the unit embeddings; large marks are centers.",
    "dimensions": "Mean |HR - LR| of each dimension of the unit embedding.",
    "attention": "Channel means of the first and last block, scaled to 0..1, HR beside the smallest size.",
    "stages": "Channel means after every stage, scaled to 0..1, of one face at each size.",
    "norms": "Feature norms by block, the teacher's on HR first; stars of the t-test against it.",
    "correlation": "Channel means of each pixel, the teacher's on HR against LR, and Pearson's r.",
    "beside-dimensions": "Mean |HR - LR| of each dimension of the unit embedding, every model's.",
    "beside-attention": "Channel means of first and last block, the teacher's on HR, every model's on LR.",
    "gradients": "Sum of the parameters' gradient norms of the margin, by resolution of the face.",
    "distances": "First derivative of each distance by the error of one dimension; right: by the others' C.",
    "stored": "What models reach against the parameters that are stored for them.",
}
Blocks = Callable[[Embedder, list[ImageU8]], list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Shown:
    """What is drawn: faces at sizes, and how a model's blocks are reached.

    Attributes:
        faces: uint8 RGB, equally large where blocks are drawn.
        sizes: the first one is HR, the last one LR.
        blocks: the outputs of a model's blocks on images, ``[N, C, H, W]`` each; empty where it has none.
        seed: of t-SNE.

    """

    faces: list[ImageU8]
    sizes: Sequence[Size]
    blocks: Blocks
    seed: int = 0

    def small(self, faces: list[ImageU8], size: Size) -> list[ImageU8]:
        """Return faces at one size."""
        return LowRes().apply(faces, size, [b"row:%d" % row for row in range(len(faces))])


def some_faces(data: Path | None, count: int, seed: int, hooks: Hooks = SILENT) -> list[ImageU8]:
    """Return faces of a folder, drawn by the seed, or invented ones that no training uses; ``hooks`` are told
    of what else lies in the folder.

    Raises:
        SpecError: no picture below the folder.

    """
    if data is None:
        from lrfr.pairs.sources.synthetic import render_face

        return [render_face(number // 4, number % 4, 2**63 + seed)[0] for number in range(count)]
    found, rest = pictures_below(data)
    for line in (*(f"left out {name}: {reason}" for name, _, reason in rest.refused), *rest.told()):
        hooks.note(f"{data}: {line}")
    if not found:
        raise SpecError("no picture below this folder", file=str(data))
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    return [load_image(data / found[i]) for i in sorted(chosen)]


def draw_figures(embed: Embedder, shown: Shown) -> dict[str, bytes]:
    """Return PNG files by name; :data:`CAPTIONS` says what each shows."""
    return _of_images(shown) | _of_embeddings(embed, shown) | _of_blocks(embed, shown)


def _of_images(shown: Shown) -> dict[str, bytes]:
    some = shown.faces[:50]
    few = shown.faces[:: max(1, len(shown.faces) // 6)]
    made = {"gallery": pictures.sheet({size_label(size): shown.small(few, size) for size in shown.sizes})}
    sides = [size for size in shown.sizes if isinstance(size, int)]
    if len(sides) > 1:
        made["ssim"] = pictures.against_size({"SSIM": signals.ssim_against_size(some, sides)}, "SSIM")
        bound = {size: signals.upsampling_error_bound(LowRes().apply(some, size)) for size in sides}
        relative = {size: value / bound[max(sides)] for size, value in bound.items()}
        made["error-bound"] = pictures.against_size({"bound": relative}, f"bound relative to {max(sides)} px")
    return made


def _of_embeddings(embed: Embedder, shown: Shown) -> dict[str, bytes]:
    sizes = shown.sizes
    points = [unit(embed_images(embed, shown.faces, size=size).plain) for size in sizes]
    names, together = [size_label(size) for size in sizes], np.concatenate(points)
    flat, _ = signals.pca(together)
    made = {"pca": pictures.scatter(dict(zip(names, np.split(flat, len(sizes)), strict=True)), "component")}
    if 100 <= len(together) <= 3000:
        curved = signals.tsne(together, seed=shown.seed)
        made["tsne"] = pictures.scatter(dict(zip(names, np.split(curved, len(sizes)), strict=True)), "t-SNE")
    if len(sizes) > 1:
        errors = {
            name: np.abs(p - points[0]).mean(axis=0).astype(np.float64)
            for name, p in zip(names[1:], points[1:], strict=True)
        }
        made["dimensions"] = pictures.histogram(errors, "mean |HR - LR| of a dimension")
    return made


def _of_blocks(embed: Embedder, shown: Shown) -> dict[str, bytes]:
    """Draw attention maps where the model hands out its blocks."""
    ends, few = [shown.sizes[0], shown.sizes[-1]], shown.faces[:: max(1, len(shown.faces) // 4)][:4]
    maps: dict[str, F64] = {}
    for size in ends:
        taps = shown.blocks(embed, shown.small(few, size))
        if not taps:
            return {}
        for block, tap in (("first", taps[0]), ("last", taps[-1])):
            maps[f"{block}, {size_label(size)}"] = signals.attention_map(tap)
    order = [f"{block}, {size_label(size)}" for block in ("first", "last") for size in ends]
    ordered: dict[str, Floats] = {name: maps[name] for name in order}
    return {"attention": pictures.attention(few, ordered), "stages": _stages(embed, shown)}


def _stages(embed: Embedder, shown: Shown) -> bytes:
    """Draw the maps of one face after every stage at every size."""
    faces: dict[str, ImageU8] = {}
    maps: dict[str, Sequence[Floats]] = {}
    for size in shown.sizes:
        name, small = size_label(size), shown.small(shown.faces[:1], size)
        faces[name] = small[0]
        maps[name] = [signals.attention_map(tap)[0] for tap in shown.blocks(embed, small)]
    return charts.stages(faces, maps)
