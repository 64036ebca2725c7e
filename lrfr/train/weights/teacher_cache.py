"""What frozen teachers give for the HR faces of a view, kept as columns of the store: a teacher runs once a
face and once for its mirror image, whatever the number of epochs and runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from lrfr.core.errors import EnvironmentFault, LockedError, SpecError
from lrfr.core.files import digest_of
from lrfr.core.image import ImageU8
from lrfr.core.machine import torch_threads, usable_cores
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.pairs.columns.column_manifest import ColumnPlace
from lrfr.pairs.columns.column_store import ColumnWritten, write_column
from lrfr.pairs.columns.row_array import open_column
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.pair_batch import images_to_float
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.engine.loaders import MIRRORED
from lrfr.train.settings import TrainSettings
from lrfr.train.weights.foreign.foreign_file import ForeignFile
from lrfr.train.weights.parent_files import Parent, parent_digest, parent_nets

REVISION = 1  # raised by hand when the same teacher gives other numbers
# more at once fall out of a core's caches: a MobileFaceNet takes 14 ms a face by 64, 10 by 16
CALL_FACES = 16
# below this a process of its own costs more than it saves
FEW_FACES = 2048
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True)
class TeacherOutputs:
    """The function behind a column: embeddings of HR faces, on one thread, so that it does not matter where
    they are computed.

    Attributes:
        teacher: a checkpoint, run or foreign file.
        digest: of it.
        mirrored: whether the faces are turned first.
        bf16: whether it runs under autocast, as in the steps of a run with ``amp: bf16``: half the time.

    """

    teacher: Parent
    digest: str
    mirrored: bool = False
    bf16: bool = False

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D]."""
        faces = np.stack(images)
        with torch_threads(1), torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            net = _opened(self.teacher, self.digest)["net"]
            x_nchw = images_to_float(torch.from_numpy(faces).permute(0, 3, 1, 2))
            x_nchw = x_nchw.flip(3) if self.mirrored else x_nchw
            parts = (x_nchw[start : start + CALL_FACES] for start in range(0, len(faces), CALL_FACES))
            rows = [net(part).float().numpy() for part in parts]
        return np.concatenate(rows)


@lru_cache(maxsize=1)
def _opened(teacher: Parent, digest: str) -> torch.nn.ModuleDict:
    nets = parent_nets(teacher)
    nets.eval()
    return nets


@dataclass(frozen=True)
class TeacherColumn:
    """The columns of one teacher: of the faces as they are, and of their mirror images where a run flips.

    Attributes:
        outputs: what computes them.
        flips: whether mirror images are needed.

    """

    outputs: TeacherOutputs
    flips: bool

    @property
    def name(self) -> str:
        """Name of the column; that of the mirror images ends in ``_mirrored``."""
        how = ["bf16"] if self.outputs.bf16 else []
        return f"teacher_{digest_of([self.outputs.digest, REVISION, *how])[:16]}"

    @property
    def parts(self) -> dict[str, tuple[str, TeacherOutputs]]:
        """Column name to what names its numbers, and what computes them."""
        found, how = {self.name: self.outputs}, ", bf16" if self.outputs.bf16 else ""
        if self.flips:
            found[self.name + MIRRORED] = replace(self.outputs, mirrored=True)
        return {
            name: (f"teacher {one.digest}, mirrored {one.mirrored}, revision {REVISION}{how}", one)
            for name, one in found.items()
        }

    def there(self, dataset: PairDataset) -> bool:
        """Say whether the store has them for every face of a view."""
        shown = shown_rows(dataset)
        places = [
            ColumnPlace(dataset.place, base, name, producer)
            for name, (producer, _) in self.parts.items()
            for base in shown
        ]
        return all(
            place.manifest.exists() and bool(open_column(place).has(np.flatnonzero(shown[place.base])).all())
            for place in places
        )

    def write(self, dataset: PairDataset, runner: Runner) -> int:
        """Compute what is not there yet for the faces of a view; return how many faces were computed.

        Raises:
            SpecError, DataError, EnvironmentFault: see :meth:`lrfr.Store.write_column`.
            Stopped: the hooks said so; what was finished is kept.

        """
        shown, written = shown_rows(dataset), 0
        for name, (producer, outputs) in self.parts.items():
            named = (name, producer)
            work = partial(
                write_column,
                dataset.place,
                list(shown),
                named,
                outputs,
                dtype="float32",
                runner=runner,
                wanted=shown,
            )
            written += _patiently(work, runner.hooks).written
        return written


def shown_rows(dataset: PairDataset) -> dict[str, NDArray[np.bool_]]:
    """Return, of each base of a view, which of its rows the view shows, bool ``[rows]``."""
    found: dict[str, NDArray[np.bool_]] = {}
    start = 0
    for part in dataset.view.parts:
        count = dataset.place.base_manifest(part.base).rows
        mine = dataset.rows[(dataset.rows >= start) & (dataset.rows < start + count)] - start
        found.setdefault(part.base, np.zeros(count, np.bool_))[mine] = True
        start += count
    return found


def cache_teacher(
    dataset: PairDataset, teacher: Parent, *, flips: bool = True, runner: Runner | None = None
) -> TeacherColumn:
    """Keep what a teacher gives for the HR faces of a view, so that trainings find it there.

    A call that was killed goes on; after a view has grown, or for another view of the same bases, the same
    call computes what is new.

    Args:
        dataset: the view.
        teacher: checkpoint, run or foreign file.
        flips: also for mirror images.
        runner: where it is computed; by default in as many processes as there are cores, where that pays.

    Raises:
        SpecError, DataError, EnvironmentFault: see :meth:`lrfr.Store.write_column`.

    """
    column = TeacherColumn(TeacherOutputs(teacher, parent_digest(teacher)), flips)
    column.write(dataset, runner or _runner(dataset, SILENT))
    return column


def wanted_columns(
    settings: TrainSettings, parents: Mapping[str, Parent], digests: Mapping[str, str]
) -> dict[str, TeacherColumn]:
    """Return role to the columns that a run would like to have of its parents."""
    if settings.cache_teacher == "never":
        return {}
    return {
        role: TeacherColumn(
            TeacherOutputs(
                parent, digests[role], bf16=settings.amp == "bf16" and not isinstance(parent, ForeignFile)
            ),
            settings.flip not in {"none", "lr"},
        )
        for role, parent in parents.items()
        if role != "init" and (settings.cache_teacher == "always" or isinstance(parent, ForeignFile))
    }


def keep_outputs(
    settings: TrainSettings, columns: Mapping[str, TeacherColumn], dataset: PairDataset, hooks: Hooks
) -> None:
    """Write the columns of a run that are not there yet.

    Raises:
        EnvironmentFault, SpecError: they cannot be written, and the run insists on them.

    """
    for role, column in columns.items():
        if column.there(dataset):
            continue
        start = time.perf_counter()
        try:
            count = column.write(dataset, _runner(dataset, hooks))
        except (EnvironmentFault, SpecError) as error:
            if settings.cache_teacher == "always":
                raise
            hooks.note(f"{role}: runs in every step, its embeddings cannot be kept: {error.message}")
            continue
        hooks.note(
            f"{role}: {count} embeddings kept in {time.perf_counter() - start:.1f} s, none left to run"
        )


def _runner(dataset: PairDataset, hooks: Hooks) -> Runner:
    cores = usable_cores()
    many = len(dataset) >= FEW_FACES and cores > 1
    return Runner("process" if many else "serial", cores if many else 1, hooks=hooks)


def _patiently(work: Callable[[], ColumnWritten], hooks: Hooks) -> ColumnWritten:
    """Do what needs the store's lock, after whoever holds it."""
    told = False
    while True:
        try:
            return work()
        except LockedError as error:
            if not told:
                hooks.note(f"waiting: {error.message}")
            told = True
            if hooks.stopping():
                raise Stopped from None
            time.sleep(_PATIENCE_SECONDS)
