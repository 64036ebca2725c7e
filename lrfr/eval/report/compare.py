"""Models against each other on the same trials: paired tests and relative gains."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np

from lrfr.eval.low_res import Size
from lrfr.eval.report.gains import relative_gain
from lrfr.eval.results import Result, unpack
from lrfr.eval.scoring.intervals import delong, mcnemar


def size_pair(result: Result) -> str:
    """Return ``112 & 14 px``: sides of first and second image, or of gallery and probe."""
    first, second = result.sizes or (None, None)
    return f"{first or 'native'} & {second or 'native'}" + (" px" if isinstance(second, int) else "")


def second_size(result: Result) -> Size:
    """Return the size of the second image, or of the probe."""
    return result.sizes[1] if result.sizes else None


def paired_rows(results: list[Result], asked: Collection[tuple[str, str]] = ()) -> list[list[str]]:
    """Return one row per pair of models and test that both took on the same list (same digest) at the same
    sizes.

    Args:
        results: of any number of models and tests.
        asked: pairs of model names, in the order in which they shall stand; empty for all.

    """
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        if result.per_pair is not None:
            key = (
                result.benchmark,
                str(result.protocol_digest),
                str(result.matching),
                size_pair(result),
            )
            groups.setdefault(key, []).append(result)
    rows = []
    for (benchmark, _, _, place), members in groups.items():
        by_name = {member.model.name: member for member in members}
        wanted = asked or combinations(by_name, 2)
        for a, b in [(by_name[x], by_name[y]) for x, y in wanted if x in by_name and y in by_name]:
            if _kept(a)["same_u8"] == _kept(b)["same_u8"]:
                rows.append([benchmark, place, a.model.name, b.model.name, *_tests(a, b)])
    return rows


def _tests(a: Result, b: Result) -> list[str]:
    correct = [unpack(_kept(result)["correct_u8"], "u1") == 1 for result in (a, b)]
    scores = [np.asarray(unpack(_kept(result)["score_f32"], "<f4"), np.float64) for result in (a, b)]
    same = unpack(_kept(a)["same_u8"], "u1") == 1
    decisions, areas = mcnemar(*correct), delong(scores[0], scores[1], same)
    return [
        f"{decisions['only_a']:.0f}",
        f"{decisions['only_b']:.0f}",
        p_text(decisions["p"]),
        f"{100 * areas['auc_a']:.2f}",
        f"{100 * areas['auc_b']:.2f}",
        p_text(areas["p"]),
    ]


def _kept(result: Result) -> Mapping[str, str]:
    return result.per_pair or {}


def p_text(p: float) -> str:
    """Return a p-value for print."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def gain_rows(results: list[Result], hr: str, reference: str) -> list[list[str]]:
    """Return the relative gain of every model's accuracy over ``hr`` in steps of ``reference`` (BTNet Eq. 4
    and 5).
    """
    groups: dict[tuple[str, str, str], dict[str, float]] = {}
    for result in results:
        if "accuracy" in result.metrics:
            key = (result.benchmark, str(result.matching), size_pair(result))
            groups.setdefault(key, {})[result.model.name] = result.metrics["accuracy"].value
    rows = []
    for (benchmark, matching, place), values in groups.items():
        if hr in values and reference in values:
            for name, value in values.items():
                gain = relative_gain(value, values[hr], values[reference])
                rows.append([benchmark, matching, place, name, "-" if gain is None else f"{gain:+.2f}"])
    return rows
