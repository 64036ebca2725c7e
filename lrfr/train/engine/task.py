"""What the loop trains: a task says what a step is, where its batches come from and what to look at between.

The loop knows no loss, optimizer or picture; a task knows no file, signal, clock or interval of saving.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from lrfr.train.engine.state import RunState
from lrfr.train.methods.base import Losses

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long a run is and how often the loop speaks and saves.

    Attributes:
        total: optimizer steps of the whole run.
        images: images of a step, over all processes.
        seed: of everything that is drawn.
        threads: CPU threads, 0 for all usable cores.
        log_every: steps between looks at the losses.
        save_every: steps between checkpoints; 0 saves at the end only.
        save_minutes: save also when so much time has passed; 0 does not.
        keep: full checkpoints to keep.
        deterministic: the same bits again, or the fastest kernels.

    """

    total: int
    images: int
    seed: int
    threads: int
    log_every: int = 1
    save_every: int = 0
    save_minutes: float = 0.0
    keep: int = 2
    deterministic: bool = True


@dataclass(frozen=True)
class Sight:
    """What a task saw when it looked at its weights.

    Attributes:
        line: what goes into the journal.
        best: whether these weights are the best so far, to be kept beside the last ones.

    """

    line: Mapping[str, object]
    best: bool = False


class Task(ABC, Generic[Item]):
    """One training: its state, its batches, its step.

    Attributes:
        state: everything that a step changes.
        identity: JSON kept in every checkpoint.

    """

    state: RunState
    identity: Mapping[str, object]

    @abstractmethod
    def batches(self, start: int, end: int) -> Iterator[Item]:
        """Yield this process's batches of the steps ``start`` to ``end``, ready to be trained on; called in a
        thread of its own.
        """

    @abstractmethod
    def step(self, item: Item, step: int) -> Losses:
        """Take step ``step`` (from 0) and return its losses over all processes, detached, ``"total"`` among
        them.
        """

    def place(self, step: int) -> Mapping[str, float]:
        """Return what the journal's line of step ``step`` (from 0) tells besides losses, say the learning
        rate.
        """
        return {}

    def due(self, step: int) -> bool:
        """Return whether :meth:`look` is due after ``step`` steps; the same in every process."""
        return False

    def look(self, step: int) -> Sight:
        """Evaluate or draw; only the leading process is asked."""
        return Sight({})

    def notes(self, step: int) -> Mapping[str, object]:
        """Return what a checkpoint keeps as JSON besides tensors."""
        return {}

    def recall(self, notes: Mapping[str, object]) -> None:
        """Take over :meth:`notes` of a checkpoint."""

    def finish(self) -> None:
        """Do what is left once all steps are taken; only the leading process is asked."""
