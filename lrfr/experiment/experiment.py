"""A declared comparison as an object: load it, look at its plan, run it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lrfr.core.errors import DataError, EnvironmentFault, LrfrError, SpecError, as_path, did_you_mean
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.eval.result_files import read_results, without_options
from lrfr.eval.results import Metric
from lrfr.experiment.declare import Declaration, load_declaration
from lrfr.experiment.steps.command_plan import Step, steps_of, without_parts
from lrfr.experiment.steps.launch import RayLaunch
from lrfr.experiment.steps.runner import BAD, ENDED_BADLY, StepRunner, digests_of
from lrfr.experiment.steps.savings import Savings, measure
from lrfr.pairs.executors.ray import ray_session
from lrfr.pairs.sources.places import from_anywhere, is_kind_of_source

SHIPPED = Path(__file__).parent / "shipped"
_SHOWN = 100
_TRUST_S = 30.0


@dataclass(frozen=True)
class PlannedStep:
    """One command line of a plan: whether it is done, and how long it took or may take, in seconds."""

    step: str
    state: str
    seconds: float | None
    command: str

    @property
    def short(self) -> str:
        """The command, cut to a line."""
        return _short(self.command)


@dataclass(frozen=True)
class ExperimentPlan:
    """What an experiment will do in a folder."""

    folder: Path
    steps: tuple[PlannedStep, ...]

    @property
    def ahead(self) -> list[PlannedStep]:
        """The steps that are not done."""
        return [step for step in self.steps if step.state == "to do"]

    @property
    def estimate_s(self) -> float:
        """Seconds that the steps ahead may take, as far as there are estimates."""
        return sum(step.seconds or 0.0 for step in self.ahead)

    def as_json(self) -> dict[str, object]:
        """Return the plan as plain data."""
        return {
            "folder": str(self.folder),
            "steps": [asdict(row) for row in self.steps],
            "estimate_s": self.estimate_s,
            "without_estimate": self.without_estimate,
        }

    @property
    def without_estimate(self) -> int:
        """How many steps ahead have none."""
        return sum(step.seconds is None for step in self.ahead)


@dataclass(frozen=True)
class Accuracies:
    """Cross-resolution accuracies of one trained model, by the side of the small image in px."""

    model: str
    cells: Mapping[str, Metric]


@dataclass(frozen=True)
class Outcome:
    """What a run of an experiment has come to.

    Attributes:
        folder: where everything lies.
        states: of each step: ``kept``, ``done``, ``failed``, ``stopped`` or ``skipped``.
        report: the page, where one was made.
        savings: what the shared store has saved, where it was used.

    """

    folder: Path
    states: Mapping[str, str]
    report: Path | None
    savings: Savings | None

    def as_json(self) -> dict[str, object]:
        """Return folder, states and report as plain data."""
        report = str(self.report) if self.report else None
        return {"folder": str(self.folder), "states": dict(self.states), "report": report}


class Experiment:
    """A declared comparison: views, trainings, evaluations, one report.

    Every step is an ordinary lrfr command line; what exists is not redone, what fails stops no other.

    Args:
        declaration: what is compared.
        folder: where it runs (default: the declaration's name).

    """

    def __init__(self, declaration: Declaration, folder: Path | None = None) -> None:
        self.declaration = declaration
        self.folder = folder or Path(declaration.name)
        self.steps = steps_of(declaration)

    def __repr__(self) -> str:
        return f"Experiment({self.declaration.name!r}, {len(self.steps)} steps in {str(self.folder)!r})"

    @classmethod
    def load(
        cls,
        name: str | Path,
        folder: Path | str | None = None,
        *,
        places: Mapping[str, str] | None = None,
        embedded: bool = False,
        without: Iterable[str] = (),
    ) -> Experiment:
        """Read an experiment file, or a shipped one by its name.

        Args:
            name: path of the YAML file, or a shipped name such as ``demo``.
            folder: where it runs (default: the experiment's name).
            places: replaces the file's own ``places``, by name; a path is relative to the current folder.
            embedded: the same comparison, small, on invented faces: the file's part ``embedded``.
            without: views, trainings, ... that are left out, with all that builds on them.

        Raises:
            SpecError: no such file, it declares something wrong, with the line, or nothing lies at a place.

        """
        path = _find(str(as_path(name, "an experiment, or its name")))
        whole = load_declaration(path, _looked_for(places or {}), embedded=embedded)
        declaration = without_parts(whole, without)
        own = Path(declaration.name + ("-embedded" if embedded else ""))
        return cls(declaration, Path(folder) if folder is not None else own)

    def plan(self) -> ExperimentPlan:
        """Return the steps, what is done already, and how long each took or may take."""
        runner, digests = StepRunner(self.folder), digests_of(self.steps)
        return ExperimentPlan(
            self.folder, tuple(_planned(runner, step, digests[step.id]) for step in self.steps)
        )

    def run(
        self, *, jobs: int = 1, ray: bool = False, ray_address: str | None = None, hooks: Hooks = SILENT
    ) -> Outcome:
        """Run what is not done, and make the report.

        Args:
            jobs: steps side by side; they share the cores.
            ray: run steps as Ray tasks, here or on ``ray_address``.
            ray_address: of a running Ray cluster (``auto`` finds one); its nodes share the folder.
            hooks: one note a step; progress in steps; a wish to stop ends running steps, which go on later.

        Raises:
            DataError, EnvironmentFault: steps failed, the first by a fault of its own or the machine's;
                what could be done without them is done.
            Stopped: the hooks asked for it.

        """
        with _runner(self.folder, jobs, ray, ray_address) as runner:
            states = runner.run(self.steps, _Narrator(self.steps, jobs, hooks).on_step, hooks)
        if hooks.stopping() and BAD & set(states.values()):
            raise Stopped
        if BAD & set(states.values()):
            raise _failure(runner, self.steps, states)
        page = self.folder / "report.html"
        report = page if page.exists() else None
        kept = sum(state == "kept" for state in states.values())
        where = f"; report: {report}" if report else ""
        hooks.note(f"{len(self.steps)} steps, {kept} of them done before{where}")
        return Outcome(self.folder, states, report, measure(self.declaration, self.folder))

    def accuracies(self) -> list[Accuracies]:
        """Return the cross-resolution accuracies of every trained model (its first seed)."""
        found = []
        for evaluation in self.declaration.evaluations:
            for name, training in self.declaration.trainings.items():
                file = self.folder / "results" / f"{evaluation}-{name}-s{training.seeds[0]}.json"
                cross = [item for item in read_results([file]) if item.matching == "cross" and item.sizes]
                cells = {f"{item.sizes[1]} px": item.metrics["accuracy"] for item in cross if item.sizes}
                found.append(Accuracies(name, cells))
        return found


def _find(name: str) -> Path:
    """Return the file of that name, else the shipped experiment of that name."""
    path = Path(name)
    shipped = {item.stem: item for item in SHIPPED.glob("*.yaml")}
    if path.exists():
        return path
    if path.stem in shipped and path.parent == Path():
        return shipped[path.stem]
    raise SpecError("no such experiment file", file=name, hint=did_you_mean(path.stem, shipped))


def _looked_for(places: Mapping[str, str]) -> dict[str, str]:
    for name, place in places.items():
        if not is_kind_of_source(place) and not Path(without_options(place)).exists():
            raise SpecError(f"nothing lies at the place '{name}'", file=place, hint=f"--place {name}=PATH")
    return {name: from_anywhere(place) for name, place in places.items()}


def _planned(runner: StepRunner, step: Step, digest: str) -> PlannedStep:
    known = runner.record(step)
    state = "done" if runner.done(step, digest) else "to do"
    return PlannedStep(step.id, state, known.seconds if known else step.estimate_s, shlex.join(step.argv))


@contextmanager
def _runner(folder: Path, jobs: int, ray: bool, address: str | None) -> Iterator[StepRunner]:
    if not (ray or address):
        yield StepRunner(folder, jobs=jobs)
        return
    cores = max(1, (os.cpu_count() or 1) // jobs)
    with ray_session(jobs * cores, address) as session:
        yield StepRunner(folder, jobs=jobs, launch=RayLaunch(session, cores))


class _Narrator:
    """One note a step, with the time that is left."""

    def __init__(self, steps: list[Step], jobs: int, hooks: Hooks) -> None:
        self._count, self._hooks = len(steps), hooks
        self._clock = Clock({step.id: step.estimate_s for step in steps}, jobs)

    def on_step(self, step: Step, state: str, seconds: float | None) -> None:
        """Say what has become of a step."""
        clock, hooks = self._clock, self._hooks
        if state == "running":
            hooks.note(f"[{clock.ended + 1}/{self._count}] lrfr {shlex.join(step.argv)}")
            return
        clock.end(step.id, seconds)
        hooks.progress(clock.ended, self._count, step=step.id)
        if state != "kept":
            took = f" in {seconds:.0f} s" if seconds is not None else ""
            hooks.note(f"[{clock.ended}/{self._count}] {step.id} {state}{took}{clock.left()}")


class Clock:
    """The time that is left: estimates of the steps ahead, by how the estimates of those behind have held."""

    def __init__(self, estimates: Mapping[str, float | None], jobs: int) -> None:
        self._estimates, self._jobs = estimates, jobs
        self._ahead = {name: seconds or 0.0 for name, seconds in estimates.items()}
        self._estimated = self._taken = 0.0
        self.ended = 0

    def end(self, step_id: str, seconds: float | None) -> None:
        """Count a step that has ended, after ``seconds`` if it ran."""
        self.ended += 1
        del self._ahead[step_id]
        estimate = self._estimates[step_id]
        if seconds is not None and estimate:
            self._estimated, self._taken = self._estimated + estimate, self._taken + seconds

    def left(self) -> str:
        """Return the time left in words; nothing before a step with an estimate has run."""
        if not self._estimated:
            return ""
        # a short step says little about the others: what starts a process is most of it
        slower = (self._taken + _TRUST_S) / (self._estimated + _TRUST_S)
        seconds = sum(self._ahead.values()) * slower / self._jobs
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"


def _failure(runner: StepRunner, steps: list[Step], states: Mapping[str, str]) -> LrfrError:
    first = next(step for step in steps if states[step.id] in ENDED_BADLY)
    record = runner.record(first)
    message = ((record.error if record else None) or {}).get("message", "no message")
    skipped = sum(state == "skipped" for state in states.values())
    failed = sum(state in ENDED_BADLY for state in states.values())
    kind = EnvironmentFault if record and record.code == EnvironmentFault.exit_code else DataError
    return kind(
        f"{failed} of {len(steps)} steps failed and {skipped} were left out; first {first.id}: {message}",
        file=str(runner.folder / "logs" / f"{first.id}.log"),
        hint="mend it and run the same command again: what is done is kept",
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
