"""A declared comparison becomes a list of lrfr command lines.

Every step *is* a command line that a user could type, so a report can say exactly how to make it again, and a
step that fails takes nothing with it but the steps that need it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.experiment.declare import Declaration, Evaluation, Flags, Picture, Route, Training, View

# where the names of each part of a declaration live: models of all kinds share one room
_ROOMS = {
    "alignments": "crops",
    "fits": "fits",
    "given": "models",
    "imports": "models",
    "views": "views",
    "pictures": "pictures",
    "trainings": "models",
    "routes": "models",
    "evaluations": "evaluations",
}


def without_parts(experiment: Declaration, names: Iterable[str]) -> Declaration:
    """Return the declaration without the parts of these names (views, trainings, routes, ...) and without all
    that builds on them; an evaluation of several models loses those that are gone.

    Raises:
        SpecError: nothing is called so; says what is near.

    """
    parts: dict[str, Any] = {kind: dict(getattr(experiment, kind)) for kind in _ROOMS}
    known = {name for part in parts.values() for name in part}
    for name in (names := tuple(names)):
        if name not in known:
            raise SpecError(f"this experiment has no '{name}'", hint=did_you_mean(name, known))
    gone: set[tuple[str, str]] = set()
    for kind, room in _ROOMS.items():
        for name, part in list(parts[kind].items()):
            bare = False
            if isinstance(part, Evaluation) and part.of:
                left = [model for model in part.of if ("models", model) not in gone]
                parts[kind][name], bare = replace(part, of=left), not left
            if name in names or bare or gone & set(_built_on(part)):
                gone.add((room, name))
                del parts[kind][name]
    return replace(experiment, **parts)


def _built_on(part: object) -> Iterator[tuple[str, str]]:
    """Yield room and name of everything that a part of a declaration cannot do without."""
    if isinstance(part, View | Picture) and part.of:
        yield "crops", part.of
    if isinstance(part, View) and part.camera:
        yield "fits", part.camera
    if isinstance(part, Training):
        yield "views", part.view
        yield from (("models", parent) for parent in part.parents.values())
    if isinstance(part, Route):
        yield from (("models", name) for name in (*(name for _, name in part.members()), part.rest))
        yield "views", part.fit or ""
    if isinstance(part, Evaluation) and part.benchmark == "view":
        yield "views", str(part.flags.get("view"))


@dataclass(frozen=True)
class Step:
    """One command line of the plan; ``needs`` must have succeeded before it, ``after`` must only have
    ended.
    """

    id: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    estimate_s: float | None = None

    def digest(self, digests: dict[str, str]) -> str:
        """Return the identity of this step: its command line and those of everything before it."""
        text = json.dumps([self.argv, [digests[name] for name in self.needs]])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def product(self) -> str:
        """What its command leaves, as a path in the experiment's folder; somebody may have taken it away."""
        said = dict(itertools.pairwise(self.argv))
        if self.argv[0] == "train":
            return f"runs/{said['--name']}"
        if self.argv[0] == "make-pairs":
            return f"{said.get('--store', 'store')}/views/{said['--view']}.json"
        return said.get("--out", ".")


def steps_of(experiment: Declaration) -> list[Step]:
    """Return the steps in an order in which every step comes after what it needs; paths are relative to the
    experiment's folder.
    """
    steps = _face_steps(experiment)
    for name, weights in experiment.imports.items():
        argv = ("import-weights", weights.source, "--out", f"runs/{name}", *_argv(weights.flags))
        steps.append(Step(f"import-{name}", argv, estimate_s=weights.estimate_s))
    for name, training in experiment.trainings.items():
        steps += _training_steps(name, training, experiment)
    for name in experiment.routes:
        steps.append(_route_step(name, experiment))
    for name, evaluation in experiment.evaluations.items():
        steps += _evaluation_steps(name, evaluation, experiment)
    return [*steps, *_report_step(experiment, steps)]


def _face_steps(experiment: Declaration) -> list[Step]:
    """Return the steps before any model: crops, pairs, pictures."""
    steps = [
        Step(
            f"align-{name}",
            ("align", one.photos, "--out", name, *_argv(one.flags)),
            estimate_s=one.estimate_s,
        )
        for name, one in experiment.alignments.items()
    ]
    for name, fit in experiment.fits.items():
        argv = ("fit", fit.crops, "--source", fit.source, "--out", _fitted(name), *_argv(fit.flags))
        steps.append(Step(f"fit-{name}", argv, estimate_s=fit.estimate_s))
    for name, view in experiment.views.items():
        if view.store is not None:
            continue
        flags = ({"source": view.of} if view.of else {}) | view.flags
        flags |= {"spec": _fitted(view.camera, view.scan)} if view.camera else {}
        needs = (*_crops(view.of), *([f"fit-{view.camera}"] if view.camera else []))
        argv = ("make-pairs", "--view", name, *_argv(flags))
        steps.append(Step(f"pairs-{name}", argv, needs, estimate_s=view.estimate_s))
    for name, picture in experiment.pictures.items():
        faces = picture.faces or picture.of
        argv = ("degrade", *([faces] if faces else []), "--preview", "--out", f"pictures/{name}")
        argv = (*argv, *_argv(picture.flags))
        steps.append(Step(f"picture-{name}", argv, _crops(picture.of), estimate_s=picture.estimate_s))
    return steps


def _fitted(name: str, scan: bool = False) -> str:
    return f"fits/{name}.fit/scan.yaml" if scan else f"fits/{name}.yaml"


def _crops(alignment: str | None) -> tuple[str, ...]:
    return (f"align-{alignment}",) if alignment else ()


def _report_step(experiment: Declaration, steps: list[Step]) -> list[Step]:
    results = [_result_file(step.id) for step in steps if step.argv[0] == "eval"]
    if not results:
        return []
    title = ("--title", experiment.title) if experiment.title else ()
    pictures = [f"{name}-sheet.png={one.caption}" for name, one in experiment.alignments.items()]
    pictures += [
        f"pictures/{name}/contact.png={picture.caption}" for name, picture in experiment.pictures.items()
    ]
    shown = tuple(word for picture in pictures for word in ("--picture", picture))
    argv = ("report", *results, "--out", "report.html", *title, *shown, *_argv(experiment.report))
    return [
        Step("report", argv, after=tuple(step.id for step in steps if step.argv[0] in {"eval", "degrade"}))
    ]


def _training_steps(name: str, training: Training, experiment: Declaration) -> list[Step]:
    steps = []
    settings, flags = experiment.common.set | training.set, experiment.common.flags | training.flags
    for seed in training.seeds:
        parents = {role: _place(used, experiment, seed) for role, used in training.parents.items()}
        run = _run(name, experiment, seed)
        argv = ["train", training.method, "--view", training.view, "--name", run]
        argv += ["--recipe", training.recipe] if training.recipe else []
        there = experiment.views[training.view].store
        argv += ["--store", there] if there is not None else []
        argv += [word for role, parent in parents.items() for word in ("--parent", f"{role}={parent}")]
        argv += [
            word
            for key, value in {"train.seed": seed, **settings}.items()
            for word in ("--set", f"{key}={_word(value)}")
        ]
        needs = (
            *([f"pairs-{training.view}"] if there is None else []),
            *(step for used in training.parents.values() for step in _maker(used, experiment, seed)),
        )
        steps.append(Step(f"train-{run}", (*argv, *_argv(flags)), needs, estimate_s=training.estimate_s))
    return steps


def _route_step(name: str, experiment: Declaration) -> Step:
    route = experiment.routes[name]
    words = [
        word for side, used in route.members() for word in ("--at", f"{side}={_place(used, experiment)}")
    ]
    words += ["--fit-view", route.fit] if route.fit is not None else []
    argv = ("route", *words, "--rest", _place(route.rest, experiment), "--out", f"runs/{name}")
    members = (*(used for _, used in route.members()), route.rest)
    needs = [step for used in members for step in _maker(used, experiment)]
    if route.fit is not None and experiment.views[route.fit].store is None:
        needs.append(f"pairs-{route.fit}")
    return Step(f"route-{name}", argv, tuple(dict.fromkeys(needs)))


def _evaluation_steps(name: str, evaluation: Evaluation, experiment: Declaration) -> list[Step]:
    steps = []
    for model in evaluation.of or experiment.models():
        seeds = experiment.trainings[model].seeds if model in experiment.trainings else [0]
        for seed in seeds:
            run = _run(model, experiment, seed)
            id_ = f"eval-{name}-{run}"
            argv = (
                "eval",
                _place(model, experiment, seed),
                *(("--name", run) if model in experiment.given else ()),
                "--benchmark",
                evaluation.benchmark,
                "--out",
                _result_file(id_),
                *_argv(evaluation.flags),
            )
            needs = (*_maker(model, experiment, seed), *_shown_by(evaluation, experiment))
            steps.append(Step(id_, argv, needs, estimate_s=evaluation.estimate_s))
    return steps


def _run(model: str, experiment: Declaration, seed: int | None = None) -> str:
    """Return the run folder of a model: with its seed, or with its first where it was not trained with that
    one.
    """
    training = experiment.trainings.get(model)
    if training is None:
        return model
    return f"{model}-s{seed if seed in training.seeds else training.seeds[0]}"


def _place(model: str, experiment: Declaration, seed: int | None = None) -> str:
    """Return where a model lies."""
    return experiment.given.get(model) or f"runs/{_run(model, experiment, seed)}"


def _shown_by(evaluation: Evaluation, experiment: Declaration) -> tuple[str, ...]:
    """Return the step that makes the view that is measured on."""
    view = experiment.views.get(str(evaluation.flags.get("view")))
    made = evaluation.benchmark == "view" and view is not None and view.store is None
    return (f"pairs-{evaluation.flags['view']}",) if made else ()


def _maker(model: str, experiment: Declaration, seed: int | None = None) -> tuple[str, ...]:
    """Return the step that makes a model; none where it is there."""
    if model in experiment.given:
        return ()
    kind = "import" if model in experiment.imports else "route" if model in experiment.routes else "train"
    return (f"{kind}-{_run(model, experiment, seed)}",)


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
        elif isinstance(value, list) and key in {"spec", "set", "paired"}:
            words += [word for item in value for word in (option, str(item))]
        elif isinstance(value, list):
            words += [option, ",".join(str(item) for item in value)]
        else:
            words += [option, str(value)]
    return words
