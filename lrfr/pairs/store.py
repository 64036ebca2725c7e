"""A pair store as one object: its views and manifests, and everything that can be done with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.care import data_card, inventory
from lrfr.pairs.care import repair as mending
from lrfr.pairs.care import verify as verification
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.store_files import StoreFiles, open_store
from lrfr.pairs.format.view_manifest import View

if TYPE_CHECKING:
    from lrfr.pairs.export.formats import Exported, PairChoice


class Store(StoreFiles):
    """A store folder: ``Store("store").view("default")``, ``.verify()``, ``.card()``, ...

    Besides what is below it reads views (:meth:`view`, :meth:`views`), manifests (:meth:`base_manifest`,
    :meth:`lr_manifest`), row tables (:meth:`rows`) and reports (:meth:`report`).

    Args:
        root: the folder, as text or path.

    """

    def verify(self, deep: bool = False, hooks: Hooks = SILENT) -> list[verification.Finding]:
        """Check every byte; with ``deep`` every record and pixel. No finding: all is as it was written."""
        return verification.verify(open_store(self.root), deep, hooks)

    def repair(
        self, ingest: Ingest | None = None, runner: Runner | None = None, hooks: Hooks | None = None
    ) -> mending.Repaired:
        """Write damaged shards again: LR from its base, HR from the source it was made from.

        Raises:
            SpecError: the source is not the base's.
            DataError: a rebuilt shard differs from the one that was lost.

        """
        runner = runner or Runner()
        return mending.repair(self, ingest, replace(runner, hooks=hooks) if hooks else runner)

    def gc(self, dry_run: bool = False) -> inventory.Collected:
        """Remove what no view uses.

        Raises:
            DataError: a view is damaged; nothing is removed.

        """
        return inventory.gc(self.root, dry_run)

    def info(self) -> inventory.Listing:
        """Return every view, base and variant with rows, shards and bytes."""
        return inventory.listing(self.root)

    def describe(self, name: str) -> View | verification.AnyManifest:
        """Return one view by its name, or one base or variant by its id."""
        return inventory.describe(self.root, name)

    def diff(self, other: str | Path | StoreFiles) -> list[str]:
        """Return the differences to another store as lines; none means equal data."""
        root = other.root if isinstance(other, StoreFiles) else Path(other)
        return inventory.diff(self.root, root)

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
    ) -> Exported:
        """Take the pairs of a view out: as identity folders, WebDataset archives or a ``.bin`` of
        verification pairs; see :func:`lrfr.pairs.export.formats.export_view`.
        """
        # the dataset brings torch, which nothing else here needs
        from lrfr.pairs.export.formats import export_view
        from lrfr.pairs.reading.dataset import PairDataset

        return export_view(PairDataset(self, view), Path(out), form, choice, hooks)
