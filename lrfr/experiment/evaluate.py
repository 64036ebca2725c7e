"""One model, one benchmark, typed results: what ``lrfr.evaluate`` and ``lrfr eval`` do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import EnvironmentFault, SpecError, as_path, check_kind
from lrfr.core.image import ImageU8
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.analysis.cost import measure as measure_cost
from lrfr.eval.low_res import LowRes, parse_sizes
from lrfr.eval.protocols.layout import told_tree
from lrfr.eval.protocols.table import Benchmark, find_benchmark
from lrfr.eval.report.summary import NOT_RESOLVABLE, remarks_of, resolvable, summaries
from lrfr.eval.report.text_table import aligned
from lrfr.eval.result_files import without_options, write_results
from lrfr.eval.results import Model, Result
from lrfr.eval.settings import DEFAULT_SIZES, Settings, Task, settings_from
from lrfr.experiment.models import Measurable, Recognizer, open_recognizer
from lrfr.experiment.own_view import ViewWish, fetched_place, with_own_view

if TYPE_CHECKING:
    import pandas as pd


class Results(Sequence[Result]):
    """The results of one evaluation, in order; shown as a table.

    Args:
        results: what a benchmark returned.

    """

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = list(results)

    @overload
    def __getitem__(self, place: int) -> Result: ...

    @overload
    def __getitem__(self, place: slice) -> Results: ...

    def __getitem__(self, place: int | slice) -> Result | Results:
        """Return one result, or some of them."""
        return Results(self._results[place]) if isinstance(place, slice) else self._results[place]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __repr__(self) -> str:
        blocks = [aligned(block.columns, block.rows, block.caption) for block in summaries(self._results)]
        told = [] if resolvable(self._results) else [NOT_RESOLVABLE]
        return "\n\n".join([*blocks, *told, *remarks_of(self._results)])

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a metric: benchmark, protocol, model, matching, sizes, metric, value, n, interval.

        Raises:
            EnvironmentFault: the package pandas is missing.

        """
        try:
            import pandas as pd
        except ImportError:
            raise EnvironmentFault("this needs the package 'pandas'", hint="pip install pandas") from None
        rows = [
            {
                "benchmark": result.benchmark,
                "protocol": result.protocol,
                "model": result.model.name,
                "matching": result.matching,
                "first_size": result.sizes[0] if result.sizes else None,
                "second_size": result.sizes[1] if result.sizes else None,
                "metric": name,
                "value": found.value,
                "n": found.n,
                "low": found.interval.low if found.interval else None,
                "high": found.interval.high if found.interval else None,
                "resolvable": found.resolvable,
                "id": result.id,
            }
            for result in self._results
            for name, found in result.metrics.items()
        ]
        return pd.DataFrame(rows)

    def made_by(self, command: str) -> Results:
        """Return the results with the command line that made them."""
        return Results([replace(result, command=command) for result in self._results])

    def save(self, path: Path | str) -> Path:
        """Write a result file, as ``lrfr report`` and ``lrfr reproduce`` read it, and return its path."""
        write_results(self._results, Path(path))
        return Path(path)

    def report(self, path: Path | str = "report.html", title: str | None = None) -> Path:
        """Write a page (HTML, with Markdown and JSON beside it) and return its path.

        Several files, pictures and paired tests: :func:`lrfr.eval.report.report.write_report`.
        """
        from lrfr.eval.report.report import TITLE, ReportOptions, write_report

        return write_report(self._results, Path(path), ReportOptions(title or TITLE))[0]


def evaluate(
    model: Measurable,
    benchmark: str | Benchmark = "synthetic",
    data: Path | str | None = None,
    *,
    device: str = "cpu",
    name: str | None = None,
    cost: bool = False,
    hooks: Hooks = SILENT,
    **settings: object,
) -> Results:
    """Measure a model on a benchmark.

    Args:
        model: path of a checkpoint, run, router or ``.onnx`` file; or any callable that takes uint8 RGB faces
            of any sizes to float32 embeddings ``[N, D]``.
        benchmark: a name of ``lrfr eval --list``, or a benchmark of your own.
        data: the benchmark's folder or file, as distributed; of ``view``, a store with options
            (``store,view=mine,split=test``): without a name, the view that the model was trained on.
        device: where a checkpoint runs.
        name: of the model, in tables.
        cost: also measure images/s, and parameters and multiply-adds of a checkpoint, for each size.
        hooks: progress in images.
        **settings: as of :class:`lrfr.eval.settings.Settings`: ``sizes=(112, 14)``, ``convention="B"``, ...

    Raises:
        SpecError: unknown benchmark or setting, no data where some is needed, or a model without such output.
        DataError: the data or the checkpoint are damaged or not as expected.

    """
    check_kind(benchmark, str | Benchmark, "a benchmark or its name")
    check_kind(hooks, Hooks, "hooks: a lrfr.Hooks")
    found = find_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    if isinstance(benchmark, str):
        data = view_data(benchmark, data, model, hooks=hooks)
    place = check_data(benchmark if isinstance(benchmark, str) else found.help, found, data)
    chosen = settings_from(settings)
    opened = open_recognizer(model, needs=found.needs, device=device, name=name)
    if cost:
        opened = with_cost(opened, chosen)
    test = benchmark if isinstance(benchmark, str) else None
    return measure(opened, found, place, chosen, test=test, hooks=hooks)


def measure(
    opened: Recognizer,
    benchmark: Benchmark,
    data: Path | None,
    settings: Settings,
    *,
    test: str | None = None,
    hooks: Hooks = SILENT,
) -> Results:
    """Run a benchmark, called ``test``, on an open model; every result says its revision and its data's
    place.
    """
    _check_aligns(test, benchmark, settings)
    task = Task(opened.embed, settings, opened.model, hooks)
    where = None if data is None else str(data)
    found = benchmark.run(data, task)
    return Results([replace(one, test=test, revision=benchmark.revision, data=where) for one in found])


def _check_aligns(test: str | None, benchmark: Benchmark, settings: Settings) -> None:
    if settings.align is not None and not benchmark.aligns:
        raise SpecError(
            f"benchmark '{test or benchmark.help}' takes no photographs",
            hint="cut its pictures first by 'lrfr align'",
        )


def rehearse(test: str, benchmark: Benchmark, data: Path | None, settings: Settings) -> None:
    """Let a benchmark read its lists and find its pictures up to the first that a model would be shown.

    Raises:
        SpecError, DataError: as the measurement would.

    """
    _check_aligns(test, benchmark, settings)
    with suppress(_Enough):
        benchmark.run(data, Task(_enough, replace(settings, align=None, replicates=0), Model("none")))


def told_input(opened: Recognizer) -> str:
    """Return what a foreign file takes and, where that is a guess, what a few faces say of it; nothing of
    other models.
    """
    from lrfr.train.weights.foreign.subject import ForeignEmbedder

    return opened.embed.told() if isinstance(opened.embed, ForeignEmbedder) else ""


class _Enough(Exception):
    """A rehearsal has come to the first pictures."""


def _enough(images: Sequence[ImageU8]) -> NDArray[np.float32]:
    raise _Enough


def with_cost(opened: Recognizer, settings: Settings) -> Recognizer:
    """Return the model with what an image of each size costs."""
    sides = [size for size in settings.sizes or DEFAULT_SIZES if isinstance(size, int)]
    return replace(opened, model=replace(opened.model, cost=measure_cost(opened.embed, sides)))


def settings_of_words(given: Mapping[str, object]) -> Settings:
    """Return settings of a command line, where ``sizes`` and ``matching`` are words with commas between, and
    ``interpolation`` and ``antialias`` stand for ``low_res``.

    Raises:
        SpecError: one of them is unknown or has a wrong value.

    """
    more = dict(given)
    sizes, matching = more.pop("sizes"), str(more.pop("matching"))
    low_res = LowRes(str(more.pop("interpolation")), bool(more.pop("antialias")))
    words = [word.strip() for word in matching.split(",")]
    sides = parse_sizes(str(sizes)) if sizes else None
    return settings_from(more | {"sizes": sides, "matching": words, "low_res": low_res})


def results_file(name: str, benchmark: str) -> Path:
    """Return where the results of a model go when no file is named."""
    letters = (letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return Path("results") / f"{''.join(letters).strip('.-') or 'model'}-{benchmark}.json"


def view_data(
    benchmark: str,
    data: Path | str | None,
    model: object,
    wish: ViewWish | None = None,
    hooks: Hooks = SILENT,
) -> Path | None:
    """Return the data of a benchmark; of ``view``, the faces of a store, with what was not named chosen.

    Args:
        benchmark: its name.
        data: what was named as its data.
        model: what is measured: a run is measured on the view that it was trained on.
        wish: store, view and options that were named in place of the data.
        hooks: hear what was chosen.

    Raises:
        SpecError: a view is named for another benchmark, or besides its data; no store is there.

    """
    wish = wish or ViewWish()
    asked = wish.view is not None or wish.more
    if asked and benchmark != "view":
        raise SpecError("--view, --split and --trials need --benchmark view")
    if asked and data is not None:
        raise SpecError("--data names the store and the view already", hint="leave it, or --view, out")
    if benchmark != "view":
        return None if data is None else as_path(data, "the data of a benchmark")
    data = data if data is None else fetched_place(data)
    if data is not None and not as_path(without_options(as_path(data, "a store")), "a store").is_dir():
        return Path(data)
    found, told = with_own_view(model, wish if data is None else ViewWish.of(data))
    if told:
        hooks.note(told)
    return found.data


def check_data(name: str, benchmark: Benchmark, data: Path | str | None) -> Path | None:
    """Return where the data lie.

    Raises:
        SpecError: there are none where some are needed, or nothing lies there.

    """
    if data is None:
        if benchmark.needs_data:
            raise SpecError(f"benchmark '{name}' needs --data", hint=told_tree(benchmark.tree))
        return None
    path = as_path(data, "the data of a benchmark")
    if not (path.exists() or Path(without_options(path)).exists()):
        raise SpecError("no such file or folder", file=str(data))
    return path
