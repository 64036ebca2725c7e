"""What a shared store has saved in an experiment: images degraded against images read, bytes written against
bytes of private copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core.files import data_of, json_of, parsed
from lrfr.experiment.declare import Declaration

if TYPE_CHECKING:
    from lrfr.pairs.care.inventory import PartLine


@dataclass(frozen=True)
class Savings:
    """What the finished trainings have read, against what the store holds.

    Attributes:
        trainings: how many have read something.
        images_degraded: LR images in the store.
        images_read: HR and LR images that the trainings took.
        read_per_degraded: of the two above.
        MB_written: bytes of the store's parts that they used.
        MB_private_copies: what a copy for each training would be.
        copies_per_written: of the two above.

    """

    trainings: int
    images_degraded: int
    images_read: int
    read_per_degraded: float | None
    MB_written: float
    MB_private_copies: float
    copies_per_written: float

    def __str__(self) -> str:
        return (
            f"{self.trainings} trainings read {self.images_read:,} images, {self.images_degraded:,} were "
            f"degraded; {self.MB_written:,.0f} MB written, private copies would be "
            f"{self.MB_private_copies:,.0f} MB"
        )


def measure(experiment: Declaration, folder: Path) -> Savings | None:
    """Return what the finished trainings of an experiment have read, against what the store holds; None
    without store or trainings.

    A private copy is what a training would have needed alone: the HR images and the degraded variants of its
    view. Every pair that a training reads counts as two images, HR and LR.
    """
    from lrfr.pairs.care.inventory import listing
    from lrfr.pairs.format.store_files import StoreFiles

    root = folder / "store"
    store = StoreFiles(root)
    runs = [
        (training.view, folder / "runs" / f"{name}-s{seed}")
        for name, training in experiment.trainings.items()
        for seed in training.seeds
    ]
    pairs_read = {run: _pairs_read(run) for _, run in runs}
    if not root.is_dir() or not any(pairs_read.values()):
        return None
    stores = {part.id: part for part in listing(root).parts}
    parts = {name: set(store.view(name).stores) for name in {view for view, run in runs if pairs_read[run]}}
    written = set().union(*parts.values())
    degraded = sum(stores[part].rows for part in written if stores[part].kind == "lr")
    read = 2 * sum(pairs_read.values())
    once = _mb(stores, written)
    private = sum(_mb(stores, parts[view]) for view, run in runs if pairs_read[run])
    return Savings(
        trainings=sum(map(bool, pairs_read.values())),
        images_degraded=degraded,
        images_read=read,
        read_per_degraded=round(read / degraded, 1) if degraded else None,
        MB_written=round(once, 1),
        MB_private_copies=round(private, 1),
        copies_per_written=round(private / once, 1),
    )


def _mb(stores: Mapping[str, PartLine], parts: Iterable[str]) -> float:
    return sum(stores[part].bytes for part in parts) / 1e6


def _pairs_read(run: Path) -> int:
    """Return how many pairs a run's steps have taken, from its own files."""
    try:
        recipe = json_of(run / "run.json")["recipe"]
        last = data_of(run / "journal.jsonl").splitlines()[-1]
        return int(parsed(last)["step"]) * int(recipe["train"]["batch_size"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return 0
