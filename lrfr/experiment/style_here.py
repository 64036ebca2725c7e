"""What ``lrfr train cfsm`` and ``lrfr degrade style-sheet`` do: open faces, find or train the identity
network, train the generator, draw what it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.files import make_folder, read_bytes
from lrfr.core.image import ImageU8, decode, encode_png
from lrfr.core.progress import SILENT, Hooks
from lrfr.degrade.inspect.magnitude_sheet import direction_sheet, magnitude_sheet
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.style.weight_files import StyleModel
from lrfr.experiment.train_here import DEFAULT_SPEC, make_default_view
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.synthetic import render_face
from lrfr.train.engine.distributed import World, join_world
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.parents import train_model
from lrfr.train.recipe import load_recipe
from lrfr.train.style.image_sets import SOURCE_PEOPLE, TARGET_PEOPLE, open_images
from lrfr.train.style.recognizer import load_recognizer
from lrfr.train.style.settings import CfsmSettings
from lrfr.train.style.style_run import CfsmResult, fit_cfsm
from lrfr.train.style.style_task import CfsmData

# embedded faces of a sheet: people whom no shipped training has seen
_FIRST_PERSON = 500
_DIRECTION_MAGNITUDES = (-6, -4, -2, 0, 2, 4, 6)


@dataclass(frozen=True)
class StyleWishes:
    """What a person may ask for besides the generator's settings.

    Attributes:
        source: clean faces: a folder, a view of the store, or ``embedded``.
        target: faces of the style: a folder, a view, or ``spec:PRESET``.
        identity: run or checkpoint of a recognizer; None finds or trains one in ``runs/identity``.
        store: folder of the store.
        runs: folder of run folders.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None takes a GPU where there is one.
        max_steps: stop at this step.
        int8: keep the finished weights as 8-bit integers.

    """

    source: str
    target: str
    identity: Path | None
    store: Path
    runs: Path
    device: str | None = None
    max_steps: int | None = None
    int8: bool = False


def train_style_here(
    settings: CfsmSettings, run_dir: Path, wishes: StyleWishes, hooks: Hooks = SILENT
) -> CfsmResult:
    """Train a style generator with all the processes that ``torchrun`` has started; the first one speaks.

    Raises:
        SpecError, DataError, LockedError, NumericFault: see :func:`lrfr.train.style.style_run.fit_cfsm`.

    """
    with join_world(wishes.device) as world:
        hooks = hooks if world.leads else SILENT
        data = _open(settings, wishes, world, hooks)
        return fit_cfsm(
            settings,
            data,
            run_dir,
            int8=wishes.int8,
            world=world,
            max_steps=wishes.max_steps,
            hooks=hooks,
        )


def _open(settings: CfsmSettings, wishes: StyleWishes, world: World, hooks: Hooks) -> CfsmData:
    size_px, store, seed = settings.size_px, wishes.store, settings.seed
    source = open_images(wishes.source, size_px, store=store, people=SOURCE_PEOPLE, seed=seed)
    target = open_images(wishes.target, size_px, store=store, people=TARGET_PEOPLE, seed=seed)
    for refused in (*source.refused, *target.refused):
        hooks.note(f"left out {refused}")
    for note in (*source.notes, *target.notes):
        hooks.note(note)
    identity = wishes.identity or _identity_network(wishes, settings.threads, world, hooks)
    hooks.note(
        f"cfsm ({settings.preset}, {size_px} px): {source.length} source and {target.length} target faces, "
        f"identity network {identity}"
    )
    return CfsmData(source, target, load_recognizer(identity, size_px, world.device))


def _identity_network(wishes: StyleWishes, threads: int, world: World, hooks: Hooks) -> Path:
    """Train, or find finished, a small recognizer on the default view."""
    folder = wishes.runs / "identity"
    hooks.note(f"identity network: lrfr train baseline --name identity (in {folder})")
    recipe = load_recipe("baseline", set={"train.threads": threads})
    if world.leads and not wishes.store.exists():
        make_default_view(wishes.store, str(recipe.data.get("spec") or DEFAULT_SPEC), hooks)
    world.barrier()
    dataset = PairDataset(wishes.store, "default")
    train_model(recipe, dataset, folder, options=FitOptions(world=world), hooks=hooks)
    return folder


def check_basis(model: StyleModel, basis: int | None) -> None:
    """Refuse a basis direction that the generator has not.

    Raises:
        SpecError: it is out of range.

    """
    count = model.card.layout.n_basis
    if basis is not None and basis >= count:
        raise SpecError(f"basis {basis} of {count}: they are numbered from 0", file="--basis")


def sheet_faces(paths: Sequence[Path], count: int, size_px: int) -> list[ImageU8]:
    """Return the faces of ``paths``, or else ``count`` embedded ones, uint8 ``[size_px, size_px, 3]``.

    Raises:
        DataError: a file is no image.

    """
    faces = [decode(read_bytes(path)) for path in paths] or [
        render_face(_FIRST_PERSON + person, 0, 0)[0] for person in range(count)
    ]
    return [resize_batch(face[None], size_px, "bicubic", True)[0] for face in faces]


def draw_sheets(
    model: StyleModel,
    faces: Sequence[ImageU8],
    magnitudes: Sequence[float],
    folder: Path,
    *,
    basis: int | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write ``magnitudes.png`` (faces against magnitudes) and ``directions.png`` (the first face along every
    basis direction) into ``folder``, and return them.
    """
    sheets = {
        "magnitudes.png": magnitude_sheet(
            model.generator, model.card, faces, magnitudes, basis=basis, seed=seed
        ),
        "directions.png": direction_sheet(model.generator, model.card, faces[0], _DIRECTION_MAGNITUDES),
    }
    make_folder(folder)
    for name, sheet in sheets.items():
        (folder / name).write_bytes(encode_png(sheet))
    return [folder / name for name in sheets]
