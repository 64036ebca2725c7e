"""Repairing a store: what is damaged is removed and written again, which is possible because writing is
deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import data_of, discard, make_folder, sha256_hex, sweep, write_if_other
from lrfr.core.files.inside import refuse_link
from lrfr.core.lock import store_lock
from lrfr.pairs.build.growth import meet
from lrfr.pairs.build.hr import hr_task, look, plan_base
from lrfr.pairs.build.look.face_search import FaceSearch
from lrfr.pairs.build.look.report_files import damaged_reports
from lrfr.pairs.build.lr import lr_task, variant_of
from lrfr.pairs.build.plan import BasePlan, base_options
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.build.tasks import HrTask, LrTask
from lrfr.pairs.care.verify import AnyManifest, check_folder, check_shard, read_folder
from lrfr.pairs.executors.base import refuse_while_imported
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.manifests import BaseManifest, shard_origins
from lrfr.pairs.format.reader import Folder
from lrfr.pairs.format.rows import row_files
from lrfr.pairs.format.shard import ShardPlace
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts
from lrfr.pairs.format.view_manifest import View


@dataclass
class Repaired:
    """What was written again, and what still needs a run of make-pairs."""

    rebuilt: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def repair(store: StoreFiles, ingest: Ingest | None = None, runner: Runner | None = None) -> Repaired:
    """Write every damaged shard again: LR from its base and spec, HR from the source where one is given.

    A damaged manifest, view or row table is removed; the next ``make-pairs`` with the same arguments finds
    all whole shards and writes it again.

    Raises:
        DataError: a rebuilt shard differs from what the manifest promises (another version of a library).
        SpecError: the source given is not the base's.

    """
    refuse_while_imported()
    refuse_other_layouts(store)
    runner, done = runner or Runner(), Repaired()
    with store_lock(open_store(store.root).root), runner.session():
        # asked again: a process that held the lock may have begun to forget
        refuse_other_layouts(store)
        make_folder(store.tmp)
        sweep(store.tmp)
        for key in store.bases():
            _repair_base(store, key, ingest, runner, done)
        for key in store.variants():
            _repair_lr(store, store.lr(key), runner, done)
        for name in store.views():
            try:
                view = store.view(name)
            except DataError:
                _drop(store.view_path(name), done)
            else:
                done.left += _damaged_masks(store, view)
            for path in damaged_reports(store, name):
                _drop(path, done)
    REGISTRY.clear()
    return done


def _damaged_masks(store: StoreFiles, view: View) -> list[str]:
    """Say which masks are damaged: only the sources know which rows a view showed."""
    left = []
    for part in view.parts:
        try:
            store.shown(part, store.base_manifest(part.base))
        except DataError as error:
            if part.mask and error.file == str(store.mask_path(part.mask)):
                left.append(f"{error.file}: run make-pairs again over all that view '{view.name}' showed")
    return left


def _drop(path: Path, done: Repaired) -> None:
    discard(path)
    done.removed.append(str(path))
    done.left.append(f"{path}: run make-pairs again to write it")


def _bad_places(folder: Path, manifest: AnyManifest) -> list[ShardPlace]:
    """Return the places of the damaged shards, as the manifest has laid them out."""
    rows = manifest.block_rows
    return [
        ShardPlace(
            folder, shard.shard, origin.store, origin.start, origin.start + shard.rows, rows, shard.start
        )
        for shard, origin in zip(manifest.shards, shard_origins(manifest), strict=True)
        if check_shard(folder, shard, (origin, rows))
    ]


def _repair_base(store: StoreFiles, key: str, ingest: Ingest | None, runner: Runner, done: Repaired) -> None:
    folder = store.base(key)
    if not check_folder(folder):
        return
    refuse_link(folder)
    try:
        manifest = store.base_manifest(key)
        Folder(folder, manifest)
    except DataError:
        _drop(folder / "manifest.json", done)
        return
    if ingest is None:
        done.left.append(f"{folder}: give the --source it was made from")
        return
    # the base's own options, whatever the caller's: a repair may not change what is in it
    crop = manifest.crop
    made = Prepare(crop.size_px, crop.quality, crop.color, crop.aligned, crop.finder)
    # landmarks that are given stand for those that were found then
    search, weights = None, ingest.search.detector.weights if ingest.search else None
    if crop.finder and not ingest.landmarks:
        search = FaceSearch.like(crop.finder, weights)
    ingest = replace(ingest, options=base_options(manifest, made), search=search)
    plan, ingest = _same_plan(store, manifest, ingest, runner)
    for name, data in row_files(plan.rows):
        if name not in manifest.files:
            continue  # a table in the form of older versions
        if not (folder / name).exists() or data_of(folder / name) != data:
            write_if_other(folder / name, data, store.tmp)
            done.rebuilt.append(str(folder / name))
    places = _bad_places(folder, manifest)
    tasks = [hr_task(store, ingest, plan, place, runner.scratch) for place in places]
    _rebuild(folder, places, tasks, runner, done)


def _same_plan(
    store: StoreFiles, base: BaseManifest, ingest: Ingest, runner: Runner
) -> tuple[BasePlan, Ingest]:
    """Return the plan of a base from its source, which may have grown since, and the source as it was looked
    at.
    """
    seen = look(store, ingest, runner)
    plan = plan_base(seen, ingest)
    if plan.base_id != base.id:
        try:
            rows = meet(plan.rows, store.rows_of(base)).same
            plan = plan.part(rows) if len(rows) else plan
        except DataError:
            pass  # without a whole table nobody knows which of the source's rows are the base's
    if plan.base_id != base.id:
        raise SpecError(
            f"this source gives the base {plan.base_id}, not {base.id}",
            hint="same source, landmarks and options as then",
        )
    return plan, seen.ingest(ingest)


def _repair_lr(store: StoreFiles, folder: Path, runner: Runner, done: Repaired) -> None:
    if not check_folder(folder):
        return
    refuse_link(folder)
    try:
        manifest = store.lr_manifest(folder.name)
        Folder(folder, manifest)
    except DataError:
        _drop(folder / "manifest.json", done)
        return
    base = base_of(store, manifest.content)
    if base is None:
        done.left.append(f"{folder}: its base is not whole; repair it first")
        return
    places, variant = _bad_places(folder, manifest), variant_of(manifest)
    tasks = [lr_task(store, base, [(variant, place)], runner.scratch, manifest.codec) for place in places]
    _rebuild(folder, places, tasks, runner, done)


def base_of(store: StoreFiles, content: str) -> BaseManifest | None:
    """Return the manifest of a whole base with this content."""
    for key in store.bases():
        if not check_folder(store.base(key)):
            manifest = store.base_manifest(key)
            if manifest.content == content:
                return manifest
    return None


def _rebuild(
    folder: Path,
    places: list[ShardPlace],
    tasks: Sequence[HrTask | LrTask],
    runner: Runner,
    done: Repaired,
) -> None:
    """Write shards again and compare them with the manifest."""
    # sidecars hold the sha256 of their data, so equal sidecars mean equal bytes
    promised = {shard.shard: shard.sidecar for shard in read_folder(folder).shards}
    # the files are about to be replaced; open maps would show the old ones
    REGISTRY.clear()
    for place in places:
        discard(place.sidecar)
        discard(place.data)
    images = sum(place.stop - place.start for place in places)
    runner.run(tasks, images * 1e-3, "repair", 0, images)
    for place in places:
        if not place.sidecar.exists() or sha256_hex(data_of(place.sidecar)) != promised[place.name]:
            raise DataError(
                "the rebuilt shard differs from the one that was lost",
                file=str(place.data),
                hint="another library version?",
            )
        done.rebuilt.append(str(place.data))
