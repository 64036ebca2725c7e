"""``lrfr route``: what its words mean, the weights of runs that share a side, and the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from lrfr.core.errors import SpecError
from lrfr.core.lists import is_count
from lrfr.train.weights.routes.route_weights import FittedWeights

Indicator = Literal["max", "min", "avg"]
Rule = Literal["ceil", "near", "floor"]
Runs = tuple[tuple[int | None, Path], ...]


@dataclass(frozen=True)
class Routes:
    """What was said: runs with their sides, weights by side where they were given, and the words of
    :class:`~lrfr.train.weights.routes.router.Choice`: indicator and rule.
    """

    runs: Runs
    weights: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    choice: tuple[Indicator, Rule] = ("max", "ceil")

    def shared(self) -> dict[int, list[Path]]:
        """Return the sides that several runs take."""
        sides: dict[int, list[Path]] = {}
        for side, path in self.runs:
            if side is not None:
                sides.setdefault(side, []).append(path)
        return {side: paths for side, paths in sides.items() if len(paths) > 1}


@dataclass(frozen=True)
class Routed:
    """What was written; a run of weight 0 is no member."""

    folder: Path
    digest: str
    members: int
    fitted: Mapping[int, FittedWeights]

    def lines(self) -> list[str]:
        """Return a line a fitted side."""
        return [
            f"up to {side} px: weights {', '.join(f'{w:g}' for w in one.weights)}, area under the ROC curve "
            f"{one.auc:.4f} (alone {', '.join(f'{area:.4f}' for area in one.alone)})"
            for side, one in self.fitted.items()
        ]

    def as_json(self) -> dict[str, object]:
        """Return plain values."""
        fitted = {str(side): asdict(one) for side, one in self.fitted.items()}
        return {"folder": str(self.folder), "digest": self.digest, "members": self.members, "fitted": fitted}


def spoken_routes(
    small: Sequence[str],
    rest: Path,
    weights: Sequence[str] = (),
    choice: tuple[Indicator, Rule] = ("max", "ceil"),
) -> Routes:
    """Read ``PX=RUN`` and ``PX=W,W``.

    Raises:
        SpecError: a word is malformed, or weights are given for a side that no runs share.

    """
    runs: Runs = (*(_route(word) for word in small), (None, rest))
    given = dict(_weights(word) for word in weights)
    routes = Routes(runs, given, choice)
    for side in given:
        if side not in routes.shared():
            raise SpecError(
                f"--weights {side}: no runs share this side", hint="--at 14=runs/a --at 14=runs/b"
            )
    return routes


def check_routes(folder: Path, routes: Routes, store: Path, fit_view: str | None = None) -> None:
    """Raise what :func:`route_here` would raise of what it is given; nothing is fitted or written."""
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.train.weights.routes.router import Choice, planned_members

    _open_sides(routes, fit_view)
    if fit_view is not None:
        PairDataset(store, fit_view)
    Choice(*routes.choice)
    planned_members(folder, routes.runs, routes.weights)


def route_here(folder: Path, routes: Routes, store: Path, fit_view: str | None = None) -> Routed:
    """Write routes; with ``fit_view`` fit the weights of every side that several runs share and that has
    none.

    Raises:
        SpecError, DataError: see :func:`lrfr.train.weights.routes.router.write_routes` and
            :func:`lrfr.train.weights.routes.route_weights.fit_route`.

    """
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.train.weights.routes.route_weights import fit_route
    from lrfr.train.weights.routes.router import Choice, read_routes, write_routes

    fitted: dict[int, FittedWeights] = {}
    open_sides = _open_sides(routes, fit_view)
    if fit_view is not None:
        dataset, rest = PairDataset(store, fit_view), next(path for side, path in routes.runs if side is None)
        fitted = {side: fit_route(dataset, side, runs, rest) for side, runs in open_sides.items()}
    weights = {**routes.weights, **{side: one.weights for side, one in fitted.items()}}
    digest = write_routes(folder, routes.runs, weights, Choice(*routes.choice))
    return Routed(folder, digest, len(read_routes(folder).members), fitted)


def _open_sides(routes: Routes, fit_view: str | None) -> dict[int, list[Path]]:
    sides = {side: runs for side, runs in routes.shared().items() if side not in routes.weights}
    if fit_view is not None and not sides:
        raise SpecError("--fit-view has no weights to fit", hint="--at 14=runs/a --at 14=runs/b")
    return sides


def _route(word: str) -> tuple[int, Path]:
    side, _, run = word.partition("=")
    if not is_count(side) or not run or int(side) < 1:
        raise SpecError(f"--at takes PX=RUN, got '{word}'", hint="--at 20=runs/student")
    return int(side), Path(run)


def _weights(word: str) -> tuple[int, tuple[float, ...]]:
    side, _, numbers = word.partition("=")
    try:
        found = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        found = ()
    if not is_count(side) or not found:
        raise SpecError(f"--weights takes PX=W,W, got '{word}'", hint="--weights 14=0.6,0.4")
    return int(side), found
