"""Run folders: what a run is, whether it is the same run, who its parents are.

A folder ``runs/<name>`` holds ``run.json`` (the resolved recipe, digests of view and parents, threads,
versions), ``journal.jsonl`` (the loss trace), ``checkpoints/`` (the last full checkpoints) and, with an
evaluation, ``best/``.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lrfr import __version__
from lrfr.core.errors import DataError, LockedError, SpecError
from lrfr.core.files import canonical, make_folder, write_atomic
from lrfr.core.lock import store_lock
from lrfr.core.progress import SILENT, Hooks
from lrfr.train import checkpoint
from lrfr.train.engine.determinism import usable_cores
from lrfr.train.engine.distributed import World
from lrfr.train.engine.loaders import make_loader
from lrfr.train.engine.loop import FitOptions, FitResult, fit
from lrfr.train.recipe import Recipe

if TYPE_CHECKING:
    from lrfr.pairs.dataset import PairDataset

# these say how a run is watched, not what it computes
_COSMETIC = ("log_every", "save_every", "eval_every", "keep", "threads", "read_threads")


@dataclass(frozen=True)
class Plan:
    """A run before it starts.

    Attributes:
        recipe: resolved recipe.
        view: digest of the view it trains on.
        parents: role to run folder or checkpoint.

    """

    recipe: Recipe
    view: str
    parents: Mapping[str, Path]

    def identity(self) -> dict[str, Any]:
        """Return what two runs must share to be the same run."""
        train = {
            key: value
            for key, value in dataclasses.asdict(self.recipe.settings).items()
            if key not in _COSMETIC
        }
        digests = {
            role: checkpoint.read_manifest(checkpoint.resolve(path))["digest"]
            for role, path in sorted(self.parents.items())
        }
        # through JSON, so that it compares equal to what is read back (tuples become lists)
        plain = {
            "method": self.recipe.method,
            "options": self.recipe.options,
            "train": train,
            "view": self.view,
            "parents": digests,
        }
        return dict(json.loads(json.dumps(plain)))


def total_steps(run_dir: Path) -> int | None:
    """Return the steps that a run asks for, None where ``run_dir`` holds no run."""
    path = run_dir / "run.json"
    return int(read_run(run_dir)["total_steps"]) if path.is_file() else None


def read_run(run_dir: Path) -> dict[str, Any]:
    """Return ``run.json``.

    Raises:
        DataError: it cannot be read.

    """
    try:
        return dict(json.loads((run_dir / "run.json").read_text("utf-8")))
    except (OSError, ValueError):
        raise DataError("not a run folder, or its run.json is damaged", file=str(run_dir)) from None


def finished(run_dir: Path) -> bool:
    """Return whether the last checkpoint of a run is at its last step."""
    found = checkpoint.steps(run_dir)
    return bool(found) and int(found[-1].name.removeprefix("step-")) >= read_run(run_dir)["total_steps"]


def find(runs_dir: Path, plan: Plan) -> Path | None:
    """Return a run under ``runs_dir`` with the identity of ``plan``, finished or not."""
    wanted = plan.identity()
    for path in sorted(runs_dir.glob("*/run.json")):
        try:
            if read_run(path.parent)["identity"] == wanted:
                return path.parent
        except (DataError, KeyError):
            continue
    return None


def train(
    plan: Plan,
    dataset: PairDataset,
    run_dir: Path,
    options: FitOptions | None = None,
    hooks: Hooks = SILENT,
) -> FitResult:
    """Train ``plan`` in ``run_dir``, or go on where it stopped, or find it finished.

    Args:
        plan: what to train.
        dataset: the view's pairs.
        run_dir: folder of the run; made when it is not there.
        options: processes and device, evaluation, an early end; the parents are the plan's.
        hooks: progress in images, notes, stop.

    Raises:
        SpecError: the folder holds a run with other settings.
        LockedError: another process is training there.
        DataError: a parent is damaged, or the view has too few pairs.

    """
    options = options or FitOptions()
    world = options.world
    identity = plan.identity()
    if not world.leads:
        world.barrier()
        return _fit(plan, dataset, run_dir, options, hooks)
    make_folder(run_dir)
    with _locked(run_dir):
        _open(plan, dataset, run_dir, identity)
        world.barrier()
        return _fit(plan, dataset, run_dir, options, hooks)


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    try:
        with store_lock(run_dir):
            yield
    except LockedError as error:
        raise LockedError(
            error.message.replace("writes this store", "trains here"),
            file=str(run_dir),
            hint="wait for it or stop it",
        ) from None


def _open(plan: Plan, dataset: PairDataset, run_dir: Path, identity: dict[str, Any]) -> None:
    """Write ``run.json``, or check that it describes this very run."""
    if (run_dir / "run.json").exists():
        differing = _differences(read_run(run_dir).get("identity", {}), identity)
        if differing:
            text = "; ".join(differing[:6])
            raise SpecError(
                f"this folder holds another run: {text}",
                file=str(run_dir),
                hint="choose another --name, or remove the folder",
            )
        return
    if checkpoint.steps(run_dir):
        raise DataError("checkpoints without a run.json", file=str(run_dir), hint="remove the folder")
    settings = plan.recipe.settings
    description = {
        "schema": 1,
        "identity": identity,
        "recipe": plan.recipe.as_dict(),
        "parents": {role: str(path) for role, path in plan.parents.items()},
        "total_steps": settings.total_steps(make_loader(dataset, settings, World()).batches_per_epoch),
        "threads": settings.threads or usable_cores(),
        "versions": {"lrfr": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    write_atomic(run_dir / "run.json", canonical(description), run_dir)


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in _differences(old.get(key), new.get(key), f"{place}.{key}".strip("."))
        ]
    return [] if old == new else [f"{place} is {_short(old)} there, {_short(new)} here"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."


def _fit(plan: Plan, dataset: PairDataset, run_dir: Path, options: FitOptions, hooks: Hooks) -> FitResult:
    run = read_run(run_dir)
    settings = dataclasses.replace(plan.recipe.settings, threads=run["threads"])
    parents = {
        role: checkpoint.load_nets(path, options.world.device)[0] for role, path in plan.parents.items()
    }
    identity = {key: run["identity"][key] for key in ("method", "options", "view", "parents")}
    identity["variants"] = [
        {key: variant[key] for key in ("spec", "action", "weight")} for variant in dataset.view["variants"]
    ]
    options = dataclasses.replace(options, parents=parents)
    return fit(
        plan.recipe.make(), dataset, run_dir, settings, identity=identity, options=options, hooks=hooks
    )
