"""Where everything lies in a store, and reading its manifests, row tables and views.

::

    store/base/<base_id>/     manifest.json  labels.npy, order.npy, ...  hr-00000.mdb + .json ...
    store/lr/<variant_id>/    manifest.json  lr-00000.mdb + .json ...
    store/views/<name>.json   parts (a base and its variants each), weights, row filter
    store/masks/<sha256>.npy  which rows of a base a view shows, a bit a row
    store/forgotten/          acts of forgetting and the salted digests of what may not come back
    store/reports/            per view: where its faces came from, and <name>.quarantine.jsonl
    store/tmp, store/cache, store/run.log      like the reports: nothing in them is ever hashed
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, as_path, check_kind, did_you_mean
from lrfr.core.files import entries_of, make_folder, sha256_hex, write_if_other
from lrfr.core.files.inside import part_of
from lrfr.pairs.format.disk.array_file import map_array
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.remote.address import is_address
from lrfr.pairs.format.remote.mirror import Mirror, as_mirrored, open_address
from lrfr.pairs.format.rows import StoredRows, check_file
from lrfr.pairs.format.sealed import check_layout, read_head
from lrfr.pairs.format.view_manifest import Forgetting, SourceReport, View, ViewPart

REPORT_HINT = "lrfr store repair removes it; make-pairs over the sources of the view writes it again"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PARTS = {"views", "base", "lr", "columns", "forgotten"}  # a store has one of them at least


@dataclass(frozen=True)
class StoreFiles:
    """A store folder, or the mirror (:mod:`lrfr.pairs.format.remote.mirror`) of a store at an address."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_of(self.root))

    def part(self, kind: str, name: str = "") -> Path:
        """Return what :func:`lrfr.core.files.inside.part_of` says; all of a store lies below one of these."""
        return part_of(self.root, kind, name)

    def base(self, base_id: str) -> Path:
        """Folder of a base."""
        return self.part("base", base_id)

    def lr(self, variant_id: str) -> Path:
        """Folder of a degraded variant."""
        return self.part("lr", variant_id)

    @property
    def tmp(self) -> Path:
        """Folder of temporary files."""
        return self.part("tmp")

    def view_path(self, name: str) -> Path:
        """File of a view.

        Raises:
            SpecError: the name could leave the folder.

        """
        check_kind(name, str, "the name of a view")
        if not _NAME.fullmatch(name):
            raise SpecError(
                f"'{name}' is no name for a view",
                hint="letters, digits, '.', '_' and '-', starting with a letter or digit",
            )
        return self.part("views") / f"{name}.json"

    def report_path(self, name: str) -> Path:
        """File that says where a view's faces came from."""
        return self.part("reports") / self.view_path(name).name

    def quarantine_path(self, name: str) -> Path:
        """List of the refused and remarked faces on the way to a view."""
        return self.report_path(name).with_name(f"{name}.quarantine.jsonl")

    def landmarks_path(self, name: str) -> Path:
        """Table of the landmarks that were found on the way to a view."""
        return self.report_path(name).with_name(f"{name}.landmarks.tsv")

    def views(self) -> list[str]:
        """Names of all views."""
        return sorted(path.stem for path in entries_of(self.part("views")) if path.suffix == ".json")

    def bases(self) -> list[str]:
        """Ids of all bases that have a manifest."""
        return self._finished("base")

    def variants(self) -> list[str]:
        """Ids of all LR stores that have a manifest."""
        return self._finished("lr")

    def _finished(self, kind: str) -> list[str]:
        return [path.name for path in entries_of(self.part(kind)) if (path / "manifest.json").exists()]

    def view(self, name: str) -> View:
        """Read a view.

        Raises:
            SpecError: there is no such store or view.
            DataError: the view is damaged or of another layout.

        """
        path = self.view_path(name)
        if not path.exists():
            mirror = Mirror.of(self.root)
            where = mirror.address.url if mirror else str(self.root)
            if not self.bases():
                raise SpecError("there is no store here", file=where, hint="lrfr make-pairs writes one")
            fate = self.fate(name)
            said = f"the view '{name}' was {fate}" if fate else f"no view '{name}'"
            raise SpecError(said, file=where, hint=did_you_mean(name, self.views()))
        return View.read(path)

    def report(self, name: str) -> SourceReport | None:
        """Return where a view's faces came from, None where that was not kept; damage is a DataError."""
        path = self.report_path(name)
        try:
            return SourceReport.read(path) if path.exists() else None
        except DataError as error:
            raise DataError(error.message, file=error.file, path=error.path, hint=REPORT_HINT) from None

    def base_manifest(self, base_id: str) -> BaseManifest:
        """Read and check a base's manifest."""
        self._check_there(self.base(base_id))
        found = BaseManifest.read(self.base(base_id) / "manifest.json")
        _check_id(found.id, base_id, self.base(base_id))
        return found

    def lr_manifest(self, variant_id: str) -> VariantManifest:
        """Read and check an LR store's manifest."""
        self._check_there(self.lr(variant_id))
        found = VariantManifest.read(self.lr(variant_id) / "manifest.json")
        _check_id(found.id, variant_id, self.lr(variant_id))
        return found

    def _check_there(self, folder: Path) -> None:
        fate = "" if (folder / "manifest.json").exists() else self.fate(folder.name)
        if fate:
            raise DataError(f"{folder.name} was {fate}", file=str(folder))

    def act_path(self, act: str) -> Path:
        """File of an act of forgetting; the digests lie beside it, as ``.npy``."""
        return self.part("forgotten") / f"{act}.json"

    def acts(self) -> list[Forgetting]:
        """Read the acts of forgetting, the oldest first."""
        paths = [path for path in entries_of(self.part("forgotten")) if path.suffix == ".json"]
        return sorted(map(Forgetting.read, paths), key=lambda act: (act.date, act.act))

    def digests_of(self, act: Forgetting) -> bytes:
        """Return the salted digests that an act keeps, 16 bytes each.

        Raises:
            DataError: the file is missing or damaged.

        """
        path = self.act_path(act.act).with_suffix(".npy")
        if act.digests is None:
            return b""
        check_file(path, act.digests)
        return bytes(map_array(path).tobytes())

    def fate(self, old: str) -> str:
        """Return what an act of forgetting did to the view (by id or name), base or variant ``old``, on one
        line; "" where none did.
        """
        moves = [(act, move) for act in self.acts() for move in act.moved if act.state != "begun"]
        found = [pair for pair in moves if old == pair[1].old or (old == pair[1].name and not pair[1].new)]
        if not found:
            return ""
        act, new = found[-1][0], found[-1][1].new
        later = {move.old: move.new for _, move in moves}
        # each once: a file of somebody else's may move things in a circle
        while new in later:
            new = later.pop(new)
        now = f"now {new}" if new else "nothing of it is left"
        return f"forgotten on {act.date[:10]} by act {act.act}; {now}"

    def former_views(self, ids: Iterable[str]) -> frozenset[str]:
        """Return ids of views with all that acts of forgetting have turned into them: what was trained on
        any of these saw faces that are forgotten now.
        """
        moves = [move for act in self.acts() for move in act.moved if move.kind == "view"]
        found, fresh = set[str](), set(ids)
        while fresh:
            found |= fresh
            fresh = {move.old for move in moves if move.new in fresh} - found
        return frozenset(found)

    def rows(self, base_id: str) -> StoredRows:
        """Return the row table of a base; its columns are checked and mapped as they are asked for."""
        return self.rows_of(self.base_manifest(base_id))

    def rows_of(self, base: BaseManifest) -> StoredRows:
        """Return the row table of a base whose manifest has been read."""
        return StoredRows(self.base(base.id), base.files, base.permutation_seed)

    def mask_path(self, sha256: str) -> Path:
        """File that says which rows of a base a view shows."""
        return self.part("masks") / f"{sha256}.npy"

    def shown(self, part: ViewPart, base: BaseManifest) -> NDArray[np.bool_] | None:
        """Return which rows of its base a part of a view shows, bool ``[rows]``; None for all.

        Raises:
            DataError: the mask is missing, damaged or of another base.

        """
        if part.mask is None:
            return None
        path, rows = self.mask_path(part.mask), base.rows
        check_file(path, part.mask)
        packed = map_array(path)
        if packed.dtype != np.uint8 or packed.shape != ((rows + 7) // 8,):
            raise DataError(f"a mask for other than {rows} rows", file=str(path), hint="lrfr store verify")
        return np.unpackbits(packed, count=rows).astype(bool)

    def write_mask(self, shown: NDArray[np.bool_]) -> str | None:
        """Write which rows of a base a view shows; return the file's sha256, None where it shows all."""
        if shown.all():
            return None
        packed = io.BytesIO()
        np.save(packed, np.packbits(shown), allow_pickle=False)
        sha256 = sha256_hex(packed.getvalue())
        make_folder(self.mask_path(sha256).parent)
        write_if_other(self.mask_path(sha256), packed.getvalue(), self.tmp)
        return sha256


def root_of(place: Path | str) -> Path:
    """Return the folder of a store, of one at an address that of its mirror.

    Raises:
        SpecError: no path or address, or no store at the address.
        EnvironmentFault: the address cannot be reached, or a package is missing.

    """
    elsewhere = isinstance(place, str) and is_address(place)
    return as_mirrored(open_address(str(place)) if elsewhere else as_path(place, "a store"))


def open_store(root: Path) -> StoreFiles:
    """Return the store at a folder.

    Raises:
        SpecError: there is none: no folder, or one in which nothing is of a store.

    """
    if not root.is_dir() or _PARTS.isdisjoint(path.name for path in entries_of(root)):
        raise SpecError("there is no store here", file=str(root), hint="lrfr make-pairs writes one")
    return StoreFiles(root)


def _check_id(found: str, expected: str, folder: Path) -> None:
    if found != expected:
        where = str(folder / "manifest.json")
        raise DataError(f"the manifest belongs to {found}", file=where, hint="lrfr store verify")


def refuse_other_layouts(store: StoreFiles) -> None:
    """Refuse a store that another version of lrfr has laid out (nothing in it is silently built anew, dropped
    or repaired) and one in which forgetting has not ended.

    Raises:
        DataError: says what to run.

    """
    for path in _headed(store):
        try:
            head = read_head(path)
        except DataError:
            continue  # damaged: whoever needs it says so
        check_layout(head, path)
    for act in store.acts():
        if act.state == "decided":
            raise DataError(
                f"forgetting {act.act} of {act.date[:10]} has not ended",
                file=str(store.act_path(act.act)),
                hint=f"lrfr store forget --store {store.root} goes on with it",
            )


def _headed(store: StoreFiles) -> list[Path]:
    parts = [path for kind in ("base", "lr") for path in entries_of(store.part(kind))]
    manifests = [path / "manifest.json" for path in parts if (path / "manifest.json").exists()]
    return manifests + [store.view_path(name) for name in store.views() if _NAME.fullmatch(name)]
