"""``lrfr train cfsm`` and ``lrfr degrade style-sheet``: train the style generator, see what it does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

_IN_SETTINGS = ("preset", "size_px", "steps", "batch_size", "lr", "seed", "threads")
_IDENTITY = "Run or checkpoint of a recognizer.  [default: train 'baseline' in RUNS/identity]"
_SET = "Change another setting, e.g. identity_range.high=0.5."
_BASIS = "Basis direction of the magnitude sheet.  [default: random]"


@command("cfsm", short_help="the controllable style generator, from clean faces and an unlabeled target set")
@opt.option("--source", default="embedded", help="Clean faces: a folder, a view, or 'embedded'.")
@opt.option("--target", default="spec:surveillance", help="Target faces: a folder, a view, or 'spec:PRESET'.")
@opt.path("--identity", help=_IDENTITY)
@opt.option("--preset", default="tiny", help="Size of the generator: tiny, small or full.")
@opt.option("--size", "size_px", default=112, help="Side of the faces in pixels, 32 or more.")
@opt.option("--steps", default=2000, help="Optimizer steps.")
@opt.option("--batch", "batch_size", default=32, help="Faces of a step, over all processes.")
@opt.option("--lr", default=1e-4, help="Learning rate of both Adams.")
@opt.count("--seed", low=0, default=0, help="Seed of weights, order and styles.")
@opt.many("--set", "overrides", metavar="KEY=VALUE", text=_SET)
@opt.flag("--int8", text="Keep the finished weights as 8-bit integers.")
@opt.count("--threads", low=0, high=1024, default=0, help="CPU threads, 0 for all usable cores.")
@opt.device()
@opt.store("Store of views.")
@opt.runs()
@opt.option("--name", default="cfsm", help="Run folder under --runs.")
@opt.max_steps("Stop here; the same command goes on later.")
@opt.dry_run("Write nothing: show the settings.")
def cfsm_command(out: Output, **given: Any) -> dict[str, object]:
    """Train a generator that restyles faces like a target set, with a magnitude that can be set (CFSM).

    The target set needs no labels and no pairs. A run that was stopped or killed goes on where its last
    checkpoint is, bit for bit. The finished weights are RUNS/NAME/style.safetensors, for the op 'style'.

    \b
    Examples:
      lrfr train cfsm
      lrfr train cfsm --source faces/ --target cctv-crops/ --identity runs/teacher --preset small --steps
      20000
      torchrun --nproc-per-node 2 -m lrfr train cfsm
      lrfr degrade style-sheet --weights runs/cfsm/style.safetensors
    """
    from lrfr.train.style.settings import load_settings

    settings = load_settings({key: given[key] for key in _IN_SETTINGS}, given["overrides"])
    folder: Path = given["runs"] / given["name"]
    if given["dry_run"]:
        out.table(["setting", "value"], [[key, str(value)] for key, value in asdict(settings).items()])
        return {"settings": asdict(settings), "run": str(folder)}
    from lrfr.experiment.style_here import StyleWishes, train_style_here

    wishes = opt.picked(StyleWishes, given)
    out = out.of_first_process()
    with out.working("cfsm") as hooks:
        result = train_style_here(settings, folder, wishes, hooks)
    if result.weights is None:
        out.say(f"{folder}: stopped at step {result.steps} of {settings.steps}; the same command goes on")
        return {"run": str(folder), "steps": result.steps}
    figures = asdict(result.acceptance) if result.acceptance else {}
    title = f"{folder}: {result.steps} steps, on held-back faces"
    out.table(["figure", "value"], [[key, value] for key, value in figures.items()], title)
    out.say(f"weights: {result.weights}")
    return {"run": str(folder), "steps": result.steps, "weights": str(result.weights), "acceptance": figures}


@command("style-sheet", short_help="Pictures of a style generator: magnitudes and basis directions.")
@click.argument("faces", nargs=-1, type=opt.EXISTING_FILE)
@opt.option("--weights", default="tiny", help="Shipped name or file of style weights.")
@opt.path("--out", "folder", default="style-sheet", help="Folder for magnitudes.png and directions.png.")
@opt.option("--magnitudes", default="0,1,2,3,4,6", help="Columns of the magnitude sheet.")
@opt.count("--basis", low=0, help=_BASIS)
@opt.count("--count", high=100, default=6, help="Embedded faces, where no FACES are named.")
@opt.count("--seed", low=0, default=0, help="Seed of the random directions.")
@opt.dry_run("Write nothing: check weights and faces.")
def style_sheet_command(out: Output, **given: Any) -> dict[str, object]:
    """Draw a style generator's effect: FACES (or embedded ones) against magnitudes, and one face along each
    basis direction.

    \b
    Examples:
      lrfr degrade style-sheet
      lrfr degrade style-sheet --weights runs/cfsm/style.safetensors --magnitudes 0,2,4 face.png
    """
    from lrfr.degrade.style.weight_files import load_weights
    from lrfr.experiment.style_here import check_basis, draw_sheets, sheet_faces

    model = load_weights(given["weights"])
    magnitudes = _numbers(given["magnitudes"])
    check_basis(model, given["basis"])
    faces = sheet_faces(given["faces"], given["count"], model.card.size_px)
    curve = model.card.curve and asdict(model.card.curve)
    result: dict[str, object] = {"weights": model.digest, "provenance": model.card.provenance, "curve": curve}
    if given["dry_run"]:
        out.say(f"{given['weights']}: {model.digest[:12]}, {model.card.size_px} px, {len(faces)} faces")
        return result
    files = draw_sheets(model, faces, magnitudes, given["folder"], basis=given["basis"], seed=given["seed"])
    out.lines(f"wrote {path}" for path in files)
    return {**result, "files": [str(path) for path in files]}


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"expected numbers with commas between, got '{text}'", file="--magnitudes") from None
