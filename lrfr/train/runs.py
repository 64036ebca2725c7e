"""Run folders: what a run is, whether it is the same run, who its parents are.

A folder ``runs/<name>`` holds ``run.json`` (the identity, the resolved recipe, threads, versions),
``journal.jsonl`` (the loss trace), ``checkpoints/`` (the last full checkpoints) and, with an evaluation,
``best/``.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lrfr import __version__
from lrfr.core.errors import DataError, LockedError, LrfrError, SpecError
from lrfr.core.files import make_folder, write_atomic
from lrfr.core.files.inside import refuse_link
from lrfr.core.lock import store_lock
from lrfr.core.machine import cores_of_process
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.reading.loader import PairLoader
from lrfr.train import checkpoint
from lrfr.train.engine.distributed import World
from lrfr.train.engine.loaders import make_loader
from lrfr.train.engine.loop import FitResult
from lrfr.train.engine.recognizer_task import FitOptions, fit
from lrfr.train.engine.run_record import LeftOut, RunIdentity, RunRecord
from lrfr.train.recipe import Recipe
from lrfr.train.settings import TrainSettings
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.parent_files import (
    Parent,
    inputs_of,
    parent_digest,
    parent_nets,
    unusual_methods,
)
from lrfr.train.weights.teacher_cache import keep_outputs, wanted_columns

if TYPE_CHECKING:
    from lrfr.pairs.reading.dataset import PairDataset


def run_folder(runs_dir: Path, name: str) -> Path:
    """Return the folder of a run among others.

    Raises:
        SpecError: the name is none: it would lead elsewhere.

    """
    if (
        name.startswith((".", "-"))
        or not name.isprintable()
        or set(name) & set("/\\")
        or not 0 < len(name) < 128
    ):
        raise SpecError(
            f"'{name[:60]}' is no name for a run", hint="a name, not a path: --name mine; --runs says where"
        )
    return runs_dir / name


@dataclass(frozen=True)
class Plan:
    """A run before it starts.

    Attributes:
        recipe: resolved recipe.
        view: digest of the view it trains on.
        parents: role to run folder, checkpoint or foreign file.
        former: ids that the view had before its store was upgraded.
        weights: what computed the column by which rows are drawn; "" without one.

    """

    recipe: Recipe
    view: str
    parents: Mapping[str, Parent]
    former: tuple[str, ...] = ()
    weights: str = ""

    @classmethod
    def on(cls, recipe: Recipe, dataset: PairDataset, parents: Mapping[str, Parent]) -> Plan:
        """Return the plan of a recipe on a view."""
        column = recipe.settings.weight_column
        weights = dataset.column(column).producer if column else ""
        return cls(recipe, dataset.digest, parents, dataset.view.former, weights)

    def identity(self) -> RunIdentity:
        """Return what two runs must share to be the same run.

        Raises:
            DataError: a parent is no checkpoint, or damaged.

        """
        digests = {role: parent_digest(parent) for role, parent in sorted(self.parents.items())}
        found = RunIdentity.of(self.view, self.recipe, digests, inputs_of(self.parents))
        if not self.weights:
            return found
        return dataclasses.replace(found, files={**found.files, "weights": self.weights})


def finished(run_dir: Path) -> bool:
    """Return whether the last checkpoint of a run is at its last step."""
    found = [int(path.name[5:]) for path in checkpoint.steps(run_dir)]
    return bool(found) and found[-1] >= RunRecord.read(run_dir).total_steps


def find(runs_dir: Path, plan: Plan) -> Path | None:
    """Return a run under ``runs_dir`` with the identity of ``plan``, finished or not, by today's or a former
    id of the view; folders that hold something else, or something damaged, are no concern of this run.
    """
    wanted = plan.identity()
    for path in sorted(runs_dir.glob("*/run.json")):
        try:
            found = RunRecord.read(path.parent).identity
        except LrfrError:
            continue
        if found.view in plan.former:
            found = dataclasses.replace(found, view=wanted.view)
        if found.method == wanted.method and not found.differs(wanted):
            return path.parent
    return None


def trained_on(runs_dir: Path, views: Collection[str]) -> tuple[Path, ...]:
    """Return the runs under ``runs_dir`` that were trained on some views, by their ids, and those that have a
    checkpoint of such a run as parent; folders that hold something else are passed over.
    """
    records: dict[Path, RunIdentity] = {}
    for path in sorted(runs_dir.glob("*/run.json")):
        with suppress(LrfrError):
            records[path.parent] = RunRecord.read(path.parent).identity
    found = {run for run, identity in records.items() if identity.view in views}
    fresh, digests = set(found), set()
    while fresh:
        for path in (path for run in fresh for path in [*checkpoint.steps(run), run / "best"]):
            with suppress(LrfrError):
                digests.add(checkpoint.digest_of(path))
        fresh = {run for run in records.keys() - found if digests & set(records[run].parents.values())}
        found |= fresh
    return tuple(sorted(found))


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
    loader = make_loader(dataset, plan.recipe.settings, World())  # too small a view leaves no folder behind
    make_folder(run_dir)
    with _locked(run_dir):
        _open(plan, loader, run_dir, identity)
        _tell_left_out(loader, plan.recipe.settings, hooks)
        if not finished(run_dir):
            settings = plan.recipe.settings
            keep_outputs(settings, wanted_columns(settings, plan.parents, identity.parents), dataset, hooks)
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


def _tell_left_out(loader: PairLoader, settings: TrainSettings, hooks: Hooks) -> None:
    """Say how many faces of the view no epoch, or not every epoch, shows."""
    if loader.left_out:
        hooks.note(
            f"images_per_id={settings.images_per_id} leaves {loader.left_out} of {len(loader.dataset)} faces "
            "out: they have no identity, or theirs has fewer faces"
        )
    if loader.left_over:
        more = f" or are more than {settings.images_per_id} of an identity" if settings.images_per_id else ""
        hooks.note(
            f"each epoch leaves {loader.left_over} faces out, others every time: they fill no batch of "
            f"{settings.batch_size}{more}"
        )


def _open(plan: Plan, loader: PairLoader, run_dir: Path, identity: RunIdentity) -> None:
    """Write ``run.json``, or check that it describes this very run."""
    refuse_link(run_dir / "checkpoints")  # the oldest of what lies there go
    if (run_dir / "run.json").exists():
        differing = RunRecord.read(run_dir).identity.differs(identity)
        if differing:
            raise SpecError(
                f"this folder holds another run: {'; '.join(differing[:6])}",
                file=str(run_dir),
                hint="choose another --name, or remove the folder",
            )
        return
    if checkpoint.steps(run_dir):
        raise DataError("checkpoints without a run.json", file=str(run_dir), hint="remove the folder")
    settings = plan.recipe.settings
    record = RunRecord(
        identity,
        plan.recipe.as_dict(),
        {role: str(path) for role, path in plan.parents.items()},
        settings.total_steps(loader.batches_per_epoch),
        settings.threads or cores_of_process(),
        {"lrfr": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "bits" if settings.deterministic else "rounding",
        LeftOut(loader.left_out, loader.left_over),
    )
    write_atomic(run_dir / "run.json", record.seal(), run_dir)


def _fit(plan: Plan, dataset: PairDataset, run_dir: Path, options: FitOptions, hooks: Hooks) -> FitResult:
    record, recipe = RunRecord.read(run_dir), plan.recipe
    threads = recipe.settings.threads or cores_of_process()
    if threads != record.threads and not finished(run_dir):
        hooks.note(f"goes on with {record.threads} threads, as it began, not with {threads}: bit for bit")
    identity = ModelIdentity(
        recipe.method,
        recipe.options,
        view=record.identity.view,
        parents=record.identity.parents,
        parent_methods=unusual_methods(plan.parents, recipe.make().needs()),
        variants=tuple(
            {"spec": variant.spec, "digest": variant.spec_digest, "weight": variant.weight}
            for variant in dataset.view.variants
        ),
    )
    dataset = dataset.with_lr_side(recipe.make().lr_px)
    parents = {role: parent_nets(parent, options.world.device) for role, parent in plan.parents.items()}
    settings = dataclasses.replace(recipe.settings, threads=record.threads)
    wanted = wanted_columns(settings, plan.parents, record.identity.parents)
    kept = {role: column for role, column in wanted.items() if column.there(dataset)}
    names = [name for column in kept.values() for name in column.parts]
    dataset = dataset.with_columns(*dict.fromkeys(names)) if names else dataset
    options = dataclasses.replace(
        options, parents=parents, kept={role: column.name for role, column in kept.items()}
    )
    return fit(
        recipe.make(), dataset, run_dir, settings, identity=identity.as_dict(), options=options, hooks=hooks
    )
