"""Simulated faces with what was drawn for each: statistics beside classes, kept in files that a later run
takes up.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import data_of, digest_of, make_folder, sha256_hex, write_whole
from lrfr.core.image import ImageU8
from lrfr.degrade.inspect.contact_sheet import enlarge
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import Spec, parse_spec
from lrfr.fit.infer.fitted_spec import spec_text
from lrfr.fit.infer.prior_space import Variable, classes_of, variables_of
from lrfr.fit.look.clean_faces import Faces
from lrfr.fit.look.face_statistics import NAMES, REVISION, Gaze, face_statistics
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.array_file import arrays_of

CHUNK = 500
_KINDS = {"stats": np.float32, "classes": np.int16, "values": np.float32, "rows": np.int64}
_MOST_BYTES = 1 << 28
_SUM = 64  # hexadecimal digits of sha256
COST_S = 0.004  # of one face, simulated and looked at
_NOMINAL_MINUTES = 2.5  # what banks of the shipped sizes are worth
_LEAST, _MOST = 0.2, 8.0  # how far a budget shrinks and grows them


@dataclass(frozen=True)
class BankSizes:
    """How many faces are simulated.

    Attributes:
        bank: of the first bank.
        rounds: further banks near the estimate.
        round_faces: of each of them.

    """

    bank: int
    rounds: int
    round_faces: int

    def within(self, minutes: float | None) -> BankSizes:
        """Return the sizes that a budget allows, the same for the same budget. Below half a minute a small
        first bank is all there is.
        """
        if minutes is None:
            return self
        factor = min(max(minutes / _NOMINAL_MINUTES, _LEAST), _MOST)
        rounds = 0 if minutes < _LEAST * _NOMINAL_MINUTES else self.rounds
        return BankSizes(int(self.bank * factor), rounds, int(self.round_faces * factor))


def budget_words(minutes: float | None, bank: int) -> list[str]:
    """Return what to say of a budget that a fit cannot keep to or use up; ``bank``: size of the first."""
    least, most = _LEAST * _NOMINAL_MINUTES, _MOST * _NOMINAL_MINUTES
    if minutes is not None and minutes < least:
        return [
            f"a budget of {minutes:g} minutes leaves one bank of {bank} simulated faces and no round near "
            f"the estimate (from {least:g} minutes on there are two), so distributions are rough; the "
            f"structure scan takes its time all the same"
        ]
    if minutes is not None and minutes > most:
        return [f"a budget of {minutes:g} minutes is more than a fit uses: banks are as for {most:g}"]
    return []


@dataclass(frozen=True)
class Bank:
    """Simulated faces.

    Attributes:
        stats: float32 [N, D].
        classes: int16 [N, V], as of the variables of the prior.
        values: float32 [N, V], nan where a parameter was not drawn.
        rows: which face of the source each was made of, int64 [N].

    """

    stats: NDArray[np.float32]
    classes: NDArray[np.int16]
    values: NDArray[np.float32]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stats)

    def is_whole(self, count: int, variables: int) -> bool:
        """Return whether these are tables of ``count`` simulated faces of a prior with so many variables."""
        wide = {"stats": (len(NAMES),), "classes": (variables,), "values": (variables,), "rows": ()}
        alike = all(
            getattr(self, name).shape == (count, *wide[name]) and getattr(self, name).dtype == kind
            for name, kind in _KINDS.items()
        )
        return alike and bool(np.isfinite(self.stats).all())

    def joined(self, other: Bank) -> Bank:
        """Return both."""
        mine, its = vars(self), vars(other)
        return Bank(**{name: np.concatenate([mine[name], its[name]]) for name in mine})


def simulate(spec: Spec, faces: Sequence[ImageU8], names: Sequence[bytes], gaze: Gaze) -> list[ImageU8]:
    """Return faces as the camera of a spec would give them: at their native sizes where crops come so, else
    enlarged to the crop.
    """
    return _crops(Pipeline(spec).run_faces(names, faces, 0)[0], spec, gaze)


def _crops(small: Sequence[ImageU8], spec: Spec, gaze: Gaze) -> list[ImageU8]:
    if gaze.way is None:
        return list(small)
    return [enlarge(image, spec.store.up) if len(image) != gaze.canvas_px else image for image in small]


@dataclass(frozen=True)
class SimulateTask:
    """Simulate faces and keep their statistics; its result depends on its fields alone."""

    text: str
    prior: str
    faces: Faces
    rows: tuple[int, ...]
    name: str
    gaze: Gaze
    out: Path

    def run(self) -> TaskReport:
        """Write the file."""
        spec, variables = parse_spec(self.text), variables_of(parse_spec(self.prior))
        found = _simulated(self, spec, variables)
        buffer = io.BytesIO()
        np.savez(buffer, **vars(found))
        write_whole(self.out, sha256_hex(buffer.getvalue()).encode() + buffer.getvalue())
        return TaskReport(len(found))


def _simulated(task: SimulateTask, spec: Spec, variables: Sequence[Variable]) -> Bank:
    names = [b"%s/%d" % (task.name.encode(), k) for k in range(len(task.rows))]
    small, plans = Pipeline(spec).run_faces(names, task.faces.take(task.rows), 0)
    stats = face_statistics(_crops(small, spec, task.gaze), task.gaze)
    classes, values = classes_of(variables, plans, spec)
    return Bank(stats, classes, values, np.array(task.rows, np.int64))


def read_chunk(path: Path, count: int, variables: int) -> Bank | None:
    """Return what a task wrote, None where it is not there or damaged: its checksum stands before it."""
    try:
        data = data_of(path, most=_MOST_BYTES)
        if sha256_hex(data[_SUM:]).encode() != data[:_SUM]:
            return None
        found = arrays_of(io.BytesIO(data[_SUM:]), str(path))
        bank = Bank(**{name: found[name] for name in _KINDS})
    except (OSError, KeyError, DataError):
        return None
    return bank if bank.is_whole(count, variables) else None


@dataclass(frozen=True)
class BankMaker:
    """Makes banks, on any executor, and finds those that were made before.

    Attributes:
        folder: of the files.
        faces: clean faces.
        gaze: how crops are looked at.
        prior: whose variables are recorded.
        runner: where tasks run.
        seed: of which face is taken when.

    """

    folder: Path
    faces: Faces
    gaze: Gaze
    prior: Spec
    runner: Runner
    seed: int = 0

    def make(self, spec: Spec, count: int, rows: Sequence[int], label: str) -> Bank:
        """Return ``count`` faces of the source's ``rows`` in turn, degraded by ``spec``."""
        make_folder(self.folder)
        tasks = self._tasks(spec, count, rows, label)
        variables = len(variables_of(self.prior))
        before = [read_chunk(task.out, len(task.rows), variables) for task in tasks]
        ahead = [task for task, found in zip(tasks, before, strict=True) if found is None]
        if damaged := sum(task.out.exists() for task in ahead):
            self.runner.hooks.note(f"{label}: {damaged} damaged files of simulated faces, made again")
        done = count - sum(len(task.rows) for task in ahead)
        seconds = sum(len(task.rows) for task in ahead) * COST_S
        self.runner.run(ahead, seconds, label, done, count)
        found = [b or read_chunk(t.out, len(t.rows), variables) for t, b in zip(tasks, before, strict=True)]
        parts = [bank for bank in found if bank is not None]
        assert len(parts) == len(tasks)
        return Bank(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})

    def _tasks(self, spec: Spec, count: int, rows: Sequence[int], label: str) -> list[SimulateTask]:
        text, prior = spec_text(spec.as_json()), spec_text(self.prior.as_json())
        order = np.random.default_rng([self.seed, len(label)]).permutation(np.array(rows))
        turns = np.tile(order, -(-count // len(order)))[:count]
        about = [spec.pixel_digest, text, prior, self.faces.digest, self.seed, REVISION, label]
        name = digest_of([*about, repr(self.gaze), turns.tolist()])[:24]
        return [
            SimulateTask(
                text,
                prior,
                self.faces,
                tuple(turns[start : start + CHUNK].tolist()),
                f"{label}/{self.seed}/{start}",
                self.gaze,
                self.folder / f"bank-{name}-{start:06d}.faces",
            )
            for start in range(0, count, CHUNK)
        ]
