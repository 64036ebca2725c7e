"""``lrfr train cfsm`` and ``lrfr degrade style-sheet``: train the style generator, see what it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from lrfr.cli.output import Output, command

_Body = TypeVar("_Body", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_IN_SETTINGS = ("preset", "size_px", "steps", "batch_size", "lr", "seed", "threads")


def _option(*names: str, shown: bool = True, **attributes: Any) -> Callable[[_Body], _Body]:
    return click.option(*names, show_default=shown, **attributes)


@command("cfsm", short_help="the controllable style generator, from clean faces and an unlabeled target set")
@_option("--source", default="embedded", help="Clean faces: a folder, a view, or 'embedded'.")
@_option("--target", default="spec:surveillance", help="Target faces: a folder, a view, or 'spec:PRESET'.")
@_option(
    "--identity",
    type=_PATH,
    shown=False,
    help="Run or checkpoint of a recognizer.  [default: train 'baseline' in RUNS/identity]",
)
@_option("--preset", default="tiny", help="Size of the generator: tiny, small or full.")
@_option("--size", "size_px", type=int, default=112, help="Side of the faces in pixels, 32 or more.")
@_option("--steps", type=int, default=2000, help="Optimizer steps.")
@_option("--batch", "batch_size", type=int, default=32, help="Faces of a step, over all processes.")
@_option("--lr", type=float, default=1e-4, help="Learning rate of both Adams.")
@_option("--seed", type=click.IntRange(0), default=0, help="Seed of weights, order and styles.")
@_option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change another setting, e.g. identity_range.high=0.5.",
)
@_option("--int8", is_flag=True, shown=False, help="Keep the finished weights as 8-bit integers.")
@_option("--threads", type=click.IntRange(0, 1024), default=0, help="CPU threads, 0 for all usable cores.")
@_option("--device", shown=False, help="cpu, cuda or cuda:1.  [default: a GPU where there is one]")
@_option("--store", type=_PATH, default="store", help="Store of views.")
@_option("--runs", type=_PATH, default="runs", help="Folder of run folders.")
@_option("--name", default="cfsm", help="Run folder under --runs.")
@_option(
    "--max-steps", type=click.IntRange(1), shown=False, help="Stop here; the same command goes on later."
)
@_option("--dry-run", is_flag=True, shown=False, help="Write nothing: show the settings.")
def cfsm_command(out: Output, **given: Any) -> dict[str, Any]:
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
    from lrfr.core.progress import Hooks
    from lrfr.experiment.style_here import StyleWishes, train_style_here

    wishes = StyleWishes(**{name: given[name] for name in StyleWishes.__annotations__})
    # of the processes of torchrun, the first one speaks
    out = Output(True) if os.environ.get("RANK", "0") != "0" else out
    with out.progress("cfsm") as advance:
        result = train_style_here(settings, folder, wishes, Hooks(advance, out.note))
    if result.weights is None:
        out.say(f"{folder}: stopped at step {result.steps} of {settings.steps}; the same command goes on")
        return {"run": str(folder), "steps": result.steps}
    figures = asdict(result.acceptance) if result.acceptance else {}
    title = f"{folder}: {result.steps} steps, on held-back faces"
    out.table(["figure", "value"], [[key, value] for key, value in figures.items()], title)
    out.say(f"weights: {result.weights}")
    return {"run": str(folder), "steps": result.steps, "weights": str(result.weights), "acceptance": figures}


@command("style-sheet", short_help="Pictures of a style generator: magnitudes and basis directions.")
@click.argument("faces", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_option("--weights", default="tiny", help="Shipped name or file of style weights.")
@_option(
    "--out",
    "folder",
    type=_PATH,
    default="style-sheet",
    help="Folder for magnitudes.png and directions.png.",
)
@_option("--magnitudes", default="0,1,2,3,4,6", help="Columns of the magnitude sheet.")
@_option(
    "--basis",
    type=click.IntRange(0),
    shown=False,
    help="Basis direction of the magnitude sheet.  [default: random]",
)
@_option("--count", type=click.IntRange(1, 100), default=6, help="Embedded faces, where no FACES are named.")
@_option("--seed", type=click.IntRange(0), default=0, help="Seed of the random directions.")
@_option("--dry-run", is_flag=True, shown=False, help="Write nothing: check weights and faces.")
def style_sheet_command(out: Output, **given: Any) -> dict[str, Any]:
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
    result = {"weights": model.digest, "provenance": model.card.provenance, "curve": curve}
    if given["dry_run"]:
        out.say(f"{given['weights']}: {model.digest[:12]}, {model.card.size_px} px, {len(faces)} faces")
        return result
    files = draw_sheets(model, faces, magnitudes, given["folder"], basis=given["basis"], seed=given["seed"])
    for path in files:
        out.say(f"wrote {path}")
    return {**result, "files": [str(path) for path in files]}


def _numbers(text: str) -> list[float]:
    from lrfr.core.errors import SpecError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"expected numbers with commas between, got '{text}'", file="--magnitudes") from None
