"""Train a model and whatever it needs first: a parent is taken as given, found among finished runs beside it,
or trained.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lrfr.core.embedder import Embedder
from lrfr.core.errors import LockedError, SpecError, as_path, check_kind, did_you_mean
from lrfr.core.lock import is_locked
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.engine.distributed import join_world
from lrfr.train.engine.journal import loss_trace
from lrfr.train.engine.loaders import make_loader
from lrfr.train.engine.loop import FitResult
from lrfr.train.engine.recognizer_task import Evaluate, FitOptions
from lrfr.train.engine.run_record import RunRecord
from lrfr.train.recipe import Recipe, load_recipe
from lrfr.train.runs import Plan, find, finished, train
from lrfr.train.weights.load_nets import load_embedder
from lrfr.train.weights.parent_files import Parent, as_parent
from lrfr.train.weights.trial.network_check import check_networks, foreign_lines
from lrfr.train.weights.trial.student_width import at_teachers_width

View = PairDataset | tuple[Path | str, str] | Path | str


@dataclass(frozen=True)
class Run:
    """What :func:`train_model` made, went on with, or found finished.

    Attributes:
        path: run folder.
        steps: optimizer steps so far.
        total_steps: steps that the recipe asks for.
        started_at: step at which this call began; ``total_steps`` where the run was finished before.
        losses: the total loss of the first and of the last step.
        metrics: the last evaluation.
        digest: of the last checkpoint.
        parents: role to run folder, checkpoint or foreign file.

    """

    path: Path
    steps: int
    total_steps: int
    started_at: int
    losses: tuple[float, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""
    parents: Mapping[str, Parent] = field(default_factory=dict)

    def embedder(self, device: str = "cpu") -> Embedder:
        """Return the recognizer of the last checkpoint."""
        return load_embedder(self.path, device)

    def __str__(self) -> str:
        if self.started_at == self.total_steps:
            return f"{self.path} was finished before ({self.total_steps} steps); nothing to do"
        resumed = f", resumed at {self.started_at}" if self.started_at else ""
        first, last = self.losses[0], self.losses[-1]
        return (
            f"{self.path}: step {self.steps} of {self.total_steps}{resumed}, loss {first:.4g} -> {last:.4g}"
        )


def train_model(
    recipe: Recipe | str,
    view: View,
    run_dir: Path | str,
    *,
    parents: Mapping[str, Parent | str] | None = None,
    evaluate: Evaluate | None = None,
    options: FitOptions | None = None,
    hooks: Hooks = SILENT,
) -> Run:
    """Train a recipe in ``run_dir``, go on where it stopped, or find it finished.

    Args:
        recipe: what to train; a method's name stands for its recipe ``tiny``.
        view: the pairs: a dataset, ``(store, view)``, or a store, whose view ``default`` is taken.
        run_dir: folder of the run. Its neighbors are where finished parents are looked for, and where missing
            ones are trained.
        parents: role to run folder, checkpoint or foreign file (``.onnx``, or a
            :class:`~lrfr.train.weights.foreign.foreign_file.ForeignFile` that states its input), for roles
            that shall not be looked for; ``init`` starts the recognizer from another one's weights.
        evaluate: ``evaluate(embed) -> metrics``, called every ``train.eval_every`` steps and at the end; the
            first metric chooses ``best``.
        options: processes and device, an early end, a TensorBoard writer; by default the processes of
            ``torchrun`` and a GPU where there is one.
        hooks: progress in images, what is done and chosen, the wish to stop.

    Raises:
        SpecError: unknown names, parents that do not fit, or the folder holds another run.
        DataError: a store or checkpoint is damaged, or the view has too few faces.
        LockedError: another process trains there.
        NumericFault: a loss, gradient or weight is not finite.
        Stopped: a stop was asked for while a parent was trained.

    """
    if options is None:
        with join_world() as world:
            given = FitOptions(world=world)
            return train_model(
                recipe, view, run_dir, parents=parents, evaluate=evaluate, options=given, hooks=hooks
            )
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    check_kind(recipe, Recipe, "a recipe or the name of a method")
    check_kind(parents, Mapping | None, "parents: {role: path}")
    check_kind(options, FitOptions, "options: a FitOptions")
    check_kind(hooks, Hooks, "hooks: a lrfr.Hooks")
    run_dir = as_path(run_dir, "a run")
    named = {role: as_parent(parent, role) for role, parent in (parents or {}).items()}
    check_roles(recipe, named)
    options = dataclasses.replace(options, evaluate=evaluate or options.evaluate)
    family = _Family(open_view(view), run_dir.parent, options, hooks)
    return family.train(recipe, named, run_dir)


def check_roles(recipe: Recipe, roles: Iterable[str]) -> None:
    """Refuse a role that no parent of the method has: worth asking before anything is made.

    Raises:
        SpecError: names the role and those that there are.

    """
    known = {*recipe.parents, "init"}
    for role in roles:
        if role not in known:
            raise SpecError(f"{recipe.method} has no parent '{role}'", hint=did_you_mean(role, known))


def open_view(view: View) -> PairDataset:
    """Return the pairs of a view, however it was named."""
    if isinstance(view, PairDataset):
        return view
    return PairDataset(*view) if isinstance(view, tuple) else PairDataset(view)


# between two looks at whether another process has ended
_WAIT_S = 1.0


@dataclass(frozen=True)
class _Family:
    """The trainings of one call, all on one view and in one folder."""

    dataset: PairDataset
    runs_dir: Path
    options: FitOptions
    hooks: Hooks

    def train(self, recipe: Recipe, given: Mapping[str, Parent], folder: Path) -> Run:
        """Train ``recipe`` in ``folder`` after its parents."""
        dataset = self.dataset
        recipe = at_teachers_width(self._enlarging(recipe, folder), given)
        if (folder / "run.json").exists():
            dataset = dataset.known_as(RunRecord.read(folder).identity.view)
        else:
            check_networks(recipe, given, dataset)
            for line in foreign_lines(given, dataset):
                self.hooks.note(line)
            for each in (recipe, *(parent for role, parent in recipe.parents.items() if role not in given)):
                make_loader(dataset, each.settings, self.options.world)
        plan = Plan.on(recipe, dataset, self._parents(recipe, given))
        for line in _header(recipe, dataset, folder):
            self.hooks.note(line)
        return _run(plan, folder, train(plan, dataset, folder, self.options, self.hooks))

    def train_in_turn(self, recipe: Recipe, given: Mapping[str, Parent], folder: Path) -> Run:
        """Train like :meth:`train`; where another process does, wait for it and take what it made."""
        while True:
            try:
                return self.train(recipe, given, folder)
            except LockedError as error:
                if self.options.world.size > 1:
                    raise
                self.hooks.note(f"waiting: {error}")
            while is_locked(folder):
                if self.hooks.stopping():
                    raise Stopped
                time.sleep(_WAIT_S)

    def _enlarging(self, recipe: Recipe, folder: Path) -> Recipe:
        """Return the recipe with the filter of the view, so that faces are embedded as they were trained; a
        run that began with another one goes on with it.
        """
        if (folder / "run.json").exists():
            began = RunRecord.read(folder).enlarging(folder)
            return recipe.enlarging_by(*began) if began else recipe
        found = {(variant.up.filter, variant.up.antialias) for variant in self.dataset.view.variants}
        if len(found) != 1:
            self.hooks.note(f"the view enlarges by {len(found)} filters; the embedder keeps the recipe's")
            return recipe
        return recipe.enlarging_by(*found.pop())

    def _parents(self, recipe: Recipe, given: Mapping[str, Parent]) -> dict[str, Parent]:
        """Return the run of every role: given, reused, or trained now."""
        wanted = {role: parent for role, parent in recipe.parents.items() if role not in given}
        return {**given, **{role: self._find_or_train(role, parent) for role, parent in wanted.items()}}

    def _find_or_train(self, role: str, recipe: Recipe) -> Path:
        world = self.options.world
        dataset = self.dataset
        plan = Plan.on(recipe, dataset, self._parents(recipe, {}))
        found = find(self.runs_dir, plan)
        world.barrier()  # nobody starts writing while another still looks
        if found is not None and finished(found):
            self.hooks.note(f"{role}: using the finished run {found}")
            return found
        folder = found or self._free_name(role)
        world.barrier()
        verb = "going on with" if found else "training"
        own = "" if found else f", with settings of its own (parents.{role}.train.KEY=VALUE)"
        self.hooks.note(f"{role}: {verb} {recipe.method} ({recipe.name}) in {folder}{own}")
        options = FitOptions(world=world)
        progress = Hooks(
            lambda done, total, **info: self.hooks.progress(done, total, run=folder.name, **info),
            self.hooks.note,
            self.hooks.stopping,
        )
        family = dataclasses.replace(self, options=options, hooks=progress)
        run = family.train_in_turn(recipe, plan.parents, folder)
        self.hooks.note(str(run))
        if run.steps < run.total_steps:  # half a teacher is none
            raise Stopped
        return folder

    def _free_name(self, role: str) -> Path:
        names = (self.runs_dir / (role if number == 1 else f"{role}-{number}") for number in range(1, 10_000))
        return next(path for path in names if not path.exists())


def _header(recipe: Recipe, dataset: PairDataset, folder: Path) -> list[str]:
    """Return what a person should know before it starts: how much, and what the paper left open."""
    settings = recipe.settings
    lines = [
        f"{recipe.method} ({recipe.name}): {len(dataset)} faces of {dataset.num_classes} identities, "
        f"{settings.length:g} {settings.unit}s of batch {settings.batch_size}, "
        f"{recipe.options['backbone']} -> {folder}"
    ]
    for name, text in recipe.make().unstated.items():
        value = recipe.options.get(name, recipe.options.get(f"{name}_"))
        shown = " ".join(str(part) for part in value.values()) if isinstance(value, dict) else value
        lines.append(f"  choice {name} = {shown}: {text}")
    return lines


def _run(plan: Plan, folder: Path, result: FitResult) -> Run:
    trace = loss_trace(folder / "journal.jsonl")
    losses = (trace[0][1]["total"], trace[-1][1]["total"]) if trace else ()
    return Run(
        folder,
        result.steps,
        result.total,
        result.started_at,
        losses,
        result.metrics,
        result.digest,
        plan.parents,
    )
