"""The act of forgetting faces: everything without them is written beside what is there, then every view
moves, then what is old goes.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lrfr.core.errors import SpecError
from lrfr.core.files import make_folder, sha256_hex, sweep, sync_folder, write_atomic
from lrfr.core.files.inside import own_entries, remove
from lrfr.core.lock import store_lock
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.care.forgetting.asked_rows import Asked, Found, find_rows
from lrfr.pairs.care.forgetting.name_scrub import Names, scrub
from lrfr.pairs.care.forgetting.shard_rewrite import Rewriter, Work, cuts
from lrfr.pairs.care.forgetting.view_move import Moves, array_bytes, moves_of, planned_moves, settle
from lrfr.pairs.executors.run_log import RunLog
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts
from lrfr.pairs.format.view_manifest import Forgetting, Moved

SHOWN_NAMES = 20


@dataclass(frozen=True)
class Forgotten:
    """What forgetting did, or would do.

    Attributes:
        act: id of the act, "" where nothing was done.
        asked: what the list held: ``ids`` or ``keys``.
        names: number of names in the list.
        unknown: those that match nothing.
        faces: that were forgotten.
        records: HR and LR images removed.
        shards_rewritten, shards_taken_over: files that held some of them, and files that held none.
        bytes_read: of the shards that were rewritten, before.
        same_bytes: faces that stay although they have the source bytes of one that goes.
        moved: ids of views, bases and variants before and after.
        views_removed: names of views of which nothing is left.
        other_files: files in the folder that are not lrfr's and hold a name.
        dry_run: whether nothing was done.

    """

    act: str
    asked: str
    names: int
    unknown: tuple[str, ...]
    faces: int
    records: int = 0
    shards_rewritten: int = 0
    shards_taken_over: int = 0
    bytes_read: int = 0
    same_bytes: int = 0
    moved: tuple[Moved, ...] = ()
    views_removed: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()
    dry_run: bool = False

    def told(self) -> Iterator[str]:
        """Yield what was done, as lines."""
        would = "would be " if self.dry_run else ""
        yield f"{self.faces} faces {would}forgotten: {self.records} HR and LR images"
        if self.unknown:
            named = ", ".join(map(repr, self.unknown[:SHOWN_NAMES]))
            more = ", ..." if len(self.unknown) > SHOWN_NAMES else ""
            yield f"{len(self.unknown)} of {self.names} {self.asked} match nothing: {named}{more}"
        if self.shards_rewritten or self.shards_taken_over:
            written = f"{self.shards_rewritten} shards ({self.bytes_read / 1e6:.2f} MB) {would}written anew"
            yield f"{written}, {self.shards_taken_over} {would}taken over as they lie"
        if self.same_bytes:
            yield f"{self.same_bytes} faces that stay have the same bytes under other keys"
        for move in self.moved:
            if move.kind == "view":
                now = move.new or "removed: none of its faces is left"
                yield f"view '{move.name}' {move.old} -> {now}"
        for path in self.other_files:
            yield f"{path} is not lrfr's and names some of them: remove it"
        if self.act:
            yield f"act {self.act}"

    @property
    def old_views(self) -> frozenset[str]:
        """Ids of the views that showed forgotten faces."""
        return frozenset(move.old for move in self.moved if move.kind == "view")


def forget(store: StoreFiles, asked: Asked, dry_run: bool = False, hooks: Hooks = SILENT) -> Forgotten:
    """Remove faces from every base, variant, column, view and text of a store.

    Only shards that hold some of them are written anew. Bytes, keys and the names of identities of which
    nothing is left are gone from the folder afterwards; salted digests stay, by which make-pairs leaves the
    faces out. A view that showed some gets the id of what it shows now. Killed at any moment, the same call
    goes on; until the views move, readers see all that was there.

    Args:
        store: where.
        asked: identities or keys.
        dry_run: only say what would be done.
        hooks: told of shards done, asked whether to stop.

    Raises:
        SpecError: there is no store, or a part of it is a link to elsewhere.
        DataError: something is damaged, so what it holds cannot be known; nothing was done.
        EnvironmentFault: the disk is full; everything old is there, the same call goes on.
        LockedError: another process writes this store.
        Stopped: a stop was asked for; the same call goes on.

    """
    open_store(store.root)
    with RunLog(store.root, "(forget)") as log, store_lock(store.root):
        make_folder(store.tmp)
        sweep(store.tmp)
        ended = [] if dry_run else finish(store)
        refuse_other_layouts(store)
        _refuse_links(store)
        found = find_rows(store, asked)
        if not found.doomed:
            nothing = Forgotten("", asked.kind, len(asked.names), found.unknown, 0, dry_run=dry_run)
            return _before(store, ended, asked) or nothing
        if dry_run:
            return _planned(store, asked, found)
        log.start()
        done = _act(store, asked, found, hooks)
        log.ended(act=done.act, asked=done.asked, names=done.names, faces=done.faces, records=done.records)
    return done


def _refuse_links(store: StoreFiles) -> None:
    for kind in ("base", "lr", "columns"):
        for path in sorted((store.root / kind).glob("*")):
            if path.is_symlink():
                raise SpecError(
                    "a link: the faces lie elsewhere, where nothing is removed",
                    file=str(path),
                    hint="put the folder itself in its place",
                )


def _before(store: StoreFiles, ended: Sequence[Forgetting], asked: Asked) -> Forgotten | None:
    """Return what an earlier try of the same call did, where this one has only ended it."""
    for act in ended:
        if act.request == _request(act.salt, asked):
            return _told(act, ())
    return None


def _told(act: Forgetting, unknown: tuple[str, ...]) -> Forgotten:
    gone = tuple(move.name for move in act.moved if move.kind == "view" and not move.new)
    done = Forgotten(act.act, act.asked, act.names, unknown, act.faces, act.records, moved=act.moved)
    return replace(done, views_removed=gone)


def _request(salt: str, asked: Asked) -> str:
    text = "\0".join((asked.kind, *asked.names)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, key=bytes.fromhex(salt), digest_size=32).hexdigest()


def _planned(store: StoreFiles, asked: Asked, found: Found) -> Forgotten:
    """Say what an act would touch."""
    work = Work()
    contents = {item.base.content: item.kept for item in found.doomed}
    folders = [(item.base, item.kept) for item in found.doomed]
    every = [store.lr_manifest(key) for key in store.variants()]
    folders += [(one, contents[one.content]) for one in every if one.content in contents]  # type: ignore[misc]
    for manifest, kept in folders:
        some = cuts(manifest, kept)
        work.records += manifest.rows - len(kept)
        work.rewritten += sum(not cut.whole for cut in some)
        work.taken_over += sum(cut.whole for cut in some)
        work.bytes += sum(cut.entry.bytes for cut in some if not cut.whole)
    moved = planned_moves(store, found.doomed)
    gone = tuple(move.name for move in moved if move.kind == "view" and not move.new)
    done = _worked("", asked, found, work)
    return replace(done, moved=moved, views_removed=gone, dry_run=True)


def _worked(act: str, asked: Asked, found: Found, work: Work) -> Forgotten:
    return Forgotten(
        act,
        asked.kind,
        len(asked.names),
        found.unknown,
        len(found.keys),
        work.records,
        work.rewritten,
        work.taken_over,
        work.bytes,
        found.same_bytes,
    )


def _act(store: StoreFiles, asked: Asked, found: Found, hooks: Hooks) -> Forgotten:
    act = replace(_begun(store, asked), faces=len(found.keys))
    make_folder(store.act_path(act.act).parent)
    _write(store, act)
    # while the names are known: what ends a killed act later does not know them
    names = Names.of(found.keys, found.labels)
    others = scrub(store, names)
    for path in own_entries(store.root, "cache"):
        remove(path)
    work = Work()
    moves = _rewritten(store, found, Rewriter(store, hooks, work))
    moved = moves_of(store, moves)
    data = array_bytes(found.digests(act.salt))
    write_atomic(store.act_path(act.act).with_suffix(".npy"), data, store.tmp)
    # a view may be called like somebody
    kept = tuple(replace(move, name="") if names.found_in(move.name) else move for move in moved)
    act = replace(act, records=work.records, moved=kept, digests=sha256_hex(data), state="decided")
    _write(store, act)
    finish(store)
    done = _worked(act.act, asked, found, work)
    gone = _told(replace(act, moved=moved), ()).views_removed
    return replace(done, moved=moved, views_removed=gone, other_files=tuple(others))


def _rewritten(store: StoreFiles, found: Found, rewriter: Rewriter) -> Moves:
    """Write what is left of every base and of every variant of it."""
    moves, kept, content = Moves(), {}, {}
    for item in found.doomed:
        rows = kept[item.base.content] = item.kept
        if len(rows):
            made = rewriter.base(item)
            content[item.base.content] = made.content
        moves.bases[item.base.id] = made.id if len(rows) else ""
        if not len(rows):
            rewriter.work.records += item.base.rows
    for key in store.variants():
        old = store.lr_manifest(key)
        if old.content in content:
            moves.variants[key] = rewriter.variant(old, kept[old.content], content[old.content]).id
        elif old.content in kept:
            moves.variants[key] = ""
            rewriter.work.records += old.rows
    return moves


def _begun(store: StoreFiles, asked: Asked) -> Forgetting:
    """Return the act that the same call began, or a new one; one that another call began is dropped."""
    acts = store.acts()
    for act in [act for act in acts if act.state == "begun"]:
        if act.request == _request(act.salt, asked):
            return act
        remove(store.act_path(act.act))
    # one salt a store: make-pairs then hashes every key once
    salt = acts[0].salt if acts else secrets.token_hex(16)
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Forgetting(secrets.token_hex(8), date, asked.kind, len(asked.names), salt, _request(salt, asked))


def _write(store: StoreFiles, act: Forgetting) -> None:
    write_atomic(store.act_path(act.act), act.seal(), store.tmp)


def finish(store: StoreFiles) -> list[Forgetting]:
    """End the acts whose writing is done: move the views, remove what is old; the caller holds the lock.

    Returns:
        The acts that were ended.

    """
    open_ = [act for act in store.acts() if act.state == "decided"]
    for act in open_:
        settle(store, act)
        # maps of files that are gone would keep their bytes on disk
        REGISTRY.clear()
        for kind in ("base", "lr", "columns", "masks"):
            if (store.root / kind).is_dir():
                # what is said to be gone may not come back after a power cut
                sync_folder(store.root / kind)
        _write(store, replace(act, state="done"))
    return open_


def resume(store: StoreFiles) -> list[Forgetting]:
    """End the acts whose writing is done; return them.

    Raises:
        SpecError: there is no store.
        LockedError: another process writes this store.

    """
    open_store(store.root)
    with store_lock(store.root):
        return finish(store)
