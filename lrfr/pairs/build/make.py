"""make-pairs: from a source and specs to a base, degraded variants and a view; what exists already is found,
not redone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Unpack

from lrfr.core.errors import DataError, as_path, check_kind
from lrfr.core.files import canonical, make_folder, sweep
from lrfr.core.lock import store_lock
from lrfr.core.progress import Hooks
from lrfr.degrade.inspect.trial import try_specs
from lrfr.degrade.spec.model import Spec, load_spec
from lrfr.pairs.build.growth import Held, RowCounts, grow, shown_by
from lrfr.pairs.build.hr import SourceChanged, look, plan_base, write_base
from lrfr.pairs.build.ingest import open_ingest, with_alignment
from lrfr.pairs.build.look.face_search import Alignment
from lrfr.pairs.build.look.landmark_file import write_landmarks
from lrfr.pairs.build.look.report_files import check_bad, write_report
from lrfr.pairs.build.lr import cheap_draws, write_variants
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.build.tasks import Spooled
from lrfr.pairs.build.view_file import (
    FilledPart,
    MakeOptions,
    SplitCount,
    ViewOptions,
    Wish,
    view_before,
    wish,
    write_account,
    write_view,
)
from lrfr.pairs.executors.base import refuse_while_imported
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.executors.run_log import RunLog
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.store_files import StoreFiles, refuse_other_layouts
from lrfr.pairs.format.view_manifest import Account, SourceReport, View
from lrfr.pairs.sources.base import Source

__all__ = ["MadeView", "MakeOptions", "Outcome", "ViewOptions", "make_pairs"]

# each round refuses at least one face; a source that is still being written would go on for ever
MAX_ROUNDS = 20


@dataclass(frozen=True)
class Outcome:
    """What one make-pairs did.

    Attributes:
        bases: the manifests of the view's parts.
        variants: the manifests of the variants of every part.
        counts: what became of rows.
        report: what was seen of the source, refused and remarked.
        rows: number of faces the view shows.
        identities: number of identities among them.
        hr_written: crops written now; 0 where all were there.
        lr_written: images degraded now.
        warnings: what to tell about the source.
        splits: what each split of the view's parts holds, also those that the view leaves out.

    """

    bases: tuple[BaseManifest, ...]
    variants: tuple[tuple[VariantManifest, ...], ...]
    counts: RowCounts
    report: SourceReport
    rows: int
    identities: int
    hr_written: int = 0
    lr_written: int = 0
    warnings: tuple[str, ...] = ()
    splits: Mapping[str, SplitCount] = field(default_factory=dict)

    @property
    def stored_rows(self) -> int:
        """Number of rows of all parts, shown or not."""
        return sum(base.rows for base in self.bases)


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
            "parts": [{"base": part.base, "lr": list(part.lr)} for part in self.parts],
            "rows": done.rows,
            "identities": done.identities,
            "stored_rows": done.stored_rows,
            "row_counts": done.counts.as_json(),
            "seen": done.report.seen,
            "refused": dict(done.report.refused),
            "flagged": dict(done.report.flagged),
            "account": asdict(done.report.account),
            "variants": [f"{variant.spec}.v{variant.variant}" for variant in self.variants],
            "hr_written": done.hr_written,
            "lr_written": done.lr_written,
            "warnings": list(done.warnings),
            "splits": {name: asdict(count) for name, count in done.splits.items()},
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
    **alignment: Unpack[Alignment],
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
        **alignment: how photographs become aligned crops, ``align="detect"`` or a file of landmarks by key;
            ``face``, ``on_miss``, ``detector``: see :class:`~lrfr.pairs.build.look.face_search.Alignment`.

    Returns:
        The view; its ``done`` tells what was written, refused and remarked.

    Raises:
        SpecError, DataError, LockedError, EnvironmentFault: see docs/store.md.
        Stopped: a stop was asked for; finished shards are kept.

    """
    refuse_while_imported()
    check_kind(options, MakeOptions | None, "options: a MakeOptions")
    check_kind(runner, Runner | None, "runner: a Runner")
    check_kind(hooks, Hooks | None, "hooks: a lrfr.Hooks")
    options, runner = _aligned(source, options or MakeOptions(), alignment), runner or Runner()
    check_kind(view, str | ViewOptions, "view: a name or a ViewOptions")
    runner = replace(runner, hooks=hooks) if hooks else runner
    wished = ViewOptions(view) if isinstance(view, str) else view
    files = store if isinstance(store, StoreFiles) else StoreFiles(as_path(store, "a store"))
    files.view_path(wished.name)
    refuse_other_layouts(files)
    loaded = _loaded(specs)
    ingest = source if isinstance(source, Ingest) else _opened(source, files, wished.name, options)
    plan = wish(files, ingest, loaded, wished, options)
    with RunLog(files.root, wished.name) as log, store_lock(files.root), runner.session():
        make_folder(files.tmp)
        sweep(files.tmp)  # what a killed run left; the lock says that nobody else is writing
        refuse_other_layouts(files)
        if plan.before != view_before(files, wished.name, options.extend):
            # another process has written the view since
            plan = wish(files, ingest, loaded, wished, options)
        log.start()
        _try(loaded, plan)
        with _swept(files.tmp):
            made = _write(files, plan, replace(runner, on_phase=log.phase))
        log.refused(made.done.report.seen, dict(made.done.report.refused))
        log.ended(hr_written=made.done.hr_written, lr_written=made.done.lr_written)
    return made


def _try(specs: Iterable[Spec], plan: Wish) -> None:
    """Try specs before a face is read, unless the view is there already."""
    if plan.before is None or plan.options.extend is not None:
        try_specs(specs)


def _aligned(source: object, options: MakeOptions, alignment: Alignment) -> MakeOptions:
    """Return options with what is said of alignment."""
    if not alignment:
        return options
    check_kind(source, str | Path | Source, "with align a source or its name, which is opened now")
    return replace(options, ingest=with_alignment(options.ingest, alignment))


@contextmanager
def _swept(tmp: Path) -> Iterator[None]:
    """Leave no temporary file, also where the block fails."""
    try:
        yield
    finally:
        with suppress(OSError):
            sweep(tmp)


def _opened(source: str | Path | Source, store: StoreFiles, name: str, options: MakeOptions) -> Ingest:
    """Open a source; the report on one that is damaged as a whole says so."""
    try:
        return open_ingest(source, options.ingest, store.part("cache"))
    except DataError as error:
        told = {"kind": source.kind} if isinstance(source, Source) else {"name": Path(source).name}
        why = {"E_READ": 1}
        report = SourceReport(told, why, {}, 1, Account({"source": 1}, {}, why, {}, "source"))
        line = {"code": "E_READ", "detail": str(error), "key": next(iter(told.values())), "unit": "source"}
        make_folder(store.tmp)
        with store_lock(store.root):
            write_report(store, name, report, canonical(line) + b"\n", options.extend)
        raise


def _loaded(specs: str | Path | Spec | Iterable[str | Path | Spec]) -> list[Spec]:
    check_kind(specs, str | Path | Spec | Iterable, "a spec, its name or path, or a list of them")
    several = [specs] if isinstance(specs, str | Path | Spec) else list(specs)
    return [spec if isinstance(spec, Spec) else load_spec(spec) for spec in several]


def _write(store: StoreFiles, wish: Wish, runner: Runner) -> MadeView:
    grown = _base_rounds(store, wish, runner)
    filled, images = [], 0
    for held in grown.parts:
        made = write_variants(store, held.base, wish.variants, runner, grown.spooled)
        filled.append(FilledPart(held, tuple(item.manifest for item in made)))
        images += sum(item.written for item in made)
    written = write_view(store, filled, [item.ref for item in wish.wanted], wish.view)
    report = grown.report
    if wish.options.extend is None:
        report = write_account(store, wish.view, written.left_out, report)
    outcome = Outcome(
        tuple(part.held.base for part in filled),
        tuple(part.variants for part in filled),
        grown.counts,
        report,
        rows=written.rows,
        identities=written.identities,
        hr_written=grown.written,
        lr_written=images,
        warnings=(*wish.ingest.warnings, *((grown.note,) if grown.note else ())),
        splits=written.splits,
    )
    view = written.view
    return MadeView(**{item.name: getattr(view, item.name) for item in fields(view)}, outcome=outcome)


@dataclass(frozen=True)
class _Grown:
    """The HR side of a view: its parts, sorted by the ids of their bases, and how it came about."""

    parts: tuple[Held, ...]
    counts: RowCounts
    report: SourceReport
    written: int
    note: str
    spooled: Spooled | None = None


def _base_rounds(store: StoreFiles, wish: Wish, runner: Runner) -> _Grown:
    """Plan and write what is new; files that change under us are refused and the rest is planned again."""
    changed: frozenset[str] = frozenset()
    ingest, name = wish.ingest, wish.view.name
    # one that is there is made of what it has
    fresh_view = wish.before is None or wish.options.extend is not None
    draws = cheap_draws(wish.variants) if fresh_view else None
    for _ in range(MAX_ROUNDS):
        seen = look(store, ingest, runner, changed, draws)
        report = seen.report(ingest.source.describe())
        told = seen.quarantine()
        report = write_report(store, name, report, told, wish.options.extend, hooks=runner.hooks)
        write_landmarks(store, name, seen.photos.table if seen.photos else (), wish.options.extend)
        check_bad(report, wish.options.max_bad)
        plan, note = plan_base(seen, ingest, store.quarantine_path(name)), seen.note
        known = seen.ingest(ingest)
        del seen  # of many faces it takes as much as the plan
        growth = grow(store, plan, wish.rule(store))
        try:
            fresh = write_base(store, known, growth.fresh, runner) if growth.fresh else None
        except SourceChanged as moved:
            changed = changed | frozenset(moved.keys)
            continue
        parts = shown_by(growth.held, fresh.manifest if fresh else None)
        written, new = fresh.written if fresh else 0, growth.fresh
        spooled = Spooled(new.base_id, new.spool, draws or ()) if new and new.spool else None
        return _Grown(tuple(parts.values()), growth.counts, report, written, note, spooled)
    raise DataError(
        f"{len(changed)} source files keep changing", hint="run again when nothing writes to the source"
    )
