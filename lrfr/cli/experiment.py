"""``lrfr experiment``: a declared comparison, run as a resumable plan of command lines."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command
from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.experiment.declare import Experiment, load_experiment
from lrfr.experiment.plan import Step, plan
from lrfr.experiment.runner import StepRunner, digests_of

SHIPPED = Path(__file__).parents[1] / "experiment" / "shipped"


@command("experiment", short_help="Run a declared comparison: views, trainings, evaluations, one report.")
@click.argument("file", metavar="FILE.yaml")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Folder to work in [default: the experiment's name]."
)
@click.option(
    "--place",
    "places",
    multiple=True,
    metavar="NAME=PATH",
    help="Where a place of the file lies, e.g. faces=/data/faces.",
)
@click.option(
    "--embedded",
    is_flag=True,
    help="The same comparison, small, on embedded faces: the file's part 'embedded'.",
)
@click.option(
    "--plan", "--dry-run", "only_plan", is_flag=True, help="Show the steps and time estimates; write nothing."
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Steps side by side; they share the cores.",
)
@click.option(
    "--ray", "on_ray", is_flag=True, help="Run steps as Ray tasks, --jobs at once, here or on --ray-address."
)
@click.option(
    "--ray-address", help="Address of a running Ray cluster ('auto' finds one); its nodes share the folder."
)
def experiment(out: Output, file: str, **given: Any) -> dict[str, Any]:
    """Run a declared comparison as a resumable plan and write one report.

    FILE.yaml names views, trainings (with recipes and seeds) and evaluations; a shipped name such as demo
    works as well. Every step is an ordinary lrfr command line. What exists is not redone, what fails does not
    stop the rest.

    \b
    Examples:
      lrfr experiment demo --plan
      lrfr experiment my-comparison.yaml --folder results/my-comparison
      lrfr experiment lrfr-five --place faces=/data/faces --jobs 2
      lrfr experiment lrfr-five --embedded --jobs 2 --ray
    """
    declared = load_experiment(
        find(file), dict(_place(word) for word in given["places"]), embedded=given["embedded"]
    )
    steps = plan(declared)
    folder = given["folder"] or Path(declared.name + ("-embedded" if given["embedded"] else ""))
    jobs: int = given["jobs"]
    if given["only_plan"] or not (given["on_ray"] or given["ray_address"]):
        runner = StepRunner(folder, jobs=jobs)
        return show_plan(out, runner, steps) if given["only_plan"] else _run(out, runner, steps, declared)
    from lrfr.experiment.launch import RayLaunch
    from lrfr.pairs.executors.ray import ray_session

    cores = max(1, (os.cpu_count() or 1) // jobs)
    with ray_session(jobs * cores, given["ray_address"]) as ray:
        return _run(out, StepRunner(folder, jobs=jobs, launch=RayLaunch(ray, cores)), steps, declared)


def _run(out: Output, runner: StepRunner, steps: list[Step], declared: Experiment) -> dict[str, Any]:
    from lrfr.experiment.savings import measure

    result = run_steps(out, runner, steps)
    saved = measure(declared, runner.folder)
    if saved:
        out.note(
            f"{saved['trainings']} trainings read {saved['images_read']:,} images, "
            f"{saved['images_degraded']:,} were degraded; "
            f"{saved['MB_written']:,.0f} MB written, private copies would be "
            f"{saved['MB_private_copies']:,.0f} MB"
        )
    return result | {"reuse": saved}


def _place(word: str) -> tuple[str, str]:
    name, equals, path = word.partition("=")
    if not equals or not path:
        raise SpecError(f"--place takes NAME=PATH, got '{word}'", hint="--place faces=/data/faces")
    return name, str(Path(path).absolute())


def find(name: str) -> Path:
    """Return the file of that name, else the shipped experiment of that name."""
    path = Path(name)
    shipped = {item.stem: item for item in SHIPPED.glob("*.yaml")}
    if path.exists():
        return path
    if path.stem in shipped and path.parent == Path():
        return shipped[path.stem]
    raise SpecError("no such experiment file", file=name, hint=did_you_mean(path.stem, shipped))


def show_plan(out: Output, runner: StepRunner, steps: list[Step]) -> dict[str, Any]:
    """Print the steps with what is done already and how long each took or may take."""
    digests = digests_of(steps)
    rows: list[dict[str, Any]] = []
    for step in steps:
        done = runner.done(step, digests[step.id])
        known = runner.record(step)
        seconds = known["seconds"] if known else step.estimate_s
        rows.append(
            {
                "step": step.id,
                "state": "done" if done else "to do",
                "seconds": seconds,
                "command": line(step.argv),
            }
        )
    out.table(
        ["step", "state", "s", "command"],
        [[row["step"], row["state"], row["seconds"], _short(row["command"])] for row in rows],
    )
    ahead = [row["seconds"] for row in rows if row["state"] == "to do"]
    total = sum(seconds for seconds in ahead if seconds is not None)
    unknown = sum(seconds is None for seconds in ahead)
    out.say(
        f"{len(ahead)} of {len(rows)} steps to do, about {total / 60:.1f} minutes"
        + (f" and {unknown} without estimate" if unknown else "")
    )
    return {"folder": str(runner.folder), "steps": rows, "estimate_s": total, "without_estimate": unknown}


def run_steps(out: Output, runner: StepRunner, steps: list[Step]) -> dict[str, Any]:
    """Run the plan with one line a step; raise :class:`DataError` at the end when steps failed."""
    clock = _Clock({step.id: step.estimate_s for step in steps}, runner.jobs)

    def on_step(step: Step, state: str, seconds: float | None) -> None:
        if state == "running":
            out.note(f"[{clock.ended + 1}/{len(steps)}] {step.id} ...  lrfr {_short(line(step.argv))}")
            return
        clock.end(step.id, seconds)
        if state != "kept":
            took = f" in {seconds:.0f} s" if seconds is not None else ""
            out.note(f"[{clock.ended}/{len(steps)}] {step.id} {state}{took}{clock.left()}")

    states = runner.run(steps, on_step)
    bad = [name for name, state in states.items() if state in {"failed", "skipped"}]
    if bad:
        raise _failure(runner, steps, states)
    report = runner.folder / "report.html"
    kept = sum(state == "kept" for state in states.values())
    out.note(
        f"{len(steps)} steps, {kept} of them done before" + (f"; report: {report}" if report.exists() else "")
    )
    return {
        "folder": str(runner.folder),
        "states": states,
        "report": str(report) if report.exists() else None,
    }


class _Clock:
    """The time that is left: estimates of the steps ahead, by how the estimates of those behind have held."""

    def __init__(self, estimates: dict[str, float | None], jobs: int) -> None:
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
        return (
            f", about {sum(self._ahead.values()) * self._taken / self._estimated / self._jobs / 60:.0f} "
            f"min left"
        )


def _failure(runner: StepRunner, steps: list[Step], states: dict[str, str]) -> DataError:
    first = next(step for step in steps if states[step.id] == "failed")
    error = (runner.record(first) or {}).get("error") or {}
    skipped = sum(state == "skipped" for state in states.values())
    failed = sum(state == "failed" for state in states.values())
    return DataError(
        f"{failed} of {len(steps)} steps failed and {skipped} were left out; first {first.id}: "
        f"{error.get('message', 'no message')}",
        file=str(runner.folder / "logs" / f"{first.id}.log"),
        hint="mend it and run the same command again: what is done is kept",
    )


def line(argv: tuple[str, ...]) -> str:
    """Return a command line as one would type it."""
    return shlex.join(argv)


def _short(text: str, width: int = 100) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
