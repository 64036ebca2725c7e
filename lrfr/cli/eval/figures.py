"""``lrfr figures``: what resolution does to pictures, embeddings and attention maps of one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command


@command("figures", short_help="Draw embeddings and attention by resolution.")
@click.argument("checkpoint", required=False, type=opt.PATH)
@opt.embedder("Draw a function of your own instead of a checkpoint.")
@opt.path("--data", help="Folder of aligned faces (default: embedded invented faces).")
@opt.option("--sizes", default="112,28,14,7", help="Sides in px and names or paths of specs.")
@opt.option("--faces", "count", default=200, help="How many faces.")
@opt.option("--seed", default=0, help="Which faces are drawn, and the seed of t-SNE.")
@opt.path("--teacher", help="Checkpoint whose blocks on HR faces the model's on LR are compared with.")
@opt.device()
@opt.path("--out", "target", default="figures", help="Folder for the PNG files.")
def figures(out: Output, checkpoint: Path | None, sizes: str, device: str, **given: Any) -> dict[str, object]:
    """Draw a model's embeddings and attention maps by resolution, and what the resolution does to the faces.

    \b
    Examples:
      lrfr figures runs/fskd --out figures
      lrfr figures --embedder my_model:embed --data faces/aligned --sizes 112,20,10
    """
    from lrfr.core.files import write_whole
    from lrfr.eval.analysis.figures import CAPTIONS, Shown, compare_blocks, draw_figures, some_faces
    from lrfr.eval.low_res import parse_sizes, size_label
    from lrfr.experiment.models import block_outputs, open_chosen, open_recognizer

    opened = open_chosen(checkpoint, given["embedder"], device=device)
    faces = some_faces(given["data"], given["count"], given["seed"], out.hooks())
    target = given["target"]
    shown = Shown(faces, parse_sizes(sizes), block_outputs, given["seed"])
    out.note(f"{opened.model.name}: {len(shown.faces)} faces at {sizes}")
    made = draw_figures(opened.embed, shown)
    files = {name: target / f"{name}.png" for name in made}
    for name, png in made.items():
        write_whole(files[name], png)
        out.say(f"{files[name]}  {CAPTIONS[name]}")
    other = open_recognizer(given["teacher"], device=device) if given["teacher"] else opened
    blocks = compare_blocks(other.embed, opened.embed, shown)
    if blocks:
        ends = f"blocks, {size_label(shown.sizes[0])} against {size_label(shown.sizes[-1])}"
        out.table(list(blocks[0]), [list(row.values()) for row in blocks], ends)
    names = {name: str(path) for name, path in files.items()}
    return {"blocks": blocks, "files": names, "captions": {name: CAPTIONS[name] for name in made}}
