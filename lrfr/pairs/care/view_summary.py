"""What a view shows, with the files that could not be used and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.files import parsed
from lrfr.core.lists import read_lines
from lrfr.pairs.build.look.report_files import read_list
from lrfr.pairs.build.view_file import SplitCount, split_counts
from lrfr.pairs.care.inventory import bytes_of, describe
from lrfr.pairs.format.store_files import StoreFiles, open_store
from lrfr.pairs.format.view_manifest import View
from lrfr.pairs.views import ViewRows, select_rows


@dataclass(frozen=True)
class Refused:
    """A face that could not be used: its key, the reason's code and what it means."""

    key: str
    code: str
    reason: str


@dataclass(frozen=True)
class ViewSummary:
    """A view and what came of its source.

    Attributes:
        view: the view.
        rows: number of faces it shows.
        identities: number of identities among them.
        stored_rows: number of faces of its parts.
        size_px: side of the HR crops.
        source: what the faces were read from; empty where that was not kept.
        refused: count of refused faces by the reason's code.
        flagged: count of remarked faces by the remark's code.
        faults: the refused faces, one by one.
        list_path: the file that lists them.
        without_identity: number of faces that it shows and that have no identity.
        skipped: count of what the source passed over by reason, and of faces that the view leaves out.
        splits: what each split of its parts holds, also those that the view leaves out.

    """

    view: View
    rows: int
    identities: int
    stored_rows: int
    size_px: int
    source: Mapping[str, object] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    flagged: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[Refused, ...] = ()
    list_path: Path | None = None
    without_identity: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, SplitCount] = field(default_factory=dict)


def summarize(store: StoreFiles, name: str) -> ViewSummary:
    """Return the summary of a view.

    Raises:
        SpecError: there is no such view.
        DataError: a manifest, row table or report is damaged.

    """
    view = store.view(name)
    rows, report = ViewRows(store, view.parts), store.report(name)
    labels = rows.labels[select_rows(rows, view.filter)]
    stored = sum(base.rows for base in rows.manifests)
    counts = (len(labels), len(np.unique(labels[labels >= 0])), stored, rows.manifests[0].crop.size_px)
    unknown, splits = int((labels < 0).sum()), split_counts(rows, view.filter)
    if report is None:
        return ViewSummary(view, *counts, without_identity=unknown, splits=splits)
    path = store.quarantine_path(name)
    read_list(store, name)
    faults = tuple(_refused(path)) if report.refused else ()
    skipped = report.account.skipped
    return ViewSummary(
        view, *counts, report.source, report.refused, report.flagged, faults, path, unknown, skipped, splits
    )


def full_description(root: Path, name: str) -> tuple[dict[str, object], tuple[Refused, ...]]:
    """Return all that is known of a view (by name), base or variant (by id) as plain values, and the faces
    that the view could not use.

    Raises:
        SpecError: nothing has this name.
        DataError: a manifest, row table or report is damaged.

    """
    described = describe(root, name)
    found: dict[str, object] = asdict(described)
    found["digest"] = found.pop("sealed")
    if not isinstance(described, View):
        return found | {"shards": len(described.shards), "bytes": bytes_of(described.shards)}, ()
    summary = summarize(open_store(root), name)
    told = asdict(summary)
    del told["view"]
    more = {"list_path": str(summary.list_path or ""), "view_digest": described.id}
    return found | told | more, summary.faults


def _refused(path: Path) -> list[Refused]:
    found = []
    for number, text in read_lines(path, error=DataError):
        try:
            line = parsed(text.encode())
            if "code" in line:
                found.append(Refused(line["key"], line["code"], line["detail"] or line["reason"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(
                "not a line of a report", file=str(path), line=number, hint="run lrfr make-pairs again"
            ) from None
    return found
