"""Looking at a store, comparing two, and removing what no view uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.files import differences, read_sealed
from lrfr.core.files.inside import clear_out, own_entries
from lrfr.core.lock import store_lock
from lrfr.pairs.build.look.landmark_file import account_files
from lrfr.pairs.build.look.report_files import gone_reports
from lrfr.pairs.columns.column_manifest import columns_of, unfinished_columns
from lrfr.pairs.format.manifests import ShardEntry
from lrfr.pairs.format.sealed import MEND
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts
from lrfr.pairs.format.view_manifest import View

if TYPE_CHECKING:  # a listing needs no image library
    from lrfr.pairs.care.verify import AnyManifest

# parts of a store of which a view must use each entry; what names others goes before them
_COLLECTED = ("columns", "lr", "masks", "base")


@dataclass(frozen=True)
class ViewLine:
    """A view in a listing: its name, how many parts and variants it has, and rows its parts have."""

    view: str
    parts: int
    variants: int
    rows: int


@dataclass(frozen=True)
class PartLine:
    """A base or variant in a listing.

    Attributes:
        id: of the part.
        kind: ``base`` or ``lr``.
        rows: number of faces.
        shards: number of files.
        bytes: of all shards.
        views: names of the views that use it.

    """

    id: str
    kind: str
    rows: int
    shards: int
    bytes: int
    views: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return what a listing shows; sizes in MB, views in one text."""
        said = {"id": self.id, "kind": self.kind, "rows": self.rows, "shards": self.shards}
        return {**said, "MB": round(self.bytes / 1e6, 2), "views": ", ".join(self.views) or "-"}


@dataclass(frozen=True)
class Listing:
    """What a store holds."""

    views: tuple[ViewLine, ...]
    parts: tuple[PartLine, ...]


@dataclass(frozen=True)
class Collected:
    """What no view used: paths relative to the store, and their bytes."""

    removed: tuple[str, ...]
    bytes: int
    dry_run: bool


def listing(root: Path) -> Listing:
    """Return every view, base and variant with rows, shards and bytes.

    Raises:
        SpecError: there is no store.
        DataError: a view or manifest is damaged or of another layout.

    """
    store = open_store(root)
    views = {name: store.view(name) for name in store.views()}
    users: dict[str, list[str]] = {}
    for name, view in views.items():
        for key in view.stores:
            users.setdefault(key, []).append(name)
    manifests: list[AnyManifest] = [store.base_manifest(key) for key in store.bases()]
    manifests += [store.lr_manifest(key) for key in store.variants()]
    rows_of = {manifest.id: manifest.rows for manifest in manifests}
    lines = tuple(
        ViewLine(
            name,
            len(view.parts),
            len(view.variants),
            sum(rows_of.get(part.base, 0) for part in view.parts),
        )
        for name, view in views.items()
    )
    return Listing(lines, tuple(_line(manifest, users.get(manifest.id, [])) for manifest in manifests))


def _line(manifest: AnyManifest, users: list[str]) -> PartLine:
    shards = manifest.shards
    return PartLine(
        manifest.id, manifest.kind, manifest.rows, len(shards), bytes_of(shards), tuple(sorted(users))
    )


def bytes_of(shards: Iterable[ShardEntry]) -> int:
    """Return the bytes of some shards."""
    return sum(shard.bytes for shard in shards)


def describe(root: Path, name: str) -> View | AnyManifest:
    """Return one view by its name, or one base or variant by its id.

    Raises:
        SpecError: nothing has this name.

    """
    store = open_store(root)
    if name in store.views():
        return store.view(name)
    if name in store.bases():
        return store.base_manifest(name)
    if name in store.variants():
        return store.lr_manifest(name)
    fate = store.fate(name)
    if fate:
        raise SpecError(f"{name} was {fate}", file=str(root))
    raise SpecError(
        f"nothing here is called '{name}'",
        file=str(root),
        hint=did_you_mean(name, [*store.views(), *store.bases(), *store.variants()]),
    )


def diff(left: Path, right: Path) -> list[str]:
    """Return the differences between two stores, or two base or LR folders, as lines; an empty list means
    equal data.

    Compares what was committed (manifests and views), not the files: ``verify`` proves that those agree. How
    rows are cut into shards is no difference of data, but is one of bytes, and is shown.
    """
    if (left / "manifest.json").exists() and (right / "manifest.json").exists():
        return _diff(left / "manifest.json", right / "manifest.json", "")
    lines = []
    first, second = _catalog(open_store(left)), _catalog(open_store(right))
    for name in sorted({*first, *second}):
        if name not in second:
            lines.append(f"only in {left}: {name}")
        elif name not in first:
            lines.append(f"only in {right}: {name}")
        else:
            lines += _diff(first[name], second[name], name)
    return lines


def _catalog(store: StoreFiles) -> dict[str, Path]:
    found = {f"base {key}": store.base(key) / "manifest.json" for key in store.bases()}
    found |= {f"lr {key}": store.lr(key) / "manifest.json" for key in store.variants()}
    return found | {f"view {name}": store.view_path(name) for name in store.views()}


def _diff(left: Path, right: Path, place: str) -> list[str]:
    first, second = ({**read_sealed(path, MEND), "digest": ""} for path in (left, right))
    return [f"{where}: {one!r} != {other!r}" for where, one, other in differences(first, second, place)]


def gc(root: Path, dry_run: bool = False) -> Collected:
    """Remove what no view uses: bases, variants, unfinished builds, reports on views that are gone, temporary
    files.

    Raises:
        DataError: a view is damaged or of another layout, or there are bases and no view, so what is used
            cannot be known; nothing is removed.
        EnvironmentFault: the views, or what they may use, cannot be listed; nothing is removed.

    """
    store = open_store(root)
    with store_lock(root):
        refuse_other_layouts(store)
        _check_views_known(store)
        used = _used(store)
        found = [path for kind in _COLLECTED for path in own_entries(root, kind)]
        doomed = gone_reports(store, used) + [path for path in found if path not in used]
        doomed += [path for path in unfinished_columns(store) if path.parent not in doomed]
        doomed += own_entries(root, "tmp")
        size = sum(_size_of(path) for path in doomed)
        if not dry_run:
            clear_out(doomed, store.tmp)
    return Collected(tuple(str(path.relative_to(root)) for path in doomed), size, dry_run)


def _check_views_known(store: StoreFiles) -> None:
    """Refuse to take a store without a view for one of which nothing is used: its views may be elsewhere, or
    it is no store.
    """
    if not store.views() and any(own_entries(store.root, kind) for kind in (*_COLLECTED, "tmp")):
        raise DataError(
            "there is no view: whatever used what lies here cannot be seen, so nothing is removed",
            file=str(store.root / "views"),
            hint="bring the views back, write one by make-pairs, or remove the whole folder yourself",
        )


def _used(store: StoreFiles) -> set[Path]:
    used: set[Path] = set()
    for name in store.views():
        view = store.view(name)
        for part in view.parts:
            used |= {store.base(part.base), *map(store.lr, part.lr), columns_of(store, part.base)}
            used |= {store.mask_path(part.mask)} if part.mask else set()
        used |= {*account_files(store, name)}
    return used


def _size_of(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(item.lstat().st_size for item in path.rglob("*") if item.is_file())
