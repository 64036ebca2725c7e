"""``lrfr train cfsm`` and ``lrfr degrade style-sheet``: train the style generator, and look at what it
does.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli.output import Output, command

if TYPE_CHECKING:
    from lrfr.train.style.settings import CfsmSettings
    from lrfr.train.style.style_task import CfsmData

_PATH = click.Path(path_type=Path)


@command("cfsm", short_help="the controllable style generator, from clean faces and an unlabeled target set")
@click.option(
    "--source", default="embedded", show_default=True, help="Clean faces: a folder, a view, or 'embedded'."
)
@click.option(
    "--target",
    default="spec:surveillance",
    show_default=True,
    help="Target faces: a folder, a view, or 'spec:PRESET'.",
)
@click.option(
    "--identity",
    type=_PATH,
    default=None,
    help="Run or checkpoint of a recognizer.  [default: train 'baseline' in RUNS/identity]",
)
@click.option(
    "--preset", default="tiny", show_default=True, help="Size of the generator: tiny, small or full."
)
@click.option(
    "--size",
    "size_px",
    type=int,
    default=112,
    show_default=True,
    help="Side of the faces in pixels, 32 or more.",
)
@click.option("--steps", type=int, default=2000, show_default=True, help="Optimizer steps.")
@click.option("--batch", "batch_size", type=int, default=32, show_default=True, help="Faces of a step.")
@click.option("--lr", type=float, default=1e-4, show_default=True, help="Learning rate of both Adams.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of weights, order and styles."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change another setting, e.g. identity_range.high=0.5.",
)
@click.option("--int8", is_flag=True, help="Keep the finished weights as 8-bit integers.")
@click.option(
    "--threads",
    type=click.IntRange(0, 1024),
    default=0,
    show_default=True,
    help="CPU threads, 0 for all usable cores.",
)
@click.option("--store", type=_PATH, default="store", show_default=True, help="Store of views.")
@click.option("--runs", type=_PATH, default="runs", show_default=True, help="Folder of run folders.")
@click.option("--name", default="cfsm", show_default=True, help="Run folder under --runs.")
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    default=None,
    help="Stop after this step; the same command goes on later.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing: show the settings.")
def cfsm_command(out: Output, **given: Any) -> dict[str, Any]:
    """Train a generator that restyles faces like a target set, with a magnitude that can be set (CFSM).

    The target set needs no labels and no pairs. A run that was stopped or killed goes on where its last
    checkpoint is, bit for bit. The finished weights are RUNS/NAME/style.safetensors, for the op 'style'.

    \b
    Examples:
      lrfr train cfsm
      lrfr train cfsm --source faces/ --target cctv-crops/ --identity runs/teacher --preset small --steps
      20000
      lrfr degrade style-sheet --weights runs/cfsm/style.safetensors
    """
    settings = _settings(given)
    folder: Path = given["runs"] / given["name"]
    if given["dry_run"]:
        out.table(["setting", "value"], [[key, str(value)] for key, value in asdict(settings).items()])
        return {"settings": asdict(settings), "run": str(folder)}
    from lrfr.core.progress import Hooks
    from lrfr.train.style.style_run import fit_cfsm

    data = _data(out, settings, given)
    with out.progress("cfsm") as advance:
        result = fit_cfsm(
            settings,
            data,
            folder,
            int8=given["int8"],
            max_steps=given["max_steps"],
            hooks=Hooks(advance, out.note),
        )
    if result.acceptance is None:
        out.say(f"{folder}: stopped at step {result.steps} of {settings.steps}; the same command goes on")
        return {"run": str(folder), "steps": result.steps}
    figures = asdict(result.acceptance)
    out.table(
        ["figure", "value"],
        [[key, value] for key, value in figures.items()],
        f"{folder}: {result.steps} steps, on held-back faces",
    )
    out.say(f"weights: {result.weights}")
    return {"run": str(folder), "steps": result.steps, "weights": str(result.weights), "acceptance": figures}


def _settings(given: dict[str, Any]) -> CfsmSettings:
    from pydantic import TypeAdapter, ValidationError

    from lrfr.core.errors import SpecError, did_you_mean
    from lrfr.core.strict_yaml import parse
    from lrfr.train.style.settings import CfsmSettings

    plain: dict[str, Any] = asdict(CfsmSettings())
    plain |= {
        key: given[key] for key in ("preset", "size_px", "steps", "batch_size", "lr", "seed", "threads")
    }
    for text in given["overrides"]:
        key, _, value = text.partition("=")
        group, _, last = key.rpartition(".")
        places = {"": plain, "identity_range": plain["identity_range"]}
        if last not in places.get(group, {}):
            known = [f"{name}.{key}".strip(".") for name, place in places.items() for key in place]
            raise SpecError(f"unknown setting '{key}'", file="--set", hint=did_you_mean(key, known))
        places[group][last] = parse(value, f"--set {key}").data
    try:
        return TypeAdapter(CfsmSettings).validate_python(plain)
    except ValidationError as error:
        raise SpecError(
            "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()), file="--set"
        ) from None


def _data(out: Output, settings: CfsmSettings, given: dict[str, Any]) -> CfsmData:
    from lrfr.train.style.image_sets import SOURCE_PEOPLE, TARGET_PEOPLE, open_images
    from lrfr.train.style.recognizer import load_recognizer
    from lrfr.train.style.style_task import CfsmData

    size_px, store = settings.size_px, given["store"]
    source = open_images(given["source"], size_px, store=store, people=SOURCE_PEOPLE, seed=settings.seed)
    target = open_images(given["target"], size_px, store=store, people=TARGET_PEOPLE, seed=settings.seed)
    for refused in (*source.refused, *target.refused):
        out.note(f"left out {refused}")
    identity = given["identity"] or _train_identity(out, given)
    out.note(
        f"cfsm ({settings.preset}, {size_px} px): {source.length} source and {target.length} target faces, "
        f"identity network {identity}"
    )
    return CfsmData(source, target, load_recognizer(identity, size_px))


def _train_identity(out: Output, given: dict[str, Any]) -> Path:
    """Train, or find finished, a small recognizer on the default view."""
    from lrfr.cli.train.train import train_group

    folder: Path = given["runs"] / "identity"
    out.note(f"identity network: lrfr train baseline --name identity (in {folder})")
    arguments = [
        "baseline",
        "--store",
        str(given["store"]),
        "--runs",
        str(given["runs"]),
        "--name",
        "identity",
    ]
    train_group.main([*arguments, "--threads", str(given["threads"])], standalone_mode=False)
    return folder


@command("style-sheet", short_help="Pictures of a style generator: magnitudes and basis directions.")
@click.argument("faces", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--weights", default="tiny", show_default=True, help="Shipped name or file of style weights.")
@click.option(
    "--out",
    "folder",
    type=_PATH,
    default="style-sheet",
    show_default=True,
    help="Folder for magnitudes.png and directions.png.",
)
@click.option(
    "--magnitudes", default="0,1,2,3,4,6", show_default=True, help="Columns of the magnitude sheet."
)
@click.option(
    "--basis",
    type=click.IntRange(0),
    default=None,
    help="Basis direction of the magnitude sheet.  [default: random]",
)
@click.option(
    "--count",
    type=click.IntRange(1, 100),
    default=6,
    show_default=True,
    help="Embedded faces, where no FACES are named.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random directions."
)
@click.option("--dry-run", is_flag=True, help="Write nothing: check weights and faces.")
def style_sheet_command(out: Output, **given: Any) -> dict[str, Any]:
    """Draw a style generator's effect: FACES (or embedded ones) against magnitudes, and one face along each
    basis direction.

    \b
    Examples:
      lrfr degrade style-sheet
      lrfr degrade style-sheet --weights runs/cfsm/style.safetensors --magnitudes 0,2,4 face.png
    """
    from lrfr.core.image import encode_png
    from lrfr.degrade.style.magnitude_sheet import direction_sheet, magnitude_sheet
    from lrfr.degrade.style.weight_files import load_weights

    model = load_weights(given["weights"])
    card, folder = model.card, given["folder"]
    magnitudes = _numbers(given["magnitudes"])
    _check_basis(given["basis"], card.layout.n_basis)
    faces = _faces(given["faces"], given["count"], card.size_px)
    result = {
        "weights": model.digest,
        "provenance": card.provenance,
        "curve": card.curve and asdict(card.curve),
    }
    if given["dry_run"]:
        out.say(f"{given['weights']}: {model.digest[:12]}, {card.size_px} px, {len(faces)} faces")
        return result
    folder.mkdir(parents=True, exist_ok=True)
    sheets = {
        "magnitudes.png": magnitude_sheet(
            model.generator, card, faces, magnitudes, basis=given["basis"], seed=given["seed"]
        ),
        "directions.png": direction_sheet(model.generator, card, faces[0], (-6, -4, -2, 0, 2, 4, 6)),
    }
    for name, sheet in sheets.items():
        (folder / name).write_bytes(encode_png(sheet))
        out.say(f"wrote {folder / name}")
    return {**result, "files": [str(folder / name) for name in sheets]}


def _numbers(text: str) -> list[float]:
    from lrfr.core.errors import SpecError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"expected numbers with commas between, got '{text}'", file="--magnitudes") from None


def _check_basis(basis: int | None, count: int) -> None:
    from lrfr.core.errors import SpecError

    if basis is not None and basis >= count:
        raise SpecError(f"basis {basis} of {count}: they are numbered from 0", file="--basis")


def _faces(paths: tuple[Path, ...], count: int, size_px: int) -> list[Any]:
    from lrfr.core.image import decode, read_bytes
    from lrfr.degrade.ops.resize import resize_batch
    from lrfr.pairs.sources.synthetic import render_face

    faces = [decode(read_bytes(path)) for path in paths] or [
        render_face(500 + person, 0, 0)[0] for person in range(count)
    ]
    return [resize_batch(face[None], size_px, "bicubic", True)[0] for face in faces]
