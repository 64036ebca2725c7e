"""make-pairs: from a source and specs to a base, degraded variants and a view; what exists already is found,
not redone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError, SpecError, as_path, check_kind
from lrfr.core.files import make_folder, sweep
from lrfr.core.lock import store_lock
from lrfr.core.progress import Hooks
from lrfr.degrade.spec.model import Spec, load_spec
from lrfr.pairs.build.hr import (
    SourceChanged,
    WrittenBase,
    check_bad,
    look,
    plan_base,
    write_base,
    write_report,
)
from lrfr.pairs.build.ingest import IngestOptions, open_ingest
from lrfr.pairs.build.lr import Variant, wanted_variants, write_variants
from lrfr.pairs.build.run_log import append_to_log
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.build.view_file import ViewOptions, write_account, write_view
from lrfr.pairs.executors.base import refuse_while_imported
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.manifests import (
    BaseManifest,
    SourceReport,
    VariantManifest,
    View,
)
from lrfr.pairs.format.store_files import StoreFiles, refuse_other_layouts
from lrfr.pairs.sources.base import Source
from lrfr.pairs.views import select_rows

__all__ = ["MadeView", "MakeOptions", "Outcome", "ViewOptions", "make_pairs"]

# each round refuses at least one face; a source that is still being written would go on for ever
MAX_ROUNDS = 20


@dataclass(frozen=True)
class MakeOptions:
    """What is written.

    Attributes:
        ingest: how a source is opened and taken in (an :class:`Ingest` that is passed brings its own).
        variants: how many draws of every spec; None takes each spec's own number.
        traces: whether every LR record carries the parameters drawn for it.
        max_bad: see :func:`lrfr.pairs.build.hr.check_bad`.

    """

    ingest: IngestOptions = field(default_factory=IngestOptions)
    variants: int | None = None
    traces: bool = False
    max_bad: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What one make-pairs did.

    Attributes:
        base: the base's manifest.
        variants: the manifests of the view's variants.
        report: what was seen of the source, refused and remarked.
        rows: number of faces the view shows.
        identities: number of identities among them.
        hr_written: crops written now; 0 where all were there.
        lr_written: images degraded now.
        warnings: what to tell about the source.

    """

    base: BaseManifest
    variants: tuple[VariantManifest, ...]
    report: SourceReport
    rows: int
    identities: int
    hr_written: int = 0
    lr_written: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MadeView(View):
    """A view with what was done to make it."""

    outcome: Outcome | None = field(default=None, compare=False, repr=False)

    @property
    def done(self) -> Outcome:
        """What was done."""
        assert self.outcome is not None
        return self.outcome

    def told(self) -> dict[str, object]:
        """Return what was done as plain values."""
        done = self.done
        return {
            "view": self.name,
            "view_digest": self.id,
            "base": self.base,
            "rows": done.rows,
            "identities": done.identities,
            "base_rows": done.base.rows,
            "seen": done.report.seen,
            "refused": dict(done.report.refused),
            "flagged": dict(done.report.flagged),
            "account": asdict(done.report.account),
            "variants": [variant.action for variant in self.variants],
            "hr_written": done.hr_written,
            "lr_written": done.lr_written,
            "warnings": list(done.warnings),
        }


def make_pairs(
    source: str | Path | Source | Ingest,
    specs: str | Path | Spec | Iterable[str | Path | Spec] = (),
    *,
    store: str | Path | StoreFiles,
    view: str | ViewOptions = "default",
    options: MakeOptions | None = None,
    runner: Runner | None = None,
    hooks: Hooks | None = None,
) -> MadeView:
    """Write or find everything a view needs, then write the view.

    Args:
        source: ``kind:place``, a path, an open source, or one with everything said about it.
        specs: the degradations: files, presets or specs; none makes a view of HR alone.
        store: the folder.
        view: name, weights and row filter.
        options: how the source is taken in and how much is written.
        runner: where work runs.
        hooks: progress, notes and the wish to stop; the runner's own where left out.

    Returns:
        The view; its ``done`` tells what was written, refused and remarked.

    Raises:
        SpecError, DataError, LockedError, EnvironmentFault: see docs/store.md.
        Stopped: a stop was asked for; finished shards are kept.

    """
    refuse_while_imported()
    check_kind(options, MakeOptions | None, "options: a MakeOptions")
    options, runner = options or MakeOptions(), runner or Runner()
    check_kind(hooks, Hooks | None, "hooks: a lrfr.Hooks")
    check_kind(view, str | ViewOptions, "view: a name or a ViewOptions")
    runner = replace(runner, hooks=hooks) if hooks else runner
    wished = ViewOptions(view) if isinstance(view, str) else view
    files = store if isinstance(store, StoreFiles) else StoreFiles(as_path(store, "a store"))
    files.view_path(wished.name)
    wanted = wanted_variants(_loaded(specs), wished.weights, options.variants, options.traces)
    ingest = source if isinstance(source, Ingest) else open_ingest(source, options.ingest)
    _check_sizes(wanted, ingest.options.prepare.size_px)
    refuse_other_layouts(files)
    with store_lock(files.root), runner.session():
        make_folder(files.tmp)
        # what a killed run left; the lock says that nobody else is writing
        sweep(files.tmp)
        started = time.time()
        made = _write(files, ingest, wanted, wished, runner, max_bad=options.max_bad)
        sweep(files.tmp)
        append_to_log(files.root, started, made.name, (made.done.hr_written, made.done.lr_written))
    return made


def _loaded(specs: str | Path | Spec | Iterable[str | Path | Spec]) -> list[Spec]:
    check_kind(specs, str | Path | Spec | Iterable, "a spec, its name or path, or a list of them")
    several = [specs] if isinstance(specs, str | Path | Spec) else list(specs)
    return [spec if isinstance(spec, Spec) else load_spec(spec) for spec in several]


def _check_sizes(wanted: Sequence[Variant], size_px: int) -> None:
    for variant in wanted:
        if variant.spec.image.size_px != size_px:
            raise SpecError(
                f"spec '{variant.spec.name}' is for {variant.spec.image.size_px} px images, the base has "
                f"{size_px} px"
            )


def _write(
    store: StoreFiles,
    ingest: Ingest,
    wanted: Sequence[Variant],
    wished: ViewOptions,
    runner: Runner,
    *,
    max_bad: float | None,
) -> MadeView:
    base, report = _base_rounds(store, ingest, runner, wished.name, max_bad)
    rows = store.rows(base.manifest.id)
    shown = rows.take(select_rows(rows, wished.filter))
    report = write_account(store, wished, rows, report)
    written = write_variants(store, base.manifest, wanted, runner)
    manifests = [item.manifest for item in written]
    view = write_view(store, base.manifest, shown, list(zip(wanted, manifests, strict=True)), wished)
    outcome = Outcome(
        base.manifest,
        tuple(manifests),
        report,
        rows=len(shown),
        identities=len(np.unique(shown.labels[shown.labels >= 0])),
        hr_written=base.written,
        lr_written=sum(item.written for item in written),
        warnings=ingest.warnings,
    )
    return MadeView(**{item.name: getattr(view, item.name) for item in fields(view)}, outcome=outcome)


def _base_rounds(
    store: StoreFiles, ingest: Ingest, runner: Runner, name: str, max_bad: float | None
) -> tuple[WrittenBase, SourceReport]:
    """Plan and write the base; files that change under us are refused and the rest is planned again."""
    changed: frozenset[str] = frozenset()
    for _ in range(MAX_ROUNDS):
        seen = look(store, ingest, runner, changed)
        report = seen.report(ingest.source.describe())
        write_report(store, name, report, seen.quarantine())
        check_bad(report, max_bad)
        try:
            return write_base(store, ingest, plan_base(seen, ingest), runner), report
        except SourceChanged as moved:
            changed = changed | frozenset(moved.keys)
    raise DataError(
        f"{len(changed)} source files keep changing", hint="run again when nothing writes to the source"
    )
