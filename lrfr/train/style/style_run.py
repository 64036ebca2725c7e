"""A run folder of the style generator: started, gone on with, or refused because it holds another run."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from lrfr import __version__
from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import canonical, json_of, make_folder, write_atomic
from lrfr.core.lock import store_lock
from lrfr.core.machine import cores_of_process
from lrfr.core.progress import SILENT, Hooks
from lrfr.train.engine.distributed import World
from lrfr.train.engine.loop import run_task
from lrfr.train.engine.task import Pace
from lrfr.train.style import style_task
from lrfr.train.style.identity_cost import Acceptance
from lrfr.train.style.settings import CfsmSettings
from lrfr.train.style.style_task import WEIGHTS, CfsmData, StyleTask
from lrfr.train.style.trainer import Trainer

# these say how a run is watched, not what it computes
_COSMETIC = ("save_every", "grid_every", "threads")


@dataclass(frozen=True)
class CfsmResult:
    """What a call of :func:`fit_cfsm` did.

    Attributes:
        steps: steps of the whole run so far.
        started_at: step at which this call began.
        weights: the calibrated weights, None while the run is unfinished.
        acceptance: its figures on faces that neither steps nor curve have seen (in the leading process).

    """

    steps: int
    started_at: int
    weights: Path | None = None
    acceptance: Acceptance | None = None


def fit_cfsm(
    settings: CfsmSettings,
    data: CfsmData,
    run_dir: Path,
    *,
    int8: bool = False,
    world: World | None = None,
    max_steps: int | None = None,
    hooks: Hooks = SILENT,
) -> CfsmResult:
    """Train a style generator in ``run_dir``, from its last good checkpoint where there is one; see
    :func:`~lrfr.train.engine.loop.run_task`.

    Args:
        settings: the run's settings.
        data: what to learn from; the last 128 source faces are held back for curve and acceptance.
        run_dir: folder of the run; this call owns it.
        int8: keep the weights as 8-bit integers; curve and figures are those of the rounded weights.
        world: this process among its peers; the identity network must be on its device.
        max_steps: stop at this step.
        hooks: progress in images, notes, stop.

    Raises:
        SpecError: the folder holds a run with other settings or data, or the batch cannot be shared out.
        DataError: too few source faces.
        LockedError: another process is training there.
        NumericFault: a loss is not finite; the last good checkpoint stays.

    """
    world = world or World()
    _check(settings, data, world)
    identity = _identity(settings, data)

    def make() -> StyleTask:
        trainer = Trainer(settings, data.recognizer, world)
        return StyleTask(trainer, data, {"method": "cfsm", **identity}, run_dir, int8)

    with _owned(settings, data, run_dir, world):
        pace = _pace(settings, _threads(run_dir))
        result, task = run_task(make, pace, run_dir, max_steps=max_steps, hooks=hooks)
    weights = run_dir / WEIGHTS if result.steps == result.total else None
    return CfsmResult(result.steps, result.started_at, weights, task.acceptance)


@contextmanager
def _owned(settings: CfsmSettings, data: CfsmData, run_dir: Path, world: World) -> Iterator[None]:
    """Let the leading process lock the folder and see that it is this run's; the others wait for that."""
    if not world.leads:
        world.barrier()
        yield
        return
    make_folder(run_dir)
    with store_lock(run_dir):
        _open(settings, data, run_dir)
        world.barrier()
        yield


def _pace(settings: CfsmSettings, threads: int) -> Pace:
    return Pace(
        total=settings.steps,
        images=settings.batch_size,
        seed=settings.seed,
        threads=threads,
        save_every=settings.save_every,
    )


def _check(settings: CfsmSettings, data: CfsmData, world: World) -> None:
    fewest = 3 * style_task.CURVE_FACES
    if data.source.length < fewest:
        raise DataError(f"{data.source.length} source faces are too few", hint=f"{fewest} or more are needed")
    if settings.batch_size % world.size:
        raise SpecError(f"batch_size {settings.batch_size} is not a multiple of {world.size} processes")


def _identity(settings: CfsmSettings, data: CfsmData) -> dict[str, object]:
    """Return what two runs must share to be the same run."""
    plain = {key: value for key, value in dataclasses.asdict(settings).items() if key not in _COSMETIC}
    digests = {"source": data.source.digest, "target": data.target.digest, "identity": data.recognizer.digest}
    revised = {"revision": StyleTask.revision} if StyleTask.revision > 1 else {}
    return dict(json.loads(json.dumps({**plain, **digests, **revised})))


def _open(settings: CfsmSettings, data: CfsmData, run_dir: Path) -> None:
    """Write ``run.json``, or check that it describes this very run."""
    identity = _identity(settings, data)
    path = run_dir / "run.json"
    if not path.exists():
        versions = {"lrfr": __version__, "torch": torch.__version__, "python": platform.python_version()}
        threads = settings.threads or cores_of_process()
        known = {"method": "cfsm", "identity": identity, "threads": threads, "versions": versions}
        write_atomic(path, canonical(known), run_dir)
        return
    try:
        old = dict(json_of(path)["identity"])
    except (ValueError, KeyError, TypeError):
        raise _damaged(run_dir) from None
    same = {"source": data.source.former, "target": data.target.former}
    differing = [
        key
        for key in sorted(old.keys() | identity.keys())
        if old.get(key) != identity.get(key) and old.get(key) not in same.get(key, ())
    ]
    if differing:
        raise SpecError(
            f"this folder holds another run: other {', '.join(differing)}",
            file=str(run_dir),
            hint="choose another folder",
        )


def _threads(run_dir: Path) -> int:
    """Return the thread count that the run began with."""
    try:
        return int(json_of(run_dir / "run.json")["threads"])
    except (ValueError, KeyError, TypeError):
        raise _damaged(run_dir) from None


def _damaged(run_dir: Path) -> DataError:
    return DataError("not a run folder, or its run.json is damaged", file=str(run_dir))
