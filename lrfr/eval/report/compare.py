"""Models against each other on the same trials: paired tests and relative gains."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from lrfr.core.errors import SpecError, did_you_mean
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


def test_key(result: Result) -> tuple[str, str, str]:
    """Return what tells one test from another: benchmark, protocol and list."""
    return result.benchmark, result.protocol, str(result.list_digest or result.protocol_digest)


def test_titles(results: Sequence[Result]) -> dict[tuple[str, str, str], str]:
    """Return ``benchmark: protocol`` of each test, in order; two lists under one name are told apart by their
    file, or by the digests of what they say.
    """
    files: dict[tuple[str, str, str], str] = {}
    for result in results:
        files.setdefault(test_key(result), Path(result.data or "").name)
    titles = {}
    for key, file in files.items():
        others = [other for other in files if other[:2] == key[:2] and other != key]
        alone = file and file not in {files[other] for other in others}
        which = f" ({file if alone else key[2][:8]})" if others else ""
        titles[key] = f"{key[0]}: {key[1]}{which}"
    return titles


_CONDITIONS = (
    "convention",
    "flip",
    "interpolation",
    "antialias",
    "finetuned",
    "alignment",
    "revision",
    "settings_digest",
)
_Test = tuple[object, ...]


def told_apart(results: Sequence[Result]) -> list[Result]:
    """Return results of which no two are of one model, test and pair of sizes, by the models' names.

    What was measured twice with the same outcome is kept once. Where one name stands for several models, or
    for one under several conditions, the names say so: ``mine [convention A]``, ``mine [run 2]``.
    """
    once: dict[_Test, Result] = {}
    for result in results:
        values = tuple((name, found.value, found.n) for name, found in sorted(result.metrics.items()))
        once.setdefault((*_cell(result), result.model.digest, *_conditions(result), values), result)
    kept = list(once.values())
    for mark in (_mark_of_model, _mark_of_conditions, _mark_of_turn):
        groups: dict[str, list[Result]] = {}
        for result in kept:
            groups.setdefault(result.model.name, []).append(result)
        kept = [_marked(result, mark(result, groups[result.model.name])) for result in kept]
    return kept


def _cell(result: Result) -> _Test:
    return (
        result.model.name,
        result.benchmark,
        result.protocol,
        result.list_digest or result.protocol_digest,
        result.matching,
        result.sizes,
    )


def _conditions(result: Result) -> _Test:
    return tuple(getattr(result, name) for name in _CONDITIONS)


def _clash(members: Sequence[Result]) -> list[list[Result]]:
    cells: dict[_Test, list[Result]] = {}
    for member in members:
        cells.setdefault(_cell(member), []).append(member)
    return [found for found in cells.values() if len(found) > 1]


def _mark_of_model(result: Result, members: Sequence[Result]) -> str:
    digests = {member.model.digest for member in members}
    return f"model {(result.model.digest or 'unnamed')[:8]}" if len(digests) > 1 else ""


def _mark_of_conditions(result: Result, members: Sequence[Result]) -> str:
    clash = _clash(members)
    differing = [
        name for name in _CONDITIONS if any(len({getattr(one, name) for one in found}) > 1 for found in clash)
    ]
    # the digest of all settings moves with each of them: it is named where nothing plainer differs
    plain = [name for name in differing if name != "settings_digest"] or differing
    words = [(name, getattr(result, name)) for name in plain]
    return ", ".join(
        f"{name.removesuffix('_digest')} {str(value)[:20]}" for name, value in words if value is not None
    )


def _mark_of_turn(result: Result, members: Sequence[Result]) -> str:
    for found in _clash(members):
        turn = next((place for place, one in enumerate(found, 1) if one is result), 0)
        if turn:
            return f"run {turn}"
    return ""


def _marked(result: Result, mark: str) -> Result:
    if not mark:
        return result
    return replace(result, model=replace(result.model, name=f"{result.model.name} [{mark}]"))


def check_names(results: Sequence[Result], wanted: Collection[str]) -> None:
    """Raise SpecError when a model that is asked for has no result; the message names the nearest."""
    names = list(dict.fromkeys(result.model.name for result in results))
    for name in wanted:
        if name not in names:
            raise SpecError(f"no result is of a model '{name}'", hint=did_you_mean(name, names))


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
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for result in results:
        if "accuracy" in result.metrics:
            key = (result.benchmark, str(result.protocol_digest), str(result.matching), size_pair(result))
            groups.setdefault(key, {})[result.model.name] = result.metrics["accuracy"].value
    rows = []
    for (benchmark, _, matching, place), values in groups.items():
        if hr in values and reference in values:
            for name, value in values.items():
                gain = relative_gain(value, values[hr], values[reference])
                rows.append([benchmark, matching, place, name, "-" if gain is None else f"{gain:+.2f}"])
    return rows
