"""Copying a view, with everything it needs and nothing else, to a folder or an address."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.core.files import unseal
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.pairs.build.look.landmark_file import account_files
from lrfr.pairs.export.copy_place import CopyPlace, CopySource, FolderPlace, place_of
from lrfr.pairs.format.remote.store_index import rank_of
from lrfr.pairs.format.sealed import MEND
from lrfr.pairs.format.store_files import StoreFiles, refuse_other_layouts
from lrfr.pairs.format.view_manifest import View
from lrfr.pairs.reading.view_files import Needed, NeededFolder, small, view_folders, view_masks

# at once: a disk is not faster by more, an object store is
THREADS_HERE, THREADS_AWAY = 2, 8
# shards, row tables, masks, and sidecars
LINKED_RANKS = (0, 1)


@dataclass(frozen=True)
class Copied:
    """What a copy did, or would do.

    Attributes:
        view: name.
        view_digest: its id.
        to: the place.
        copied, kept: number of files written, and of those that were there.
        bytes: of what was written, as far as manifests say it.
        dry_run: whether nothing was written.

    """

    view: str
    view_digest: str
    to: str
    copied: int
    kept: int
    bytes: int
    dry_run: bool


def copy_view(
    store: StoreFiles,
    view: str,
    to: Path | str,
    *,
    dry_run: bool = False,
    link: bool = False,
    hooks: Hooks = SILENT,
) -> Copied:
    """Copy a view: bases, variants, row tables, masks, columns, reports, and the index by which a web server
    serves it. Every byte is checked on its way; what is there is not copied again; a copy that was killed
    goes on, and until it has ended the view is not there.

    Args:
        store: where the view is.
        view: its name.
        to: a folder, or an address that can be written (``s3://``, ``gs://``, ``memory://``, ``file://``).
        dry_run: only say what would be copied.
        link: hard links in place of copies where both are on one device; damage is then shared.
        hooks: told of MB done.

    Raises:
        SpecError: there is no such view, or the place has another one of this name.
        DataError: a file of the store is damaged, or forgetting in it has not ended.
        LockedError: another process writes to the place.
        EnvironmentFault: the place cannot be written or reached, or has no room.

    """
    place = place_of(to)
    store.view(view)  # says so where there is none
    # as it is before anything is read of it: one that is extended meanwhile is not copied
    shown_file = small(store, f"views/{view}.json")
    shown = store.view(view)
    refuse_other_layouts(store)
    _refuse_other_view(place, shown, view)
    folders = list(view_folders(store, [view]))
    if dry_run:
        return _copied(place, shown, _Plan.of(place, folders, view_masks(store, view)), True)
    with place.opened(sum(folder.bytes for folder in folders) if _is_new(place, folders) else 0):
        plan = _Plan.of(place, folders, view_masks(store, view))
        source = CopySource(store.root)
        place.unlist(dict.fromkeys(plan.stale, ""))
        for path in sorted(plan.stale, key=rank_of, reverse=True):
            place.remove(path)
        _put_all(place, source, [*plan.missing, *plan.manifests], link, hooks)
        told = _told(store, view)
        there = place.has(told)
        last = [*(item for item in told if item.path not in there), shown_file]
        place.unlist({item.path: item.sha256 for item in last})
        _put_all(place, source, last, False, SILENT)
        place.seal()
    return _copied(place, shown, plan, False)


def _is_new(place: CopyPlace, folders: Sequence[NeededFolder]) -> bool:
    return not any(place.read(folder.manifest.path) for folder in folders[:1])


def _copied(place: CopyPlace, view: View, plan: _Plan, dry_run: bool) -> Copied:
    todo = [*plan.missing, *plan.manifests]
    size = sum(item.bytes or 0 for item in todo)
    return Copied(view.name, view.id, str(place), len(todo), plan.kept, size, dry_run)


@dataclass(frozen=True)
class _Plan:
    """What is to be written: data, then manifests; manifests of folders that are not whole go first."""

    missing: tuple[Needed, ...] = ()
    manifests: tuple[Needed, ...] = ()
    stale: tuple[str, ...] = ()
    kept: int = 0

    @classmethod
    def of(cls, place: CopyPlace, folders: Sequence[NeededFolder], masks: Sequence[Needed]) -> _Plan:
        """Return what a place lacks."""
        plan = cls()
        for folder in folders:
            plan = plan._with(place, folder)
        there = place.has(masks)
        todo = tuple(item for item in masks if item.path not in there)
        return replace(plan, missing=plan.missing + todo, kept=plan.kept + len(there))

    def _with(self, place: CopyPlace, folder: NeededFolder) -> _Plan:
        there = place.read(folder.manifest.path)
        own = _own_files(folder, there) if there else None
        if own is not None and len(place.has(own)) == len(own):
            # the same faces, perhaps in other shards: what is whole there stays as it is
            return replace(self, kept=self.kept + len(own) + 1)
        whole = place.has(folder.files)
        todo = tuple(item for item in folder.files if item.path not in whole)
        return replace(
            self,
            missing=self.missing + todo,
            manifests=(*self.manifests, folder.manifest),
            stale=self.stale + ((folder.manifest.path,) if there else ()),
            kept=self.kept + len(whole),
        )


def _own_files(folder: NeededFolder, manifest: bytes) -> tuple[Needed, ...] | None:
    """Return the files that a manifest at the place asks for, None where it is not one of this folder."""
    try:
        said = unseal(manifest, folder.manifest.path, MEND)
        if said.get("id", folder.path.rpartition("/")[2]) != folder.path.rpartition("/")[2]:
            return None
        if "chunks" in said:
            chunks = [*said["chunks"], *([said["present"]] if said.get("present") else [])]
            return tuple(Needed(f"{folder.path}/{i['file']}", i["sha256"], i["bytes"]) for i in chunks)
        rows = [Needed(f"{folder.path}/{name}", sha256) for name, sha256 in said.get("files", {}).items()]
        data = [Needed(f"{folder.path}/{i['shard']}.mdb", i["sha256"], i["bytes"]) for i in said["shards"]]
        cars = [Needed(f"{folder.path}/{i['shard']}.json", i["sidecar"]) for i in said["shards"]]
        return (*rows, *data, *cars)
    except (LrfrError, KeyError, TypeError, AttributeError):
        return None


def _refuse_other_view(place: CopyPlace, view: View, name: str) -> None:
    """Refuse to write over a view that is no earlier state of this one.

    Raises:
        SpecError: it is not.

    """
    there = place.read(f"views/{name}.json")
    if there is None:
        return
    try:
        said = unseal(there, f"views/{name}.json", MEND)
        parts = {part["base"] for part in said["parts"]}
    except (DataError, KeyError, TypeError):
        return  # damaged: made whole
    if said.get("id") not in (view.id, *view.former) and not parts <= {part.base for part in view.parts}:
        hint = "copy to another place, or remove that view first"
        raise SpecError(f"another view '{name}' is there already", file=str(place), hint=hint)


def _told(store: StoreFiles, view: str) -> list[Needed]:
    """Return what was forgotten, which stays so in the copy, and the report on a view, with their lists."""
    acts = [path for act in _acts(store) for path in (act.with_suffix(".npy"), act)]
    paths = [path for path in [*acts, *account_files(store, view)] if path.exists()]
    return [small(store, path.relative_to(store.root).as_posix()) for path in paths]


def _acts(store: StoreFiles) -> list[Path]:
    return [store.act_path(act.act) for act in store.acts() if act.state == "done"]


def _put_all(place: CopyPlace, source: CopySource, items: Sequence[Needed], link: bool, hooks: Hooks) -> None:
    """Write files, those of one rank in threads; the first fault ends it once what runs has ended."""
    done, total = 0, sum(item.bytes or 0 for item in items)
    threads = THREADS_HERE if isinstance(place, FolderPlace) else THREADS_AWAY
    for rank, group in groupby(sorted(items, key=_rank), key=_rank):
        pool = ThreadPoolExecutor(threads, thread_name_prefix="lrfr-copy")
        try:
            shared = link and rank in LINKED_RANKS
            waiting = [(item, pool.submit(place.put, source, item, shared)) for item in group]
            for item, result in waiting:
                if hooks.stopping():
                    raise Stopped
                result.result()
                done += item.bytes or 0
                hooks.progress(done >> 20, total >> 20, phase="copy")
        finally:
            pool.shutdown(cancel_futures=True)


def _rank(item: Needed) -> int:
    return rank_of(item.path)
