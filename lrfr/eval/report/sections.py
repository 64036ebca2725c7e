"""The parts of a report: what was compared, each test, comparisons, papers' tables, cost, pictures,
provenance, commands.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.core.files import read_bytes
from lrfr.core.image import decode
from lrfr.eval.published import papers as published
from lrfr.eval.report import plots
from lrfr.eval.report.blocks import Image, Section, TableBlock
from lrfr.eval.report.compare import gain_rows, paired_rows, size_pair, test_key, test_titles
from lrfr.eval.report.curves import curves
from lrfr.eval.report.provenance import chain
from lrfr.eval.report.summary import counted, remarks_of, value_text
from lrfr.eval.results import Result

MAIN_METRICS = (
    "accuracy",
    "TAR@FAR=0.01",
    "TAR@FAR=0.001",
    "rank-1",
    "rank-5",
    "TPIR@FPIR=0.1",
    "AUC",
    "TAR@FAR=0.1",
    "EER",
)


def compared(results: list[Result]) -> Section:
    """Say what was compared, on which lists, under which conditions."""
    models = {result.model.name: result.model for result in results}
    about = [
        [
            m.name,
            m.method or "-",
            _short(m.digest),
            _short(m.view_digest),
            m.notes or "-",
        ]
        for m in models.values()
    ]
    lists: dict[tuple[str, ...], None] = {}
    titles = test_titles(results)
    for r in results:
        how = f"{r.interpolation or '-'}, {'antialiased' if r.antialias else 'not antialiased'}"
        row = (
            titles[test_key(r)].partition(":")[0] + titles[test_key(r)].partition(r.protocol)[2],
            r.protocol,
            _trials(r),
            r.convention or "-",
            r.flip or "-",
            how,
            r.alignment or "-",
            _short(r.protocol_digest),
        )
        lists.setdefault(row)
    return Section(
        "What was compared",
        [
            f"{counted(len(models), 'model')} on {counted(len(titles), 'test')}. All values are "
            "percentages; brackets hold 95 % intervals. Resampling is over people where the list names "
            "them, because pairs that share a person are not independent. The thresholds of the accuracy are "
            "held fixed in it.",
            "n/a stands for a rate below 1 / (number of impostor trials): there are too few to tell it from "
            "zero.",
        ],
        [
            TableBlock("Models", ["model", "method", "checkpoint", "view", "notes"], about),
            TableBlock(
                "Tests",
                ["test", "protocol", "trials", "convention", "flip", "LR images by", "alignment", "list"],
                [list(row) for row in lists],
            ),
        ],
    )


def _trials(result: Result) -> str:
    counts = result.counts
    if "n_pos" in counts:
        return f"{counts['n_pos']} same, {counts['n_neg']} different"
    if "n_probe" in counts:
        return f"{counts['n_probe']} probes, {counts.get('n_gallery', '-')} gallery"
    return f"{max(metric.n for metric in result.metrics.values())} images"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "-"


def one_test(key: tuple[str, str, str], title: str, results: list[Result]) -> Section:
    """Show one test: its main metrics at every pair of sizes, what was remarked, and its curves."""
    own = [result for result in results if test_key(result) == key]
    metrics = list(dict.fromkeys(name for result in own for name in result.metrics))
    main = [name for name in MAIN_METRICS if name in metrics] or metrics
    told = {name for r in own for name, metric in r.metrics.items() if metric.resolvable}
    shown = [name for name in main if name in told] or main
    blank = [name for name in main if name not in shown]
    remarks = remarks_of(own) + ([f"n/a at all sizes: {', '.join(blank)}."] if blank else [])
    tables = []
    for matching, word in (
        ("cross", "cross-resolution: first image (gallery) large, second (probe) small"),
        ("same", "same resolution on both sides"),
    ):
        # the HR-HR cell belongs to both
        part = [
            result
            for result in own
            if (result.matching or "same") == matching or result.sizes == own[0].sizes
        ]
        alone = len({size_pair(result) for result in own}) == 1 and (own[0].matching or "same") == matching
        if len({size_pair(result) for result in part}) > 1 or alone:
            tables += [_metric_table(part, name, word) for name in shown[: 4 if part[0].sizes else 1]]
    return Section(title, remarks, tables, curves(own))


def _metric_table(results: list[Result], metric: str, word: str) -> TableBlock:
    """Return one metric: a row per model, a column per pair of sizes."""
    cells = list(dict.fromkeys(size_pair(result) for result in results))
    rows = []
    for name in plots.models_of(results):
        found = {
            size_pair(result): result.metrics.get(metric) for result in results if result.model.name == name
        }
        rows.append([name, *[value_text(found.get(cell)) for cell in cells]])
    return TableBlock(f"{metric}, {word}", ["model", *cells], rows)


def paired_tests(results: list[Result], asked: Sequence[tuple[str, str]] = ()) -> Section | None:
    """Compare the pairs of models that are ``asked`` for, or every two that took the same test."""
    rows = paired_rows(results, asked)
    if not rows:
        return None
    text = (
        "Both models saw the same pairs. McNemar's exact test compares their decisions, DeLong's test "
        "their areas under the ROC; "
        "p-values are not corrected for the number of rows."
    )
    columns = [
        "test",
        "sizes",
        "model A",
        "model B",
        "only A right",
        "only B right",
        "McNemar p",
        "AUC A",
        "AUC B",
        "DeLong p",
    ]
    return Section("Paired tests", [text], [TableBlock("Two models on the same pairs", columns, rows)])


def gains(results: list[Result], gains: tuple[str, str] | None) -> Section | None:
    """Show BTNet's relative gains over the model ``gains[0]`` in steps of ``gains[1]``."""
    if gains is None:
        return None
    rows = gain_rows(results, *gains)
    text = (
        f"(model - {gains[0]}) / |{gains[1]} - {gains[0]}| of the accuracy (BTNet Eq. 4 and 5); a dash "
        f"where the reference equals the "
        "HR model."
    )
    return Section(
        "Relative gains",
        [text],
        [TableBlock("Relative gains", ["test", "matching", "sizes", "model", "gain"], rows)],
    )


def papers(results: list[Result]) -> Section | None:
    """Set the papers' tables beside ours where benchmark, metric, matching and size agree."""
    tables, text = (
        [],
        [
            "A number of ours stands in a column only on that very benchmark, metric, matching and size; "
            "each caption says how ours was made. Lists of one's own stand above, in tables of their own."
        ],
    )
    for table in published.tables().values():
        columns, rows, remarks = published.side_by_side(table, results)
        if len(rows) > len(table.rows) or len(columns) > len(table.columns):
            caption = f"{table.short[0]} ({table.title}). {' '.join(table.notes)} Ours: {'. '.join(remarks)}."
            tables.append(TableBlock(caption, columns, rows))
    return Section("Papers' tables beside ours", text, tables) if tables else None


def cost(results: list[Result]) -> Section | None:
    """Show parameters, bytes, multiply-adds and time where they were measured."""
    models = {result.model.name: result.model.cost for result in results}
    rows = [
        [
            name,
            f"{row.size_px} px",
            _count(row.parameters, 1e6, "M"),
            _count(row.bytes, 1e6, "MB"),
            _count(row.macs, 1e9, "G"),
            f"{1000 / row.images_per_s:.3g}",
            f"{row.images_per_s:.0f}",
        ]
        for name, cost in models.items()
        for row in cost
    ]
    if not rows:
        return None
    return Section(
        "Cost",
        [],
        [
            TableBlock(
                "Cost by size of the image",
                ["model", "image", "parameters", "bytes", "multiply-adds", "ms/image", "images/s"],
                rows,
            )
        ],
    )


def _count(value: int | None, unit: float, letter: str) -> str:
    return f"{value / unit:.3g} {letter}" if value else "-"


def pictures(pictures: Sequence[tuple[Path, str]]) -> Section | None:
    """Embed picture files."""
    images = []
    for path, caption in pictures:
        data = read_bytes(path)
        decode(data)  # refuses what is not an image
        kind = {
            b"\x89PNG": "png",
            b"\xff\xd8\xff\xe0": "jpeg",
            b"\xff\xd8\xff\xe1": "jpeg",
            b"\xff\xd8\xff\xdb": "jpeg",
        }.get(data[:4])
        if kind is None:
            raise DataError("only PNG and JPEG pictures can be embedded", file=str(path))
        address = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        images.append(Image(path.stem, caption, address, address))
    return Section("Pictures", [], [], images) if images else None


def provenance(results: list[Result], store: Path | None) -> Section:
    """Draw each model's chain from the metric back to the HR files."""
    lines = [
        line for model in {r.model.name: r.model for r in results}.values() for line in chain(model, store)
    ]
    text = (
        []
        if store
        else [
            "lrfr report --store STORE adds what each view stands on: specs, base and HR files with their "
            "hashes."
        ]
    )
    return Section("Provenance", text, code=lines)


def commands(results: list[Result]) -> Section:
    """List the commands that made the results."""
    lines = list(dict.fromkeys(result.command for result in results if result.command))
    versions = ", ".join(f"{name} {value}" for name, value in results[0].versions.items())
    return Section(
        "Reproduce",
        [f"Made with {versions or 'unknown versions'}."],
        code=lines or ["# made from the library, not by a command"],
    )
