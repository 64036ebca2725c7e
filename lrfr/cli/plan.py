"""A declared comparison: a YAML file of views, trainings and evaluations becomes a list of lrfr command lines.

Every step *is* a command line that a user could type, so a report can say exactly how to make it again, and a step that
fails takes nothing with it but the steps that need it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from lrfr.yamlspec import Document, did_you_mean, load

_STRICT = ConfigDict(extra="forbid")
Flag = bool | int | float | str | list[int | float | str]
Flags = dict[str, Flag]


@checked(frozen=True, config=_STRICT)
class View:
    """One ``make-pairs`` line; ``flags`` are its options without the dashes."""

    flags: Flags = field(default_factory=dict)
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Training:
    """One ``train`` line per seed; ``parents`` maps a role (teacher, trunk, init, ...) to the name of a training above."""

    method: str
    view: str
    recipe: str | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    parents: dict[str, str] = field(default_factory=dict)
    set: dict[str, bool | int | float | str] = field(default_factory=dict)
    flags: Flags = field(default_factory=dict)
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Evaluation:
    """One ``eval`` line per trained model; ``of`` lists the trainings, all of them when empty."""

    benchmark: str
    of: list[str] = field(default_factory=list)
    flags: Flags = field(default_factory=dict)
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Picture:
    """One ``degrade --preview`` line: a contact sheet for the report."""

    caption: str
    flags: Flags = field(default_factory=dict)


@checked(frozen=True, config=_STRICT)
class Experiment:
    """The whole declaration; see ``docs/experiments.md``."""

    version: int
    name: str
    views: dict[str, View]
    trainings: dict[str, Training]
    evaluations: dict[str, Evaluation]
    title: str = ""
    pictures: dict[str, Picture] = field(default_factory=dict)
    report: Flags = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One command line of the plan; ``needs`` must have succeeded before it, ``after`` must only have ended."""

    id: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    estimate_s: float | None = None

    def digest(self, digests: dict[str, str]) -> str:
        """Return the identity of this step: its command line and those of everything before it."""
        text = json.dumps([self.argv, [digests[name] for name in self.needs]])
        return hashlib.sha256(text.encode()).hexdigest()


def load_experiment(path: Path) -> Experiment:
    """Read and check an experiment file.

    Raises:
        SpecError: with file, line, place and what was expected.

    """
    document = load(path)
    try:
        experiment: Experiment = TypeAdapter(Experiment).validate_python(document.data)
    except ValidationError as error:
        raise _explain(document, error) from None
    _check_names(document, experiment)
    return experiment


def _explain(document: Document, error: ValidationError) -> Exception:
    # a misspelt key explains the missing one, so it is shown first
    first = min(error.errors(), key=lambda item: item["type"] != "unexpected_keyword_argument")
    place = tuple(part for part in first["loc"] if not (isinstance(part, str) and part in {"int", "float", "str", "bool"}))
    hint = None
    if first["type"] == "unexpected_keyword_argument":
        kinds: dict[str, Any] = {"views": View, "trainings": Training, "evaluations": Evaluation, "pictures": Picture}
        kind = kinds.get(str(place[0]), Experiment) if len(place) > 1 else Experiment
        hint = did_you_mean(str(place[-1]), kind.__dataclass_fields__)
    return document.error(first["msg"], place, hint)


def _check_names(document: Document, experiment: Experiment) -> None:
    if experiment.version != 1:
        raise document.error("unknown version", ("version",), "this lrfr reads version 1")
    seen: set[str] = set()
    for name, training in experiment.trainings.items():
        if training.view not in experiment.views:
            hint = did_you_mean(training.view, experiment.views)
            raise document.error(f"unknown view '{training.view}'", ("trainings", name, "view"), hint)
        for role, used in training.parents.items():
            if used not in seen:
                place = ("trainings", name, "parents", role)
                raise document.error(f"'{used}' is no training above this one", place, did_you_mean(used, seen))
        seen.add(name)
    for name, evaluation in experiment.evaluations.items():
        for used in evaluation.of:
            if used not in experiment.trainings:
                raise document.error(f"unknown training '{used}'", ("evaluations", name, "of"), did_you_mean(used, experiment.trainings))


def plan(experiment: Experiment) -> list[Step]:
    """Return the steps in an order in which every step comes after what it needs; paths are relative to the experiment's folder."""
    steps = [
        Step(f"pairs-{name}", ("make-pairs", "--view", name, *_argv(view.flags)), estimate_s=view.estimate_s)
        for name, view in experiment.views.items()
    ]
    steps += [
        Step(f"picture-{name}", ("degrade", "--preview", "--out", f"pictures/{name}", *_argv(picture.flags)))
        for name, picture in experiment.pictures.items()
    ]
    for name, training in experiment.trainings.items():
        steps += _training_steps(name, training, experiment)
    for name, evaluation in experiment.evaluations.items():
        steps += _evaluation_steps(name, evaluation, experiment)
    return [*steps, *_report_step(experiment, steps)]


def _report_step(experiment: Experiment, steps: list[Step]) -> list[Step]:
    results = [_result_file(step.id) for step in steps if step.argv[0] == "eval"]
    if not results:
        return []
    title = ("--title", experiment.title) if experiment.title else ()
    pictures = [f"pictures/{name}/contact.png={picture.caption}" for name, picture in experiment.pictures.items()]
    shown = tuple(word for picture in pictures for word in ("--picture", picture))
    argv = ("report", *results, "--out", "report.html", *title, *shown, *_argv(experiment.report))
    return [Step("report", argv, after=tuple(step.id for step in steps if step.argv[0] in {"eval", "degrade"}))]


def _training_steps(name: str, training: Training, experiment: Experiment) -> list[Step]:
    steps = []
    for seed in training.seeds:
        parents = {role: _run_name(used, _seed_of(experiment.trainings[used], seed)) for role, used in training.parents.items()}
        argv = ["train", training.method, "--view", training.view, "--name", _run_name(name, seed)]
        argv += ["--recipe", training.recipe] if training.recipe else []
        argv += [word for role, run in parents.items() for word in ("--parent", f"{role}=runs/{run}")]
        argv += [word for key, value in {"train.seed": seed, **training.set}.items() for word in ("--set", f"{key}={_word(value)}")]
        needs = (f"pairs-{training.view}", *(f"train-{run}" for run in parents.values()))
        steps.append(Step(f"train-{_run_name(name, seed)}", (*argv, *_argv(training.flags)), needs, estimate_s=training.estimate_s))
    return steps


def _evaluation_steps(name: str, evaluation: Evaluation, experiment: Experiment) -> list[Step]:
    steps = []
    for training in evaluation.of or experiment.trainings:
        for seed in experiment.trainings[training].seeds:
            run = _run_name(training, seed)
            id_ = f"eval-{name}-{run}"
            argv = ("eval", f"runs/{run}", "--benchmark", evaluation.benchmark, "--out", _result_file(id_), *_argv(evaluation.flags))
            steps.append(Step(id_, argv, (f"train-{run}",), estimate_s=evaluation.estimate_s))
    return steps


def _run_name(training: str, seed: int) -> str:
    return f"{training}-s{seed}"


def _seed_of(training: Training, seed: int) -> int:
    """Pair seeds where both sides have the seed; else every student shares the first teacher."""
    return seed if seed in training.seeds else training.seeds[0]


def _result_file(step_id: str) -> str:
    return f"results/{step_id.removeprefix('eval-')}.json"


def _word(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _argv(flags: Flags) -> list[str]:
    words: list[str] = []
    for key, value in flags.items():
        option = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif isinstance(value, list) and key in {"spec", "set"}:
            words += [word for item in value for word in (option, str(item))]
        elif isinstance(value, list):
            words += [option, ",".join(str(item) for item in value)]
        else:
            words += [option, str(value)]
    return words
