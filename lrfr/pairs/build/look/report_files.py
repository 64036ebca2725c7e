"""The report on a view's sources and its list of refused faces: written, and checked when read."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lrfr.core.errors import DataError, LrfrError
from lrfr.core.files import data_of, make_folder, sha256_hex, write_if_other
from lrfr.core.files.inside import own_entries
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.build.look.landmark_file import account_files
from lrfr.pairs.format.store_files import REPORT_HINT, StoreFiles
from lrfr.pairs.format.view_manifest import SourceReport


def read_list(store: StoreFiles, name: str) -> bytes:
    """Return the list of the refused and remarked faces of a view, a JSON line each.

    Raises:
        DataError: it, or the report, is damaged.

    """
    report, path = store.report(name), store.quarantine_path(name)
    data = data_of(path) if path.exists() else None
    if report and report.lists and _named(data) not in report.lists:
        fault = "is missing" if data is None else "is not as it was written"
        raise DataError(f"the list of refused faces {fault}", file=str(path), hint=REPORT_HINT)
    return data or b""


def gone_reports(store: StoreFiles, kept: Collection[Path]) -> list[Path]:
    """Return the reports on views that are gone, with their lists; what only has such a name is no report."""
    found = []
    for path in own_entries(store.root, "reports"):
        if path.suffix != ".json" or path in kept:
            continue
        with suppress(LrfrError):
            SourceReport.read(path)
            mine = account_files(store, path.stem)
            found += [item for item in mine if item not in kept and os.path.lexists(item)]
    return found


def _named(data: bytes | None) -> str:
    return "" if data is None else sha256_hex(data)


def seal_report(store: StoreFiles, name: str, report: SourceReport, lines: bytes) -> SourceReport:
    """Write a report and its list, and return the report as it is kept.

    Killed between the two, the report knows both lists.
    """
    path, sealed = store.quarantine_path(name), replace(report, lists=(sha256_hex(lines),))
    make_folder(path.parent)
    there = data_of(path) if path.exists() else None
    if there != lines and store.report_path(name).exists():
        both = replace(sealed, lists=(_named(there), *sealed.lists))
        write_if_other(store.report_path(name), both.seal(), store.tmp)
    # whoever sees a first report finds the list it counts
    write_if_other(path, lines, store.tmp)
    write_if_other(store.report_path(name), sealed.seal(), store.tmp)
    return sealed


def write_report(
    store: StoreFiles,
    name: str,
    report: SourceReport,
    quarantine: bytes,
    extended: str | None = None,
    *,
    hooks: Hooks = SILENT,
) -> SourceReport:
    """Write what was seen on the way to a view, also where nothing could be used.

    Args:
        store: where.
        name: of the view.
        report: on the source.
        quarantine: one line per refused or remarked face.
        extended: name of the view whose rows are kept: what was seen on the way to them stays.
        hooks: told where that is damaged; it only tells people of faces, and holds nothing up.

    Returns:
        The report as it is kept.

    """
    told = quarantine.splitlines(keepends=True)
    if extended:
        try:
            there = store.report(extended)
            report = _added(there, report) if there else report
            told += read_list(store, extended).splitlines(keepends=True)
        except DataError as error:
            hooks.note(f"{error.file}: {error.message}; what it told of view '{extended}' is left out")
    # the same command may have told them before; one source's own lines are counted, equal or not
    lines = sorted(set(told) if extended else told)
    return seal_report(store, name, report, b"".join(lines))


def _added(there: SourceReport, report: SourceReport) -> SourceReport:
    """Return a report with what another one says of other sources (the same command may run twice)."""
    return replace(report, earlier=tuple(item for item in there.told if item != report.own))


def report_faults(store: StoreFiles, name: str) -> list[DataError]:
    """Return what is wrong with the report on a view and with its list."""
    try:
        read_list(store, name)
    except DataError as error:
        return [error]
    return []


def damaged_reports(store: StoreFiles, name: str) -> list[Path]:
    """Return the files that say where a view's faces came from, where one of them is damaged."""
    files = [store.report_path(name), store.quarantine_path(name)]
    return [path for path in files if path.exists()] if report_faults(store, name) else []


def check_bad(report: SourceReport, max_bad: float | None) -> None:
    """Refuse to go on when more faces were refused than allowed.

    Args:
        report: the counts.
        max_bad: a share below 1, or a count from 1 on; None allows any number; 0 allows none.

    Raises:
        DataError: over the limit; says how many and why.

    """
    count = sum(report.refused.values())
    allowed = float("inf") if max_bad is None else (max_bad * report.seen if max_bad < 1 else max_bad)
    if count > allowed:
        reasons = ", ".join(f"{code} {number}" for code, number in sorted(report.refused.items()))
        raise DataError(
            f"{count} of {report.seen} faces were refused ({reasons})",
            hint="raise --max-bad, or see lrfr make-pairs --plan",
        )
