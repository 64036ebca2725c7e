"""Repairing a store: what is damaged is removed and written again, which is possible because writing is
deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import (
    canonical,
    discard,
    make_folder,
    read_sealed,
    seal,
    sha256_hex,
    sweep,
    write_atomic,
)
from lrfr.core.lock import store_lock
from lrfr.pairs.build.hr import hr_places, hr_task, plan_base
from lrfr.pairs.build.plan import BLOCK_ROWS, LR_BLOCK_ROWS, BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.build.tasks import LrTask
from lrfr.pairs.care.verify import check_folder, check_shard
from lrfr.pairs.executors.base import refuse_while_imported
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.lmdb_files import REGISTRY
from lrfr.pairs.format.shard import ShardPlace
from lrfr.pairs.store import Store, pack_rows


@dataclass
class Repaired:
    """What was written again, and what still needs a run of make-pairs."""

    rebuilt: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def repair(store: Store, ingest: Ingest | None, runner: Runner) -> Repaired:
    """Write every damaged shard again: LR from its base and spec, HR from the source where one is given.

    A damaged manifest, view or row table is removed; the next ``make-pairs`` with the same arguments finds
    all whole shards and writes it again.

    Raises:
        DataError: a rebuilt shard differs from what the manifest promises (another version of a library).
        SpecError: the source given is not the base's.

    """
    refuse_while_imported()
    done = Repaired()
    with store_lock(store.root), runner.session():
        make_folder(store.tmp)
        sweep(store.tmp)
        for key in store.bases():
            _repair_base(store, key, ingest, runner, done)
        for key in store.actions():
            _repair_lr(store, store.lr(key), runner, done)
        for name in store.views():
            try:
                store.view(name)
            except DataError:
                _drop(store.view_path(name), done)
    REGISTRY.clear()
    return done


def _drop(path: Path, done: Repaired) -> None:
    discard(path)
    done.removed.append(str(path))
    done.left.append(f"{path}: run make-pairs again to write it")


def _bad_shards(folder: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [shard for shard in manifest["shards"] if check_shard(folder, manifest, shard)]


def _repair_base(store: Store, key: str, ingest: Ingest | None, runner: Runner, done: Repaired) -> None:
    folder = store.base(key)
    if not check_folder(folder):
        return
    try:
        manifest = store.base_manifest(key)
    except DataError:
        _drop(folder / "manifest.json", done)
        return
    if ingest is None:
        done.left.append(f"{folder}: give the --source it was made from")
        return
    access = next(name for name, rows in BLOCK_ROWS.items() if rows == manifest["block_rows"])
    ingest = replace(
        ingest, options=BaseOptions(Prepare(**manifest["prepare"]), manifest["permutation_seed"], access)
    )
    planned = plan_base(store, ingest, runner)
    if planned.plan.base_id != key:
        raise SpecError(
            f"this source gives the base {planned.plan.base_id}, not {key}",
            hint="same source and options as then",
        )
    for name, data in {**pack_rows(planned.plan.rows), "quarantine.jsonl": planned.quarantine}.items():
        if (
            not (folder / name).exists()
            or sha256_hex((folder / name).read_bytes()) != manifest["files"][name]
        ):
            write_atomic(folder / name, data, store.tmp)
            done.rebuilt.append(str(folder / name))
    bad = {shard["shard"] for shard in _bad_shards(folder, manifest)}
    places = [place for place in hr_places(store, planned.plan) if place.name in bad]
    tasks = [hr_task(store, ingest, planned.plan, place, runner.scratch) for place in places]
    _rebuild(folder, places, tasks, runner, done)


def _repair_lr(store: Store, folder: Path, runner: Runner, done: Repaired) -> None:
    if not check_folder(folder):
        return
    try:
        manifest = store.lr_manifest(folder.name)
    except DataError:
        _drop(folder / "manifest.json", done)
        return
    base = _base_of(store, manifest["content"])
    if base is None:
        done.left.append(f"{folder}: its base is not whole; repair it first")
        return
    places = []
    for shard in _bad_shards(folder, manifest):
        stop = shard["start"] + shard["rows"]
        places.append(ShardPlace(folder, shard["shard"], manifest["id"], shard["start"], stop, LR_BLOCK_ROWS))
    _rebuild(
        folder, places, [_lr_task(store, base, manifest, place, runner) for place in places], runner, done
    )


def _base_of(store: Store, content: str) -> dict[str, Any] | None:
    """Return the manifest of a whole base with this content."""
    for key in store.bases():
        if not check_folder(store.base(key)):
            manifest = store.base_manifest(key)
            if manifest["content"] == content:
                return manifest
    return None


def _lr_task(
    store: Store, base: dict[str, Any], manifest: dict[str, Any], place: ShardPlace, runner: Runner
) -> LrTask:
    form = manifest["form"]
    spec = dict(manifest["spec"])
    if form["up"]:
        spec["store"] = {"lr": form["lr"], "up": form["up"]}
    return LrTask(
        place=place,
        tmp=store.tmp,
        scratch=runner.scratch,
        base=store.base(base["id"]),
        base_digest=base["digest"],
        spec=canonical(spec).decode(),
        variant=manifest["variant"],
        upsampled=form["lr"] == "upsampled",
        traces=form["traces"],
    )


def _rebuild(
    folder: Path, places: list[ShardPlace], tasks: list[Any], runner: Runner, done: Repaired
) -> None:
    """Write shards again and compare them with the manifest."""
    manifest = read_sealed(folder / "manifest.json")
    REGISTRY.clear()
    for place in places:
        discard(place.sidecar)
        discard(place.data)
    images = sum(place.stop - place.start for place in places)
    reports = runner.run(tasks, images * 1e-3, "repair", 0, images)
    for place, report in zip(places, reports, strict=True):
        promised = next(shard for shard in manifest["shards"] if shard["shard"] == place.name)
        if sha256_hex(seal(report.sidecar)) != promised["sidecar"]:
            raise DataError(
                "the rebuilt shard differs from the one that was lost",
                file=str(place.data),
                hint="another library version?",
            )
        done.rebuilt.append(str(place.data))
