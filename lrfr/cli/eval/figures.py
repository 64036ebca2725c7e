"""``lrfr figures``: what resolution does to pictures, embeddings and features of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command

_BESIDE = "Another checkpoint, compared in norms, correlation and gradients; repeatable."


@command("figures", short_help="Draw embeddings and attention by resolution.")
@click.argument("checkpoint", required=False, type=opt.PATH)
@opt.embedder("Draw a function of your own instead of a checkpoint.")
@opt.path("--data", help="Folder of aligned faces (default: embedded invented faces).")
@opt.option("--sizes", default="112,28,14,7", help="Sides in px and names or paths of specs.")
@opt.option("--faces", "count", default=200, help="How many faces.")
@opt.option("--seed", default=0, help="Which faces are drawn, and the seed of t-SNE.")
@opt.path("--teacher", help="Checkpoint whose blocks on HR faces the model's on LR are compared with.")
@opt.many("--beside", metavar="RUN", text=_BESIDE)
@opt.flag("--gradients", text="Also: how much faces of each size ask of the networks (margin).")
@opt.flag("--distances", text="The slopes of MAug's distances; needs no checkpoint.")
@opt.path("--results", help="Folder of results of lrfr eval or of a sweep: what stored parameters reach.")
@opt.device()
@opt.path("--out", "target", default="figures", help="Folder for the PNG files.")
@opt.dry_run("Say which figures would be drawn of what, draw nothing.")
def figures(out: Output, checkpoint: Path | None, device: str, **given: Any) -> dict[str, object]:
    """Draw models' embeddings and features by resolution, and what the resolution does to the faces.

    \b
    Examples:
      lrfr figures runs/fskd --out figures
      lrfr figures runs/fskd --teacher runs/teacher --beside runs/baseline --sizes 112,14
      lrfr figures --embedder my_model:embed --data faces/aligned --sizes 112,20,10
      lrfr figures --distances
      lrfr figures --results sweeps/btnet-branch
    """
    from lrfr.eval.analysis.figures import CAPTIONS
    from lrfr.experiment.steps.drawing.figures_here import FigureWish, drawn_figures, planned_figures

    wish = opt.picked(
        FigureWish, given | {"beside": tuple(map(Path, given["beside"]))}, checkpoint=checkpoint
    )
    target = given["target"]
    if given["dry_run"]:
        names = planned_figures(wish)
        out.say(f"would draw {', '.join(names)} into {target}")
        return {"blocks": [], "files": {name: str(target / f"{name}.png") for name in names}, "captions": {}}
    done = drawn_figures(wish, device, out.hooks())
    files = {name: target / f"{name}.png" for name in done.pngs}
    done.write(files)
    out.lines(f"{file}  {CAPTIONS[name]}" for name, file in files.items())
    if done.blocks:
        out.table(list(done.blocks[0]), [list(row.values()) for row in done.blocks], f"blocks, {done.ends}")
    captions = {name: CAPTIONS[name] for name in files}
    return {
        "blocks": done.blocks,
        "files": {name: str(path) for name, path in files.items()},
        "captions": captions,
    }
