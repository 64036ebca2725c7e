"""Is a result still what it says? Its chain is gone down, and the first link that differs is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, LrfrError
from lrfr.core.image import ImageU8
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.protocols.table import Benchmark, find_benchmark
from lrfr.eval.report.provenance import find_view
from lrfr.eval.result_files import AbsentFile, find_named, kept_scores_agree, read_results
from lrfr.eval.results import Result
from lrfr.eval.settings import settings_from
from lrfr.experiment.evaluate import check_data, measure
from lrfr.experiment.models import Recognizer, open_recognizer
from lrfr.pairs.care.verify import check_folder
from lrfr.pairs.format.store_files import StoreFiles

AGREES, DIFFERS, MISSING, UNKNOWN = "agrees", "differs", "is missing", "not checked"
_TOLERANCE = 1e-6  # of a fraction: other processors round other last digits


@dataclass(frozen=True)
class Link:
    """One link of the chain: ``agrees``, ``differs``, ``is missing`` or ``not checked``; what was seen."""

    name: str
    state: str
    seen: str


@dataclass(frozen=True)
class Reproduction:
    """What has become of the chain of a result file."""

    file: Path
    links: tuple[Link, ...]

    @property
    def first(self) -> Link | None:
        """The first link that differs or is missing, from the faces up to the metric."""
        return next((link for link in self.links if link.state in {DIFFERS, MISSING}), None)

    def check(self) -> None:
        """Raise DataError that names the first link that differs or is missing."""
        if self.first is not None:
            raise DataError(f"{self.first.name} {self.first.state}: {self.first.seen}", file=str(self.file))


def reproduce(
    path: Path | str,
    *,
    check: bool = False,
    checkpoint: Path | str | None = None,
    data: Path | str | None = None,
    store: Path | str = "store",
    device: str = "cpu",
    hooks: Hooks = SILENT,
) -> Reproduction:
    """Check a result file's chain: base, LR variant, view, run, checkpoint, list, revision, settings, metric.

    Args:
        path: the file, of one model on one benchmark, as ``lrfr eval`` writes it.
        check: measure nothing again: the metric is computed from the scores that the file keeps.
        checkpoint: where the model lies now; by default where the file says, seen from the current folder or
            from a folder above the file.
        data: where the benchmark's data lie now; by default likewise.
        store: the pair store of the view that the model was trained on, by default likewise.
        device: where a checkpoint runs.
        hooks: progress in images.

    Raises:
        DataError: no such file, or not a result file.

    """
    results = read_results([Path(path)])
    if not results:
        raise DataError("holds no result", file=str(path))
    first, file = results[0], Path(path)
    model, no_model = _find("checkpoint", checkpoint or first.model.checkpoint, file)
    place, no_list = _find("data", data or first.data, file)
    with suppress(AbsentFile):  # a store may stay away
        store = find_named(store, file, "--store")
    results = [replace(one, model=replace(one.model, checkpoint=model), data=place) for one in results]
    first = results[0]
    links = [*_of_view(first, Path(store)), _run(first), no_model or _checkpoint(first)]
    lasting = check or model is None or links[-1].state != AGREES
    links += _unread(no_list) if no_list else _of_test(results, lasting, device, hooks)
    return Reproduction(Path(path), tuple(links))


def _find(what: str, place: Path | str | None, file: Path) -> tuple[str | None, Link | None]:
    """Return where the checkpoint or the data lie now, or where they should and the link that misses them."""
    try:
        return None if place is None else str(find_named(place, file, f"--{what}")), None
    except AbsentFile as error:
        return str(place), Link("list" if what == "data" else what, MISSING, str(error))


def _guarded(name: str, look: Callable[[], str]) -> Link:
    """Return the link that ``look`` speaks for: what it returns agrees, what it raises differs."""
    try:
        return Link(name, AGREES, look())
    except LrfrError as error:
        return Link(name, DIFFERS, str(error))


def _of_view(result: Result, root: Path) -> Iterator[Link]:
    """Look at the base, the LR variants and the view."""
    digest = result.model.view_digest
    names = ("base", "LR variant", "view")
    if digest is None or not root.is_dir():
        why = "the result names no view" if digest is None else f"there is no store '{root}'"
        yield from (Link(name, UNKNOWN, why) for name in names)
        return
    try:
        view = find_view(root, digest)
    except LrfrError as error:
        yield from (Link(name, UNKNOWN, "the view cannot be read") for name in names[:2])
        yield Link("view", DIFFERS, str(error))
        return
    if view is None:
        yield from (Link(name, UNKNOWN, "the view is not in the store") for name in names[:2])
        yield Link("view", DIFFERS, f"none in '{root}' has the digest {digest[:12]}")
        return
    place = StoreFiles(root)
    variants = [key for part in view.parts for key in part.lr]
    yield _guarded("base", lambda: _sound(*(place.base(part.base) for part in view.parts)))
    yield _guarded("LR variant", lambda: _sound(*map(place.lr, variants)))
    yield Link("view", AGREES, f"'{view.name}', {digest[:12]}")


def _sound(*folders: Path) -> str:
    for folder in folders:
        findings = check_folder(folder)
        if findings:
            raise DataError(str(findings[0]), file=str(folder), hint="lrfr store verify")
    return ", ".join(folder.name for folder in folders) or "none"


def _run(result: Result) -> Link:
    """Look at the run that the checkpoint lies in."""
    model = result.model
    folder = Path(model.checkpoint or "")
    run = folder.parent.parent
    if model.checkpoint is None or not (run / "run.json").is_file():
        return Link("run", UNKNOWN, "the model is no checkpoint of a run here")

    def look() -> str:
        """Return what the run's record says that it was made of."""
        from lrfr.train.engine.run_record import RunRecord

        identity = RunRecord.read(run).identity
        found = {"view": identity.view, "method": identity.method, "parents": dict(identity.parents)}
        wanted = {"view": model.view_digest, "method": model.method, "parents": dict(model.parents)}
        for name, value in wanted.items():
            if found[name] != value:
                raise DataError(f"its {name} is {found[name]}, the result's {value}", file=str(run))
        return str(run)

    return _guarded("run", look)


def _checkpoint(result: Result) -> Link:
    model = result.model
    if model.checkpoint is None:
        return Link("checkpoint", UNKNOWN, "the model is a callable")

    def look() -> str:
        digest = open_recognizer(
            model.checkpoint or "", needs=_needs(result), changes=model.changes
        ).model.digest
        if digest != model.digest:
            raise DataError(
                f"its digest is {(digest or '-')[:12]}, the result's {(model.digest or '-')[:12]}",
                file=model.checkpoint,
            )
        return (digest or "")[:12]

    return _guarded("checkpoint", look)


def _needs(result: Result) -> str:
    return {"attributes": "attributes", "classification": "classes"}.get(result.protocol, "embeddings")


def _of_test(results: list[Result], check: bool, device: str, hooks: Hooks) -> list[Link]:
    """Look at list, revision, settings and metric."""
    first = results[0]
    names = ("list", "revision", "settings", "metric")
    if not first.revision or first.test is None or first.settings is None:
        return [Link(name, UNKNOWN, "written before results had names") for name in names]
    settings = _guarded("settings", lambda: _same_settings(first))
    try:
        benchmark = find_benchmark(first.test)
        again = _again(results, benchmark, check or settings.state == DIFFERS, device, hooks)
        listed = _guarded("list", lambda: _same_lists(results, again))
    except LrfrError as error:
        return _unread(Link("list", DIFFERS, str(error)))
    revision = _guarded("revision", lambda: _same_revision(first, benchmark))
    if revision.state == DIFFERS and listed.state == DIFFERS:
        listed = Link("list", UNKNOWN, "another revision may name it in another way")
    if check:
        return [
            listed,
            revision,
            settings,
            _guarded("metric", lambda: kept_scores_agree(results, _TOLERANCE)),
        ]
    return [listed, revision, settings, _guarded("metric", lambda: _same_metrics(results, again))]


def _unread(broken: Link) -> list[Link]:
    return [
        broken,
        *(Link(name, UNKNOWN, "the list cannot be read") for name in ("revision", "settings", "metric")),
    ]


def _again(
    results: list[Result], benchmark: Benchmark, check: bool, device: str, hooks: Hooks
) -> dict[object, Result]:
    """Return the results by their cell: measured again, or of a stand-in that only reads the lists."""
    first = results[0]
    sizes = list(dict.fromkeys(size for result in results for size in result.sizes or ()))
    matching = sorted({result.matching or "same" for result in results})
    given = dict(first.settings or {}) | {"sizes": sizes, "matching": matching, "any_folds": True}
    settings = settings_from(given | {"replicates": 0} if check else given)
    data = check_data(first.test or "", benchmark, first.data)
    if check or not first.model.checkpoint:
        opened = Recognizer(_StandIn(first), first.model)
    else:
        opened = open_recognizer(
            first.model.checkpoint, needs=benchmark.needs, device=device, changes=first.model.changes
        )
    return {_cell(found): found for found in measure(opened, benchmark, data, settings, hooks=hooks)}


class _StandIn:
    """Gives what a protocol takes, so that it reads its lists; the numbers mean nothing."""

    def __init__(self, result: Result) -> None:
        self.attribute_names = tuple(name for name in result.metrics if name != "mean")
        needs = _needs(result)
        self._width = {"attributes": len(self.attribute_names), "classes": 10}.get(needs, 3)

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return [N, D] from the images' mean colors."""
        means = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images])
        return np.resize(means + 1, (len(images), self._width)).astype(np.float32)


def _cell(result: Result) -> object:
    return result.benchmark, result.protocol, result.matching, result.sizes


def _same_settings(result: Result) -> str:
    digest = settings_from(result.settings or {}).digest()
    if digest != result.settings_digest:
        raise DataError(f"their digest is {digest[:12]}, the result's {(result.settings_digest or '-')[:12]}")
    return ", ".join(f"{name} {value}" for name, value in (result.settings or {}).items()) or "all defaults"


def _same_lists(results: list[Result], again: dict[object, Result]) -> str:
    for result in results:
        found = again.get(_cell(result))
        if found is None:
            raise DataError(f"gives no result for {result.benchmark} at {result.sizes}")
        for name in ("list_digest", "pixels_digest", "spec_digests"):
            here, there = getattr(found, name), getattr(result, name)
            if here != there:
                what = name.replace("_", " ")
                raise DataError(f"{what} is {str(here)[:12]}, the result's {str(there)[:12]}")
    return str(results[0].list_digest)[:12]


def _same_revision(result: Result, benchmark: Benchmark) -> str:
    if benchmark.revision != result.revision:
        raise DataError(f"this lrfr has revision {benchmark.revision}, the result {result.revision}")
    return str(result.revision)


def _same_metrics(results: list[Result], again: dict[object, Result]) -> str:
    largest = 0.0
    for result in results:
        found = again[_cell(result)].metrics
        for name, value in result.metrics.items():
            here = found[name].value if name in found else float("nan")
            largest = max(largest, abs(here - value.value))
            if not abs(here - value.value) <= _TOLERANCE:
                raise DataError(f"{name} at {result.sizes} is {here:.6f}, the result's {value.value:.6f}")
    return f"measured again, the same within {largest:.1g}"
