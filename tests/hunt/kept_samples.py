"""Good files of what lrfr itself keeps, and what reads them: checkpoints, runs, routes, fits, columns, states."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.core.files import seal, sha256_file
from tests.hunt.forging import JSON, JSON_LINES, RAW, SEALED, Forge
from tests.pairs.toy import ToySource, build, fast_folder

Files = dict[str, bytes]


@contextmanager
def _folder() -> Iterator[Path]:
    place = fast_folder()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def files_of(root: Path) -> Files:
    """Return every file below a folder by its name in it."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def each(*works: Callable[[], object]) -> None:
    """Do each of some things to a store, whatever the others say; then raise what was told last."""
    from lrfr.core.errors import LrfrError
    from lrfr.pairs.format.disk.lmdb_files import REGISTRY

    told = None
    for work in works:
        try:
            work()
        except LrfrError as error:
            told = error
    REGISTRY.clear()
    if told:
        raise told


# ---- checkpoints, runs, routes


@cache
def run_files() -> Files:
    """A run with a checkpoint, and routes that lead to it, as they are written."""
    import torch

    from lrfr.train import checkpoint
    from lrfr.train.engine.run_record import RunIdentity, RunRecord
    from lrfr.train.recipe import load_recipe
    from lrfr.train.weights.model_identity import ModelIdentity
    from lrfr.train.weights.routes.router import write_routes

    torch.manual_seed(0)
    recipe = load_recipe("baseline", "tiny")
    nets = recipe.make().build(0)
    identity = ModelIdentity("baseline", recipe.options).as_dict()
    held = checkpoint.Checkpoint(identity, checkpoint.model_tensors(nets), {"step": 2}, {}, {})
    with _folder() as place:
        run = place / "run"
        checkpoint.save(run / "checkpoints/step-000002", held)
        record = RunRecord(RunIdentity.of("0" * 64, recipe, {}), recipe.as_dict(), {}, 2, 1)
        (run / "run.json").write_bytes(record.seal())
        shutil.copytree(run / "checkpoints/step-000002", place / "other")
        write_routes(place / "routed", [(20, run), (None, place / "other")])
        return files_of(place)


def within(*parts: str) -> Callable[[], Files]:
    """Return the files of the run of which a part of the name is one of these."""
    return lambda: {name: data for name, data in run_files().items() if any(part in name for part in parts)}


def _root(path: Path, mark: str) -> Path:
    return next(folder for folder in path.parents if folder.name == mark).parent


def read_checkpoint(path: Path) -> object:
    """Load a checkpoint whose file was damaged: told, or every tensor as it was."""
    from safetensors.torch import load

    from lrfr.train import checkpoint

    folder = path.parent
    found = checkpoint.load(folder)
    good = load(run_files()["other/model.safetensors"])
    assert found.model.keys() == good.keys()
    assert all((found.model[name] == good[name]).all() for name in good)
    return None


def read_model(path: Path) -> object:
    """Load the recognizer of a checkpoint whose manifest says something else."""
    from lrfr.experiment.models import open_recognizer

    return open_recognizer(path.parent)


def read_run(path: Path) -> object:
    """Read a run's record, compare it, and find the run by its folder."""
    from lrfr.train.engine.run_record import RunIdentity, RunRecord
    from lrfr.train.recipe import load_recipe

    record = RunRecord.read(path.parent)
    mine = RunIdentity.of("0" * 64, load_recipe("baseline", "tiny"), {})
    return record.identity.differs(mine), mine.differs(record.identity)


def read_router(path: Path) -> object:
    """Open routes and embed with them."""
    from lrfr.experiment.models import open_recognizer

    found = open_recognizer(path.parent)
    return found.embed([np.zeros((14, 14, 3), np.uint8), np.zeros((112, 112, 3), np.uint8)])


@cache
def stopped_files() -> Files:
    """A store, and a run on it that was stopped after one step of two."""
    from lrfr.pairs.build.make import make_pairs
    from lrfr.train.engine.recognizer_task import FitOptions
    from lrfr.train.parents import train_model

    with _folder() as place:
        make_pairs("synthetic:ids=4,per_id=4,seed=0", "maug", store=place / "store")
        train_model(
            _two_steps(), (place / "store", "default"), place / "run", options=FitOptions(max_steps=1)
        )
        return files_of(place)


def _two_steps() -> Any:
    from lrfr.train.recipe import load_recipe

    changes = ("unit=step", "length=2", "milestones=[]", "batch_size=8", "threads=1", "optimizer=adamw")
    return load_recipe("baseline", "tiny", [f"train.{change}" for change in changes])


def of_stopped_run() -> Files:
    """Return the files of the run that its next start reads."""
    names = ("run.json", "state.json", "state.safetensors", "model.safetensors", "manifest.json")
    return {
        name: data
        for name, data in stopped_files().items()
        if name.startswith("run/") and name.endswith(names)
    }


def resume(path: Path) -> object:
    """Go on with a run of which one file was forged, and its manifest sealed again."""
    from lrfr.train.parents import train_model

    root = _root(path, "run")
    manifest = next(root.glob("run/checkpoints/*/manifest.json"))
    if path != manifest and path.name != "run.json":
        said = json.loads(manifest.read_bytes())
        said["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        manifest.write_bytes(seal(said))
    train_model(_two_steps(), (root / "store", "default"), root / "run")
    return None


# ---- fits


@cache
def fit_files() -> Files:
    """The record of a fit, its statistics, and its spec."""
    import io

    from lrfr.core.files import sha256_hex
    from lrfr.fit.fit_record import FORMAT
    from lrfr.fit.look.face_statistics import NAMES, REVISION

    packed = io.BytesIO()
    np.savez(packed, stats=np.zeros((40, len(NAMES)), np.float32))
    way = {"filter": "bicubic", "antialias": True, "canvas_px": 112}
    structure = {"way": way, "sizes": [[20, 0.5], [30, 0.5]], "told_by": "spectrum", "down": "box"}
    structure |= {"down_antialias": True, "container": {"kind": "lossless"}}
    said = {"format": FORMAT, "structure": structure, "kept": "fit", "laws": [], "rows": [], "notes": []}
    said |= {
        "stats_revision": REVISION,
        "stats_sha256": sha256_hex(packed.getvalue()),
        "spec_digest": "0" * 64,
    }
    return {
        "camera.fit/record.json": seal(said),
        "camera.fit/target.npz": packed.getvalue(),
    }


def read_fit(path: Path) -> object:
    """Read what a later check of a camera reads."""
    from lrfr.fit.fit_record import is_as_fitted, read_reference

    is_as_fitted(path.parent.with_name("camera.yaml"))
    structure, stats = read_reference(path.parent.with_name("camera.yaml"))
    return structure.gaze(), stats.mean(0)


# ---- columns, which the kept outputs of teachers are, too


@cache
def column_files() -> Files:
    """A store with two columns, one of some rows only."""
    from lrfr.pairs.store import Store

    with _folder() as place:
        build(place, ToySource(ids=3, per_id=3))
        Store(place).write_column(
            "default", "words", np.arange(63, dtype=np.float32).reshape(9, 7), producer="w"
        )
        Store(place).write_column("default", "age", np.arange(9, dtype=np.int32), producer="a")
        return files_of(place)


def in_columns(*ends: str) -> Callable[[], Files]:
    """Return the files of the columns that end so."""
    return lambda: {
        name: data
        for name, data in column_files().items()
        if name.startswith("columns/") and name.endswith(ends)
    }


def read_columns(path: Path) -> object:
    """Read, list and verify the columns of a store: told, or each value as it was."""
    from lrfr import PairDataset, Store

    root = _root(path, "columns")

    def rows() -> None:
        dataset = PairDataset(root, "default", columns=["words", "age"])
        batch = dataset.batch(np.arange(9), 0)
        keys = dataset.view.parts
        assert len(keys) and batch.columns["words"].shape == (9, 7)
        # rows are 7k to 7k + 6 in both columns' order: damage that is not told would show
        if path.suffix == ".npy":
            assert (batch.columns["words"][:, 0].numpy() == 7 * batch.columns["age"].numpy()).all()

    return each(rows, lambda: Store(root).columns(), lambda: Store(root).verify(deep=True))


# ---- states that only save time


ALIGN = [
    {
        "settings": {"size_px": 112, "face": "largest", "on_miss": "skip", "detector": "mtcnn 1"},
        "table_sha256": "",
    },
    {
        "key": "a/1",
        "stamp": "00",
        "crops": [
            {
                "crop": "a/1.png",
                "bytes": 3,
                "points": [1.5] * 10,
                "score": 0.5,
                "remarks": [{"code": "small", "value": 1.0}],
                "residual_px": 0.5,
            }
        ],
        "given": False,
        "code": "",
        "detail": "",
    },
]


def _lines(values: list[Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def read_align(path: Path) -> object:
    """Read the state of an alignment, go on with it and forget all of it: nothing outside may go."""
    from lrfr.pairs.align.align_state import AlignState, Settings

    out = path.parent
    victim = out.parent / "victim"
    (out / "a").mkdir(exist_ok=True)
    (out / ".tmp").mkdir(exist_ok=True)
    state = AlignState(out)
    [state.holds(row) for row in state.rows.values()]
    settings = state.check(Settings(112, "largest", "skip", "mtcnn 1"), given=False)
    state.start(settings).close()
    state.keep_only([])
    assert not victim.exists()
    return None


def face_lines() -> bytes:
    """Lines of a face cache, as they are written."""
    from lrfr.pairs.align.landmark_table import LandmarkRow
    from lrfr.pairs.build.look.face_cache import FaceCache
    from lrfr.pairs.build.look.face_search import FoundFaces

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache/faces-0.jsonl"
        face = LandmarkRow("", tuple(map(float, range(10))), 0.5, ())
        FaceCache(path).add(
            [(bytes(32), FoundFaces((face,), "")), (bytes([1] * 32), FoundFaces((), "E_NO_FACE"))]
        )
        return path.read_bytes()


def read_faces(path: Path) -> object:
    """Read a face cache: what it gives is what was written."""
    from lrfr.pairs.build.look.face_cache import FaceCache

    held = FaceCache(path)
    found = held.get(bytes(32))
    assert found is None or (found.code == "" and found.faces[0].points == tuple(map(float, range(10))))
    return len(held)


STEP = {
    "id": "pairs",
    "argv": ["make-pairs"],
    "digest": "x",
    "code": 0,
    "seconds": 1.5,
    "result": {"view": "default"},
    "error": None,
}


def read_step(path: Path) -> object:
    """Read the record of a step, and run the step where it does not count."""
    from lrfr.experiment.steps.command_plan import Step
    from lrfr.experiment.steps.runner import StepRunner

    runner = StepRunner(path.parent.parent)
    record = runner.record(Step("pairs", ("make-pairs", "--view", "a")))
    assert record is None or (isinstance(record.code, int) and isinstance(record.seconds, int | float))
    return runner.done(Step("pairs", ("make-pairs", "--view", "a")), "x")


Kept = tuple[Callable[[], Files], Callable[[Path], object], tuple[Forge, ...], Callable[[], Files] | None]


def kept() -> dict[str, Kept]:
    """Return kind to good files, reader, forgeries, and what lies around."""
    lines = (*RAW, *JSON_LINES)
    return {
        "checkpoint": (within("other/"), read_checkpoint, RAW, within("other/")),
        "model": (within("other/manifest"), read_model, SEALED, within("other/")),
        "run": (within("run.json"), read_run, SEALED, None),
        "resume": (of_stopped_run, resume, (*RAW[:3], *SEALED[3:9], *JSON[3:9]), stopped_files),
        "routes": (within("routes.json"), read_router, SEALED, run_files),
        "fit": (fit_files, read_fit, (*RAW, *SEALED), None),
        "column json": (in_columns(".json"), read_columns, SEALED, column_files),
        "column": (in_columns(".npy"), read_columns, RAW, column_files),
        "align state": (lambda: {"out/.align.jsonl": _lines(ALIGN)}, read_align, lines, None),
        "face cache": (lambda: {"faces-0.jsonl": face_lines()}, read_faces, lines, None),
        "step": (lambda: {"steps/pairs.json": _lines([STEP])}, read_step, (*RAW[:3], *JSON_LINES), None),
    }
