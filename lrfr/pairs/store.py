"""A pair store as one object: its views and manifests, and everything that can be done with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import as_path, check_flags, check_kind
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.care import compact as compaction
from lrfr.pairs.care import data_card, inventory
from lrfr.pairs.care import repair as mending
from lrfr.pairs.care import verify as verification
from lrfr.pairs.care import verify_address as address_check
from lrfr.pairs.care.forgetting import forget as forgetting
from lrfr.pairs.care.forgetting.asked_rows import Asked
from lrfr.pairs.care.forgetting.forget import Forgotten
from lrfr.pairs.care.merging import merge as merging
from lrfr.pairs.care.merging import view_choice, view_join
from lrfr.pairs.care.merging.view_choice import ColumnRange
from lrfr.pairs.columns import column_store
from lrfr.pairs.columns.column_store import ColumnLine, ColumnWritten
from lrfr.pairs.columns.column_write import ImageFunction
from lrfr.pairs.columns.given_values import Values
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.remote.mirror import Mirror
from lrfr.pairs.format.store_files import StoreFiles, open_store, root_of
from lrfr.pairs.format.view_manifest import View

if TYPE_CHECKING:
    from lrfr.pairs.export.formats import Exported, PairChoice
    from lrfr.pairs.export.view_copy import Copied


class Store(StoreFiles):
    """A store folder: ``Store("store").view("default")``, ``.verify()``, ``.card()``, ...

    Besides what is below it reads views (:meth:`view`, :meth:`views`), manifests (:meth:`base_manifest`,
    :meth:`lr_manifest`), row tables (:meth:`rows`) and reports (:meth:`report`).

    Args:
        root: the folder, as text or path; or an address (``s3://bucket/store``, ``https://host/store``, also
            ``gs://``, ``file://``, ``memory://``), which is read through a cache on this machine's disk and
            never written: ``LRFR_CACHE_DIR`` and ``LRFR_CACHE_BYTES`` say where and how large it may be.

    """

    def verify(self, deep: bool = False, hooks: Hooks = SILENT) -> list[verification.Finding]:
        """Check every byte; with ``deep`` every record and pixel. No finding: all is as it was written.

        Of a store at an address every file of its views is read there, and nothing of it is kept.
        """
        check_kind(hooks, Hooks, "hooks: a lrfr.Hooks")
        check_flags(deep=deep)
        mirror = Mirror.of(self.root)
        if mirror:
            return address_check.verify_address(self, mirror, deep, hooks)
        return verification.verify(open_store(self.root), deep, hooks)

    def copy(
        self,
        view: str,
        to: str | Path,
        *,
        dry_run: bool = False,
        link: bool = False,
        hooks: Hooks = SILENT,
    ) -> Copied:
        """Copy a view, with everything it needs and nothing else, to a folder or an address; see
        :func:`lrfr.pairs.export.view_copy.copy_view`.
        """
        from lrfr.pairs.export.view_copy import copy_view

        check_kind(hooks, Hooks, "hooks: a lrfr.Hooks")
        check_flags(dry_run=dry_run, link=link)
        return copy_view(self, view, to, dry_run=dry_run, link=link, hooks=hooks)

    def repair(
        self, ingest: Ingest | None = None, runner: Runner | None = None, hooks: Hooks | None = None
    ) -> mending.Repaired:
        """Write damaged shards again: LR from its base, HR from the source it was made from.

        Raises:
            SpecError: the source is not the base's.
            DataError: a rebuilt shard differs from the one that was lost.

        """
        check_kind(hooks, Hooks | None, "hooks: a lrfr.Hooks")
        check_kind(runner, Runner | None, "runner: a Runner")
        runner = runner or Runner()
        return mending.repair(self, ingest, replace(runner, hooks=hooks) if hooks else runner)

    def gc(self, dry_run: bool = False) -> inventory.Collected:
        """Remove what no view uses.

        Raises:
            DataError: a view is damaged; nothing is removed.

        """
        check_flags(dry_run=dry_run)
        return inventory.gc(self.root, dry_run)

    def compact(self, view: str = "default", hooks: Hooks = SILENT) -> compaction.Compacted:
        """Copy the parts of a view into one base; its id, order and pixels stay.

        Raises:
            SpecError: there is no such view.
            DataError: a part is damaged.

        """
        return compaction.compact(self, view, hooks)

    def forget(
        self,
        ids: Iterable[str] | None = None,
        keys: Iterable[str] | None = None,
        *,
        dry_run: bool = False,
        hooks: Hooks = SILENT,
    ) -> Forgotten:
        """Remove faces for good: every image of some identities, or the faces of some keys; see
        :func:`lrfr.pairs.care.forgetting.forget.forget`.

        Raises:
            SpecError: neither ids nor keys, or both.
            DataError: something is damaged, so what it holds cannot be known; nothing was done.
            EnvironmentFault, LockedError, Stopped: the same call goes on.

        """
        return forgetting.forget(self, Asked.of(ids, keys), dry_run, hooks)

    def merge(
        self,
        *others: str | Path | StoreFiles,
        options: merging.MergeOptions | None = None,
        hooks: Hooks = SILENT,
    ) -> merging.Merged:
        """Bring views, bases, variants and columns of other stores into this one, which need not exist; see
        :func:`lrfr.pairs.care.merging.merge.merge`.

        Raises:
            SpecError: a name stands for different views.
            DataError: a store is damaged or of an older layout, or holds what the other was made to forget.
            EnvironmentFault, LockedError, Stopped: the same call goes on.

        """
        opened = [other if isinstance(other, StoreFiles) else StoreFiles(Path(other)) for other in others]
        return merging.merge(self, opened, options, hooks)

    def join_views(self, names: Sequence[str], new: str, *, replace: bool = False) -> View:
        """Write one view of all rows that some views show; nothing is copied.

        Args:
            names: of the views.
            new: name of the view.
            replace: whether a key may have other bytes or labels in a later view, which is shown then.

        Raises:
            SpecError: their variants or weights differ, or the name is another view's.
            DataError: their bases are not made alike, or a key has other bytes or labels in two of them.

        """
        return view_join.join_views(self, names, new, replace).view

    def choose_rows(self, view: str, new: str, chosen: ColumnRange) -> View:
        """Write a view of those rows of another whose value in a column lies in a range, say faces of some
        quality; nothing is copied, see :func:`lrfr.pairs.care.merging.view_choice.choose_rows`.

        Raises:
            SpecError: there is no such view or column, or the name is another view's.
            DataError: no row is left.

        """
        return view_choice.choose_rows(self, view, new, chosen).view

    def info(self) -> inventory.Listing:
        """Return every view, base and variant with rows, shards and bytes."""
        return inventory.listing(self.root)

    def describe(self, name: str) -> View | verification.AnyManifest:
        """Return one view by its name, or one base or variant by its id."""
        check_kind(name, str, "a view or an id")
        return inventory.describe(self.root, name)

    def diff(self, other: str | Path | StoreFiles) -> list[str]:
        """Return the differences to another store as lines; none means equal data."""
        root = other.root if isinstance(other, StoreFiles) else root_of(other)
        return inventory.diff(self.root, root)

    def write_column(
        self,
        view: str,
        name: str,
        values: NDArray[Any] | ImageFunction,
        *,
        producer: str,
        dtype: object = None,
        runner: Runner | None = None,
    ) -> ColumnWritten:
        """Keep one value, or one row of values, for every row of a view's base: embeddings of a teacher,
        scores of quality. :meth:`lrfr.PairDataset.column` reads them.

        What is there is found, not redone, and a write that was killed goes on; after a view has grown, the
        same call computes what is new.

        Args:
            view: name of the view.
            name: of the column.
            values: ``[n]`` or ``[n, D]`` for the positions of ``PairDataset(store, view)``, or a function of
                up to 256 HR images (uint8 ``[S, S, 3]``) that gives as many values or rows of values, such as
                a model of :func:`lrfr.load_model`.
            producer: what computes the values: a checkpoint's digest, or any text that changes when they do.
            dtype: as which they are stored, such as ``float16``; by default as they come.
            runner: where a function is computed; by default in this process.

        Raises:
            SpecError: the name or type cannot be one, or the values do not fit the rows.
            DataError: a record is damaged.
            LockedError: another process writes this store.

        """
        bases = self._bases(view)
        given: Values | ImageFunction
        if callable(values):
            given = values
        else:
            # the dataset brings torch, which a function may do without
            from lrfr.pairs.reading.dataset import PairDataset

            given = Values(PairDataset(self, view).rows, np.asarray(values))
        return column_store.write_column(self, bases, (name, producer), given, dtype=dtype, runner=runner)

    def columns(self, view: str | None = None) -> tuple[ColumnLine, ...]:
        """Return the columns of the base of a view, or of all bases."""
        return column_store.list_columns(self, self._bases(view) if view else None)

    def drop_column(self, view: str, name: str, producer: str | None = None) -> int:
        """Remove a column, of one producer or of all; return how many were there.

        Raises:
            SpecError: there is none.

        """
        return column_store.drop_column(self, self._bases(view), name, producer)

    def _bases(self, view: str) -> list[str]:
        return [part.base for part in self.view(view).parts]

    def card(self, view: str = "default") -> str:
        """Return the data card of a view, in Markdown."""
        return data_card.card(self, view)

    def export(
        self,
        out: str | Path,
        view: str = "default",
        form: str = "folders",
        choice: PairChoice | None = None,
        hooks: Hooks = SILENT,
        *,
        columns: Sequence[str] = (),
    ) -> Exported:
        """Take the pairs of a view out: as identity folders, WebDataset archives or a ``.bin`` of
        verification pairs, with the columns named; see :func:`lrfr.pairs.export.formats.export_view`.
        """
        # the dataset brings torch, which nothing else here needs
        from lrfr.pairs.export.formats import export_view
        from lrfr.pairs.reading.dataset import PairDataset

        check_kind(hooks, Hooks, "hooks: a lrfr.Hooks")
        check_kind(form, str, "a form of export")
        return export_view(
            PairDataset(self, view, columns=columns), as_path(out, "a folder"), form, choice, hooks
        )
