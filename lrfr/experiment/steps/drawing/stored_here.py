"""What models reach against what they store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.eval.analysis import charts
from lrfr.eval.low_res import size_label
from lrfr.eval.result_files import read_results
from lrfr.eval.results import Result


def draw_stored(results: Sequence[Path], metric: str = "accuracy") -> bytes:
    """Return the picture of a metric against the millions of parameters that each model stores (BTNet
    Fig. 7): those of all its networks for faces, shared ones once.

    Raises:
        DataError: no result has the metric, or a checkpoint is no longer there.

    """
    points: dict[str, tuple[float, dict[str, float]]] = {}
    for file in results:
        for result in read_results([file]):
            if metric not in result.metrics:
                continue
            _, values = points.setdefault(result.model.name, (stored_parameters(result, file) / 1e6, {}))
            values[_condition(result)] = 100 * result.metrics[metric].value
    if not points:
        raise DataError(f"no result has the metric '{metric}'", hint="lrfr eval writes such files")
    return charts.trade(points, "stored parameters, millions", f"{metric}, %")


def _condition(result: Result) -> str:
    sizes = " & ".join(size_label(size) for size in result.sizes or ())
    return " ".join(word for word in (result.benchmark, sizes) if word)


def stored_parameters(result: Result, file: Path) -> int:
    """Return how many parameters the recognizer of a result stores; its checkpoint is looked for here, then
    in the folders that the file lies in.

    Raises:
        DataError: it is not there.

    """
    from lrfr.train.weights.load_nets import load_nets
    from lrfr.train.weights.routes.router import is_router, read_routes

    wanted = result.model.checkpoint
    folders = [] if wanted is None else [Path(), *file.absolute().parents]
    place = next((path for path in (folder / str(wanted) for folder in folders) if path.exists()), None)
    if place is None:
        raise DataError(f"the checkpoint {wanted} of this result is not there", file=str(file))
    members = read_routes(place).members if is_router(place) else ()
    # one checkpoint may take several sizes
    parts = {member.digest: member.checkpoint for member in members}.values() or [place]
    return sum(parameter.numel() for part in parts for parameter in load_nets(part).nets["net"].parameters())


def results_of(folder: Path) -> list[Path]:
    """Return the result files of a folder, or of the ``results`` in it: of a sweep, of an experiment.

    Raises:
        DataError: there is none.

    """
    # the folder of a sweep or an experiment has files of its own beside (report.json)
    found = sorted((folder / "results").glob("*.json")) or sorted(folder.glob("*.json"))
    if not found:
        raise DataError(
            "no result file (*.json) in this folder",
            file=str(folder),
            hint="lrfr eval and lrfr sweep write such files",
        )
    return found
