"""Merging stores: views, bases, variants and columns of others come in, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import check_space, data_of, entries_of, make_folder, sha256_hex, sweep, write_if_other
from lrfr.core.lock import store_lock
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.build.ingest import Memory
from lrfr.pairs.build.look.landmark_file import account_files
from lrfr.pairs.care.merging.checked_copy import Copier, FileCopy, column_files, folder_files
from lrfr.pairs.executors.run_log import RunLog
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.shard import is_whole
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts
from lrfr.pairs.format.view_manifest import View


@dataclass(frozen=True)
class MergeOptions:
    """How stores come together.

    Attributes:
        rename: new names of views that come in, by their own.
        prefix: before the names of all other views that come in; ``{store}`` is the name of their folder.
        link: whether files may share their bytes with the other store (on one file system).
        allow_forgotten: whether faces may come in that the store was made to forget.
        dry_run: only say what would come in.

    """

    rename: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    link: bool = False
    allow_forgotten: bool = False
    dry_run: bool = False

    def name(self, view: str, store: StoreFiles) -> str:
        """Return the name under which a view comes in."""
        if view in self.rename:
            return self.rename[view]
        return self.prefix.replace("{store}", store.root.resolve().name) + view


@dataclass(frozen=True)
class CameIn:
    """One view, base, variant or column that came in."""

    kind: str
    name: str
    store: str


@dataclass(frozen=True)
class Merged:
    """What a merge did, or would do.

    Attributes:
        came: what was not there.
        found: number of views, bases, variants and columns that were there already.
        bytes: of the files of what came in.
        copied: bytes copied now (an earlier try may have copied some).
        dry_run: whether nothing was done.

    """

    came: tuple[CameIn, ...]
    found: int
    bytes: int
    copied: int
    dry_run: bool


@dataclass(frozen=True)
class _Piece:
    """A base, variant or column: its files, and the manifest that comes last."""

    came: CameIn
    files: tuple[FileCopy, ...]
    manifest: FileCopy


@dataclass
class _Plan:
    pieces: list[_Piece] = field(default_factory=list)
    small: list[FileCopy] = field(default_factory=list)
    views: dict[str, tuple[View, StoreFiles]] = field(default_factory=dict)
    found: int = 0

    @property
    def files(self) -> list[FileCopy]:
        """Every file, manifests behind what they name."""
        return [item for piece in self.pieces for item in (*piece.files, piece.manifest)] + self.small

    def has(self, manifest: Path) -> bool:
        """Return whether something comes in from another store already."""
        return any(piece.manifest.target == manifest for piece in self.pieces)


def merge(
    target: StoreFiles,
    others: Sequence[StoreFiles],
    options: MergeOptions | None = None,
    hooks: Hooks = SILENT,
) -> Merged:
    """Bring everything of other stores into one, which need not exist; the others stay as they are.

    Equal ids are stored once. Every file is compared with its digest while it is copied, manifests come after
    their files and views last. Killed or out of disk, the same call goes on.

    Raises:
        SpecError: a name stands for different views, or a store is merged into itself.
        DataError: a store is of an older layout or damaged, or faces would come in that the other store was
            made to forget.
        EnvironmentFault: the disk is full; what was there is as it was.
        LockedError: another process writes the store.
        Stopped: a stop was asked for; the same call goes on.

    """
    options = options or MergeOptions()
    for other in others:
        refuse_other_layouts(open_store(other.root))
        if other.root.resolve() == target.root.resolve():
            raise SpecError("a store cannot be merged into itself", file=str(other.root))
    refuse_other_layouts(target)
    if options.dry_run:
        return _told(_planned(target, others, options), 0, options)
    with RunLog(target.root, "(merge)") as log, store_lock(target.root):
        # asked again: a process that held the lock may have begun to forget
        for store in (target, *others):
            refuse_other_layouts(store)
        make_folder(target.tmp)
        sweep(target.tmp)
        plan = _planned(target, others, options)
        log.start()
        copied = _written(target, plan, options, hooks)
        done = _told(plan, copied, options)
        log.ended(came_in=len(done.came), found=done.found, bytes=done.bytes)
    return done


def _told(plan: _Plan, copied: int, options: MergeOptions) -> Merged:
    came = [piece.came for piece in plan.pieces]
    came += [CameIn("view", name, str(store.root)) for name, (_, store) in plan.views.items()]
    size = sum(item.bytes for item in plan.files)
    return Merged(tuple(came), plan.found, size, copied, options.dry_run)


def _planned(target: StoreFiles, others: Sequence[StoreFiles], options: MergeOptions) -> _Plan:
    plan = _Plan()
    for other in others:
        if not options.allow_forgotten:
            _refuse_forgotten(target, other)
        _plan_views(plan, target, other, options)
        for piece in _pieces(target, other):
            if piece is None or plan.has(piece.manifest.target):
                plan.found += 1
            else:
                plan.pieces.append(piece)
        plan.small += _small_files(target, other, options)
    return plan


def _plan_views(plan: _Plan, target: StoreFiles, other: StoreFiles, options: MergeOptions) -> None:
    missing = sorted(options.rename.keys() - {*other.views(), *target.views()})
    if missing:
        raise SpecError(f"no view '{missing[0]}' to rename", file=str(other.root))
    for name in other.views():
        view, new = other.view(name), options.name(name, other)
        target.view_path(new)
        there = (
            target.view(new) if new in target.views() else plan.views[new][0] if new in plan.views else None
        )
        if there is None:
            plan.views[new] = (replace(view, name=new), other)
        elif there.id == view.id:
            plan.found += 1
        else:
            raise SpecError(
                f"the view '{new}' is another one in {other.root}",
                file=str(target.view_path(new)),
                hint=f"--rename {name}=OTHER, or --prefix '{{store}}-'",
            )


def _refuse_forgotten(target: StoreFiles, other: StoreFiles) -> None:
    """Refuse faces that one of two stores holds and the other was made to forget."""
    for holder, forgetter in ((other, target), (target, other)):
        memory = Memory.of(forgetter)
        count = sum(_known(memory, holder, key) for key in holder.bases()) if memory else 0
        if count:
            raise DataError(
                f"{count} rows are of faces that {forgetter.root} was made to forget",
                file=str(holder.root),
                hint="forget them here too (lrfr store forget), or --allow-forgotten",
            )


def _known(memory: Memory, store: StoreFiles, base: str) -> int:
    table = store.rows(base)
    rows = range(len(table))
    return sum(
        memory.has_key(table.key(row)) or memory.has_content(bytes(table.digests[row]).hex()) for row in rows
    )


def _pieces(target: StoreFiles, other: StoreFiles) -> Iterator[_Piece | None]:
    """Yield the bases, variants and columns of another store; None for each that is here."""
    bases = [(other.base(key), target.base(key), other.base_manifest(key)) for key in other.bases()]
    variants = [(other.lr(key), target.lr(key), other.lr_manifest(key)) for key in other.variants()]
    folders: list[tuple[Path, Path, BaseManifest | VariantManifest]] = [*bases, *variants]
    for source, here, manifest in folders:
        if _is_here(here, target, manifest):
            yield None
            continue
        came = CameIn(manifest.kind, manifest.id, str(other.root))
        files = tuple(folder_files(source, here, manifest))
        yield _Piece(came, files, _sealed(source / "manifest.json", here / "manifest.json"))
    for base in other.bases():
        for path, chunks in column_files(other, target, base):
            came = CameIn("column", path.parent.name, str(other.root))
            there = target.root / path.relative_to(other.root)
            yield _Piece(came, tuple(chunks), _sealed(path, there))


def _is_here(folder: Path, target: StoreFiles, manifest: BaseManifest | VariantManifest) -> bool:
    if not (folder / "manifest.json").exists():
        return False
    is_base = isinstance(manifest, BaseManifest)
    there = target.base_manifest(manifest.id) if is_base else target.lr_manifest(manifest.id)
    return is_whole(folder, there.shards)


def _sealed(source: Path, target: Path) -> FileCopy:
    """Return the copy of a small file as it is now; a sealed one was checked when it was read."""
    data = data_of(source)
    return FileCopy(source, target, sha256_hex(data), len(data))


def _small_files(target: StoreFiles, other: StoreFiles, options: MergeOptions) -> Iterator[FileCopy]:
    """Yield masks, acts of forgetting and reports that are not here."""
    pairs = [(path, target.mask_path(path.stem)) for path in entries_of(other.part("masks"))]
    for act in other.acts():
        if act.state == "done":
            paths = (other.act_path(act.act), target.act_path(act.act))
            pairs += [(path.with_suffix(".npy"), there.with_suffix(".npy")) for path, there in [paths]]
            pairs.append(paths)
    for name in other.views():
        new = options.name(name, other)
        pairs += zip(account_files(other, name), account_files(target, new), strict=True)
    # what is told of a list comes behind the list
    for source, there in sorted(pairs, key=lambda pair: (pair[0].suffix == ".json", pair)):
        if source.exists() and not there.exists():
            found = _sealed(source, there)
            # a mask is called by its sha256
            yield replace(found, sha256=source.stem) if there.parent.name == "masks" else found


def _written(target: StoreFiles, plan: _Plan, options: MergeOptions, hooks: Hooks) -> int:
    """Write what is planned; return bytes copied."""
    if not options.link:
        check_space(target.root, sum(item.bytes for item in plan.files if not item.target.exists()))
    copier = Copier(target.tmp, options.link, hooks, sum(item.bytes for item in plan.files))
    for item in plan.files:
        copier.copy(item)
    for name, (view, _) in plan.views.items():
        make_folder(target.view_path(name).parent)
        write_if_other(target.view_path(name), view.seal(), target.tmp)
    return copier.copied
