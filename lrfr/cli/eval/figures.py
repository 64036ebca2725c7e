"""``lrfr figures``: what resolution does to pictures, embeddings and attention maps of one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lrfr.cli.eval.eval import chosen_model, sizes_of
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

if TYPE_CHECKING:
    from lrfr.core.image import ImageU8
    from lrfr.eval.embeddings import Embed

_CAPTIONS = {
    "gallery": "The faces at each size, enlarged without smoothing.",
    "ssim": "Structural similarity of a face taken down and back up (bicubic) to itself.",
    "error-bound": "Bound on the error of bilinear enlargement, relative to the largest size.",
    "pca": "First two principal components of the unit embeddings; large marks are centers.",
    "tsne": "t-SNE of the unit embeddings; large marks are centers.",
    "dimensions": "Mean |HR - LR| of each dimension of the unit embedding.",
    "attention": "Channel means of the first and last block, scaled to 0..1, HR beside the smallest size.",
}


@command("figures", short_help="Draw embeddings and attention by resolution.")
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--embedder", metavar="MODULE:FUNCTION", help="Draw a function of your own instead of a checkpoint."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of aligned faces (default: embedded invented faces).",
)
@click.option(
    "--sizes", default="112,28,14,7", show_default=True, help="Sides in px and names or paths of specs."
)
@click.option("--faces", "count", default=200, show_default=True, help="How many faces.")
@click.option("--seed", default=0, show_default=True, help="Which faces are drawn, and the seed of t-SNE.")
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="Checkpoint whose blocks on HR faces the model's on LR are compared with.",
)
@click.option("--device", default="cpu", show_default=True, help="Where a checkpoint runs.")
@click.option(
    "--out",
    "target",
    default="figures",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the PNG files.",
)
def figures(out: Output, **given: Any) -> dict[str, Any]:
    """Draw a model's embeddings and attention maps by resolution, and what the resolution does to the faces.

    \b
    Examples:
      lrfr figures runs/fskd --out figures
      lrfr figures --embedder my_model:embed --data faces/aligned --sizes 112,20,10
    """
    embed, model = chosen_model(given | {"name": None}, "embeddings")
    sizes = sizes_of(given["sizes"]) or []
    faces = _faces(given["data"], given["count"], given["seed"])
    out.note(f"{model.name}: {len(faces)} faces at {given['sizes']}")
    made = (
        _of_images(faces, sizes)
        | _of_embeddings(embed, faces, sizes, given["seed"])
        | _of_blocks(embed, faces, sizes)
    )
    given["target"].mkdir(parents=True, exist_ok=True)
    for name, png in made.items():
        (given["target"] / f"{name}.png").write_bytes(png)
        out.say(f"{given['target'] / name}.png  {_CAPTIONS[name]}")
    blocks = _compare_blocks(embed, given, faces, sizes)
    if blocks:
        out.table(
            list(blocks[0]),
            [list(row.values()) for row in blocks],
            f"blocks, {_label(sizes[0])} against {_label(sizes[-1])}",
        )
    return {
        "blocks": blocks,
        "files": {name: str(given["target"] / f"{name}.png") for name in made},
        "captions": {name: _CAPTIONS[name] for name in made},
    }


def _faces(data: Path | None, count: int, seed: int) -> list[ImageU8]:
    generator = np.random.default_rng(seed)
    if data is None:
        from lrfr.pairs.sources.synthetic import render_face

        return [render_face(number // 4, number % 4, 2**63 + seed)[0] for number in range(count)]
    from lrfr.core.image import IMAGE_SUFFIXES
    from lrfr.eval.embeddings import load_image

    found = sorted(path for path in data.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise SpecError("no picture below this folder", file=str(data))
    chosen = generator.permutation(len(found))[:count]
    return [load_image(found[i]) for i in sorted(chosen)]


def _label(size: Any) -> str:
    from lrfr.eval.report.plots import size_label

    return size_label(size)


def _of_images(faces: list[ImageU8], sizes: list[Any]) -> dict[str, bytes]:
    from lrfr.eval.analysis import pictures, signals
    from lrfr.eval.embeddings import LowRes

    keys = [b"row:%d" % row for row in range(len(faces))]
    some = faces[:50]
    shown = faces[:: max(1, len(faces) // 6)]
    made = {
        "gallery": pictures.sheet(
            {_label(size): LowRes().apply(shown, size, keys[: len(shown)]) for size in sizes}
        )
    }
    sides = [size for size in sizes if isinstance(size, int)]
    if len(sides) > 1:
        made["ssim"] = pictures.against_size({"SSIM": signals.ssim_against_size(some, sides)}, "SSIM")
        bound = {size: signals.upsampling_error_bound(LowRes().apply(some, size)) for size in sides}
        relative = {size: value / bound[max(sides)] for size, value in bound.items()}
        made["error-bound"] = pictures.against_size({"bound": relative}, f"bound relative to {max(sides)} px")
    return made


def _of_embeddings(embed: Embed, faces: list[ImageU8], sizes: list[Any], seed: int) -> dict[str, bytes]:
    from lrfr.eval.analysis import pictures, signals
    from lrfr.eval.embeddings import embed_images, unit

    points = [unit(embed_images(embed, faces, size=size).plain) for size in sizes]
    names, together = [_label(size) for size in sizes], np.concatenate(points)
    flat, _ = signals.pca(together)
    made = {"pca": pictures.scatter(dict(zip(names, np.split(flat, len(sizes)), strict=True)), "component")}
    if 100 <= len(together) <= 3000:
        curved = signals.tsne(together, seed=seed)
        made["tsne"] = pictures.scatter(dict(zip(names, np.split(curved, len(sizes)), strict=True)), "t-SNE")
    if len(sizes) > 1:
        errors = {
            name: np.abs(p - points[0]).mean(axis=0).astype(np.float64)
            for name, p in zip(names[1:], points[1:], strict=True)
        }
        made["dimensions"] = pictures.histogram(errors, "mean |HR - LR| of a dimension")
    return made


def _of_blocks(embed: Embed, faces: list[ImageU8], sizes: list[Any]) -> dict[str, bytes]:
    """Draw attention maps where the model is one of our checkpoints, whose networks hand out their blocks."""
    from lrfr.eval.analysis import pictures, signals
    from lrfr.eval.embeddings import LowRes

    ends, shown = [sizes[0], sizes[-1]], faces[:: max(1, len(faces) // 4)][:4]
    maps: dict[str, Any] = {}
    for size in ends:
        taps = _taps(embed, LowRes().apply(shown, size, [b"row:%d" % row for row in range(len(shown))]))
        if not taps:
            return {}
        for block, tap in (("first", taps[0]), ("last", taps[-1])):
            maps[f"{block}, {_label(size)}"] = signals.attention_map(tap)
    order = [f"{block}, {_label(size)}" for block in ("first", "last") for size in ends]
    return {"attention": pictures.attention(shown, {name: maps[name] for name in order})}


def _compare_blocks(
    embed: Embed, given: dict[str, Any], faces: list[ImageU8], sizes: list[Any]
) -> list[dict[str, Any]]:
    """Return F-SKD's statistics per block: norms by t-test, maps by Pearson's r, over at most 100 faces."""
    from lrfr.cli.eval.model import load_model
    from lrfr.eval.embeddings import LowRes
    from lrfr.eval.scoring.intervals import norm_test, pearson_maps

    teacher = load_model(given["teacher"], device=given["device"])[0] if given["teacher"] else embed
    some = faces[:100]
    keys = [b"row:%d" % row for row in range(len(some))]
    pairs = zip(
        _taps(teacher, LowRes().apply(some, sizes[0], keys)),
        _taps(embed, LowRes().apply(some, sizes[-1], keys)),
        strict=False,
    )
    rows = []
    for block, (hr, lr) in enumerate(pairs, 1):
        norms = [np.linalg.norm(tap.reshape(len(tap), -1), axis=1) for tap in (hr, lr)]
        row: dict[str, Any] = {
            "block": block,
            "norm HR": float(norms[0].mean()),
            "norm LR": float(norms[1].mean()),
            **norm_test(*norms),
        }
        if hr.shape == lr.shape:
            row |= {f"r {kind}": float(np.nanmean(values)) for kind, values in pearson_maps(hr, lr).items()}
        rows.append(row)
    return rows


def _taps(embed: Embed, images: list[ImageU8]) -> list[Any]:
    """Return the outputs of the network's blocks on equally large images, or nothing where it has none to
    give.
    """
    route, spec = getattr(embed, "route", None), getattr(embed, "spec", None)
    if route is None or spec is None:
        return []
    import torch

    from lrfr.degrade.ops.resize import resize_batch
    from lrfr.train.backbones.embedder import to_input

    side, net = route(*images[0].shape[:2])
    if not hasattr(net, "run"):
        return []
    with torch.no_grad():
        features = net.run(to_input(resize_batch(np.stack(images), side, spec.filter, spec.antialias)))
    return [tap.float().cpu().numpy() for tap in features.taps]
