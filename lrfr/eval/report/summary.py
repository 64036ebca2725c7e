"""Results at a glance: one table a benchmark, a row for each pair of sizes."""

from __future__ import annotations

from collections.abc import Sequence

from lrfr.eval.report.blocks import TableBlock
from lrfr.eval.report.compare import size_pair
from lrfr.eval.results import Files, Metric, Result

NOT_RESOLVABLE = "n/a: too few trials of different people to tell such a rate from zero"
_MOST_METRICS = 6


def summaries(results: Sequence[Result]) -> list[TableBlock]:
    """Return one table per benchmark: the main metrics with their intervals, in percent."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.benchmark, result.protocol), []).append(result)
    return [_summary(members) for members in groups.values()]


def remarks_of(results: Sequence[Result]) -> list[str]:
    """Return what must be said of some results: their remarks, and which files were not used, once each."""
    lines = dict.fromkeys(remark for result in results for remark in result.remarks)
    lines |= dict.fromkeys(files_text(result.files) for result in results if result.files)
    return list(lines)


def files_text(files: Files) -> str:
    """Return ``412 files seen, 400 used; not used: 12 not a picture (a.txt, ...)``."""
    text = f"{files.seen} files seen, {files.used} used"
    reasons = [
        f"{unused.count} {reason} ({', '.join(unused.first[:3])}{', ...' if unused.count > 3 else ''})"
        for reason, unused in files.unused.items()
    ]
    text = f"{text}; not used: {'; '.join(reasons)}" if reasons else text
    faces = [f"{found.count} {end}" for end, found in files.faces.items()]
    return f"{text}; faces: {', '.join(faces)}" if faces else text


def resolvable(results: Sequence[Result]) -> bool:
    """Say whether the lists are long enough for every rate."""
    return all(found.resolvable for result in results for found in result.metrics.values())


def _summary(results: list[Result]) -> TableBlock:
    first = results[0]
    metrics = list(dict.fromkeys(key for result in results for key in result.metrics))[:_MOST_METRICS]
    rows = [
        [size_pair(result), *[value_text(result.metrics.get(key)) for key in metrics]] for result in results
    ]
    how = []
    if first.interpolation:
        how.append(f"{first.interpolation}, {'antialiased' if first.antialias else 'not antialiased'}")
    if first.convention:
        how.append(f"convention {first.convention}")
    how.append(f"flip {first.flip or 'none'}")
    return TableBlock(f"{first.benchmark} ({first.protocol}; {'; '.join(how)})", ["sizes", *metrics], rows)


def counted(number: int, thing: str, things: str = "") -> str:
    """Return ``1 model`` or ``2 models``; ``things`` where the plural is another word."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def value_text(found: Metric | None) -> str:
    """Return ``94.70 [94.0, 95.4]``, in percent, ``n/a`` where the list cannot resolve such a rate."""
    if found is None:
        return "-"
    if not found.resolvable:
        return "n/a"
    text = f"{100 * found.value:.2f}"
    span = found.interval
    return f"{text} [{100 * span.low:.1f}, {100 * span.high:.1f}]" if span else text
