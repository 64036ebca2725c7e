"""A sweep: one training for each point of a grid, or of a list, over the keys of a recipe, as a declared
experiment.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lrfr.core.errors import SpecError
from lrfr.core.files import data_of, digest_of, make_folder, write_atomic
from lrfr.core.progress import SILENT, Hooks
from lrfr.experiment.declare import Declaration, Evaluation, Flags, Training, View
from lrfr.experiment.experiment import Experiment, Outcome
from lrfr.train.recipe import load_recipe

_MOST_POINTS = 1000
_HEAD = b"# Written by lrfr sweep, and again by the next one in this folder.\n"
Value = str


@dataclass(frozen=True)
class Sweep:
    """What is varied, and what stays.

    Attributes:
        method: of ``lrfr train``.
        over: key to its values, as ``--set`` takes them.
        recipe: of the method, or a YAML file.
        paired: the values belong together one by one (a list of points) in place of every combination.
        set: keys that all points share.
        parents: role to run.
        view: of the store.
        store: folder.
        seeds: of every point.
        flags: options of ``lrfr train`` that decide no number, such as ``device``.
        benchmark: that chooses.
        measure: options of ``lrfr eval``.
        metric: of the benchmark; it is shown for each pair of sizes.

    """

    method: str
    over: Mapping[str, Sequence[Value]]
    recipe: str = "tiny"
    paired: bool = False
    set: Mapping[str, Value] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    view: str = "default"
    store: str = "store"
    seeds: Sequence[int] = (0,)
    flags: Flags = field(default_factory=dict)
    benchmark: str = "synthetic"
    measure: Flags = field(default_factory=dict)
    metric: str = "accuracy"

    @classmethod
    def of_words(cls, method: str, given: Mapping[str, Any]) -> Sweep:
        """Return the sweep of options: ``over``, ``set`` and ``parents`` as mappings, values and seeds with
        commas between.

        Raises:
            SpecError: the seeds are no numbers.

        """
        if not re.fullmatch(r"\d+(,\d+)*", given["seeds"]):
            raise SpecError(f"--seeds takes numbers, got '{given['seeds']}'", hint="--seeds 0,1,2")
        data = _absolute(str(given["data"])) if given["data"] else None
        own = {"store": _absolute(str(given["store"])), "view": given["view"], "split": given["split"]}
        measure = {"data": data, "sizes": given["sizes"], **(own if given["benchmark"] == "view" else {})}
        same = ("recipe", "paired", "set", "parents", "view", "benchmark", "metric")
        return cls(
            method,
            {key: values_of(text) for key, text in given["over"].items()},
            **{name: given[name] for name in same},
            store=str(given["store"]),
            seeds=[int(seed) for seed in dict.fromkeys(given["seeds"].split(","))],
            flags={"device": given["device"]} if given["device"] != "auto" else {},
            measure={key: value for key, value in measure.items() if value},
        )

    def points(self) -> list[dict[str, Value]]:
        """Return the values of each point, in the order in which they are given.

        Raises:
            SpecError: nothing is varied, the lists of ``paired`` are not of one length, or there are more
                than a thousand points.

        """
        if not self.over or not all(self.over.values()):
            raise SpecError("a sweep needs values", hint="--over lambda=1,5,20")
        twice = next((key for key in self.over if key in self.set), None)
        if twice:
            raise SpecError(f"'{twice}' is varied and set", hint="leave one of them out")
        lengths = {key: len(values) for key, values in self.over.items()}
        if self.paired and len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} {count}" for key, count in lengths.items())
            raise SpecError(f"paired values must be equally many, are {told}")
        count = max(lengths.values()) if self.paired else math.prod(lengths.values())
        if count > _MOST_POINTS:
            raise SpecError(f"{count} points, at most {_MOST_POINTS}")
        values = (
            zip(*self.over.values(), strict=True) if self.paired else itertools.product(*self.over.values())
        )
        return [dict(zip(self.over, one, strict=True)) for one in values]


@dataclass(frozen=True)
class Planned:
    """A sweep as an experiment.

    Attributes:
        experiment: its steps: a training and an evaluation for each point and seed.
        runs: name of the training of each point; points that come to one recipe share it.
        points: as :meth:`Sweep.points`.
        trains_parents: whether parents are found or trained by the first training.

    """

    experiment: Experiment
    runs: tuple[str, ...]
    points: tuple[Mapping[str, Value], ...]
    trains_parents: bool


def values_of(text: str) -> list[Value]:
    """Split at commas outside brackets; what stands twice counts once."""
    values, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in ")}]")
        if letter == "," and not depth:
            values.append("")
        else:
            values[-1] += letter
    return list(dict.fromkeys(value.strip() for value in values if value.strip()))


def plan_sweep(sweep: Sweep, folder: Path) -> Planned:
    """Return a sweep as an experiment in ``folder``.

    A training is named by its recipe, view and parents: what an earlier sweep in the folder trained is not
    trained again, whatever else it varied and however values are spelled.

    Raises:
        SpecError: see :meth:`Sweep.points`; an unknown method, recipe or key, or a value that it cannot have.

    """
    points = sweep.points()
    runs: list[str] = []
    trainings: dict[str, Training] = {}
    given = {f"parent-{role}": _absolute(run) for role, run in sweep.parents.items()}
    parents, trains_parents = {role: f"parent-{role}" for role in sweep.parents}, False
    for point in points:
        changes = {**sweep.set, **point}
        recipe = load_recipe(sweep.method, sweep.recipe, [f"{key}={value}" for key, value in changes.items()])
        trains_parents |= bool(recipe.parents.keys() - sweep.parents.keys())
        decides = {"recipe": recipe.as_dict(), "view": sweep.view, "store": _absolute(sweep.store)}
        digest = digest_of(decides | {"parents": {k: _absolute(v) for k, v in sweep.parents.items()}})[:10]
        name = next((run for run in trainings if run.endswith(digest)), None)
        name = name or _known(folder, digest) or f"{_label(point)}-{digest}"
        runs.append(name)
        trainings[name] = Training(
            sweep.method,
            sweep.view,
            _absolute(sweep.recipe) if Path(sweep.recipe).is_file() else sweep.recipe,
            seeds=list(sweep.seeds),
            parents=parents,
            set=dict(changes),
            flags=dict(sweep.flags),
        )
    declaration = Declaration(
        1,
        folder.name,
        {sweep.view: View(store=_absolute(sweep.store))},
        trainings,
        {sweep.benchmark: Evaluation(sweep.benchmark, list(trainings), dict(sweep.measure))},
        title=f"{sweep.method}: {', '.join(sweep.over)}",
        given=given,
    )
    return Planned(Experiment(declaration, folder), tuple(runs), tuple(points), trains_parents)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


def _label(point: Mapping[str, Value]) -> str:
    words = "-".join(f"{key.rsplit('.', 1)[-1]}-{value}" for key, value in point.items())
    return re.sub(r"[^A-Za-z0-9._-]+", "_", words)[:60].strip("._-")


def _known(folder: Path, digest: str) -> str | None:
    """Return the name under which an earlier sweep trained the same."""
    found = sorted((folder / "runs").glob(f"*-{digest}-s*"))
    return found[0].name.rpartition("-s")[0] if found else None


def run_sweep(planned: Planned, *, jobs: int = 1, hooks: Hooks = SILENT) -> Outcome:
    """Run what is not done; parents that are to be trained are trained once, before anything runs side by
    side. The declaration is written beside the results, as ``experiment.yaml``.

    Raises:
        SpecError: another file of that name is there.
        DataError, Stopped: see :meth:`lrfr.experiment.experiment.Experiment.run`.

    """
    whole = planned.experiment
    make_folder(whole.folder)
    _write_declaration(whole.folder / "experiment.yaml", declared(whole.declaration))
    if jobs > 1 and planned.trains_parents:
        first = Experiment(whole.declaration, whole.folder)
        first.steps = first.steps[:1]
        first.run(hooks=hooks)
    return whole.run(jobs=jobs, hooks=hooks)


def _write_declaration(path: Path, data: bytes) -> None:
    """Write an experiment file where none lies, or that of an earlier sweep."""
    try:
        before = data_of(path) if os.path.lexists(path) else data
    except OSError:  # no file
        before = b""
    if not (before.startswith(_HEAD) or before == data[len(_HEAD) :]):
        hint = "name another --folder, or move the file away"
        raise SpecError("a file is there that no sweep has written", file=str(path), hint=hint)
    write_atomic(path, data, path.parent)


def declared(declaration: Declaration) -> bytes:
    """Return the declaration as the YAML of an experiment file, which ``lrfr experiment`` runs."""
    return _HEAD + yaml.safe_dump(_stated(asdict(declaration)), sort_keys=False).encode()


def _stated(value: object) -> object:
    """Return nested mappings without what is empty."""
    if not isinstance(value, dict):
        return value
    found = {key: _stated(item) for key, item in value.items()}
    return {key: item for key, item in found.items() if item is not None and item not in ({}, [], "")}
