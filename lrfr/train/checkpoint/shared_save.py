"""Save a head that is spread over processes: each writes its own share, and none ever holds the whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from lrfr.core.errors import EnvironmentFault, LrfrError
from lrfr.core.files import make_folder, write_fault
from lrfr.train.checkpoint.checkpoint_files import Checkpoint, publish, write_parts
from lrfr.train.checkpoint.share_files import save_tensors, share_name


def save_together(folder: Path, snapshot: Checkpoint, share: Mapping[str, Tensor], group: Any) -> str:
    """Write a checkpoint by all processes of ``group`` (gloo), which all must call, and return its digest.

    Args:
        folder: of the checkpoint; replaced if it exists. All processes must see it.
        snapshot: what the leader writes, without what is spread.
        share: this process's rows of what is spread, as ``model/NAME``, ``ema/NAME`` and ``state/NAME/KEY``.
        group: for these exchanges alone.

    Raises:
        EnvironmentFault: in every process, where one cannot write.

    """
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    temporary = folder.with_name(f".tmp-{folder.name}")

    def clear() -> None:
        if rank == 0:
            for left in (temporary, folder.with_name(f".old-{folder.name}")):
                shutil.rmtree(left, ignore_errors=True)
            make_folder(temporary)

    def write() -> None:
        save_tensors(temporary / share_name(rank, size), share)
        if rank == 0:
            write_parts(temporary, snapshot)

    def seal() -> str:
        missing = [n for k in range(size) if not (temporary / (n := share_name(k, size))).exists()]
        if missing and rank == 0:
            raise EnvironmentFault(
                f"{missing[0]} is not there: the processes do not see one folder",
                file=str(temporary),
                hint="put --runs on a disk that all machines share, or --set shard_classes=false",
            )
        return publish(temporary, folder, snapshot.identity) if rank == 0 else ""

    try:
        _everywhere(clear, folder, group)
        _everywhere(write, folder, group)
        return _everywhere(seal, folder, group)
    finally:
        if rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)


def _everywhere(work: Callable[[], str | None], folder: Path, group: Any) -> str:
    """Do a part of the work in every process; return what the leader's gave, or raise everywhere what one
    could not do.
    """
    told, fault = "", ""
    try:
        told = work() or ""
    except OSError as error:
        fault = write_fault(error, folder, 0).message
    except LrfrError as error:
        fault = error.message
    answers: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(answers, (told, fault), group=group)
    for rank, (_, other) in enumerate(answers):
        if other:
            raise EnvironmentFault(f"process {rank}: {other}", file=str(folder))
    return str(answers[0][0])
