"""What ``lrfr train METHOD`` does: open the view, find or train the parents, train, say what happened."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lrfr.cli.output import Output
from lrfr.core.errors import SpecError, did_you_mean, missing_extra

if TYPE_CHECKING:
    from lrfr.pairs.dataset import PairDataset
    from lrfr.train.engine.distributed import World
    from lrfr.train.engine.loop import FitResult
    from lrfr.train.recipe import Recipe
    from lrfr.train.runs import Plan


def train_command(out: Output, method: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run the command; ``given`` are its options."""
    from lrfr.train.engine.distributed import join_world
    from lrfr.train.recipe import load_recipe

    recipe = load_recipe(method, given["recipe"], _overrides(given))
    folder = given["runs_dir"] / (given["name"] or method)
    if given["dry_run"]:
        out.say(as_yaml(recipe.as_dict()))
        return {"recipe": recipe.as_dict(), "run": str(folder)}
    if not given["resume"] and (folder / "run.json").exists():
        raise SpecError(
            "there is a run already",
            file=str(folder),
            hint="leave --fresh out to go on with it, or choose another --name",
        )
    given_parents = _given_parents(recipe, given["given_parents"])
    with join_world(given["device"]) as world:
        voice = out if world.leads else Output(True)
        dataset = _open_view(voice, recipe, given, world)
        training = Training(voice, dataset, given["runs_dir"], world)
        parents = training.parents(recipe, given_parents)
        evaluate = evaluation() if given["evaluates"] else None
        board = _board(folder) if given["tensorboard"] and world.leads else None
        return training.run(
            recipe, parents, folder, max_steps=given["max_steps"], evaluate=evaluate, board=board
        )


def _overrides(given: dict[str, Any]) -> list[str]:
    shortcuts = {"options.step": given["step"], "train.threads": given["threads"]}
    extra = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
    return [*given["overrides"], *extra, *([f"options.branches_px=[{given['res']}]"] if given["res"] else [])]


def _given_parents(recipe: Recipe, texts: tuple[str, ...]) -> dict[str, Path]:
    known = {*recipe.parents, "init"}
    paths = {}
    for text in texts:
        role, equals, path = text.partition("=")
        if role not in known or not equals:
            raise SpecError(f"--parent takes ROLE=PATH, got '{text}'", hint=did_you_mean(role, known))
        paths[role] = Path(path)
    return paths


def _open_view(out: Output, recipe: Recipe, given: dict[str, Any], world: World) -> PairDataset:
    """Open the view; the default view is made from embedded faces where there is no store."""
    from lrfr.pairs.dataset import PairDataset

    if world.leads and given["view"] == "default" and not given["store_path"].exists():
        from lrfr.cli.pairs.make_pairs import DEFAULT_SPEC, make_pairs_command

        spec = str(recipe.data.get("spec") or DEFAULT_SPEC)
        out.note(
            f"there is no store '{given['store_path']}': making one from embedded faces with the spec "
            f"'{spec}'"
        )
        arguments = ["--store", str(given["store_path"]), "--spec", spec]
        with make_pairs_command.make_context("make-pairs", arguments) as context:
            context.params.pop("as_json")
            context.invoke(make_pairs_command.callback.__wrapped__, Output(True), **context.params)  # type: ignore[union-attr]
    world.barrier()
    return PairDataset(given["store_path"], given["view"])


@dataclass(frozen=True)
class Training:
    """One command's trainings on one view.

    Attributes:
        out: where it speaks.
        dataset: the view.
        runs_dir: where run folders are.
        world: this process among its peers.

    """

    out: Output
    dataset: PairDataset
    runs_dir: Path
    world: World

    def parents(self, recipe: Recipe, given: dict[str, Path]) -> dict[str, Path]:
        """Return the run of every role that the method needs: given, reused, or trained now."""
        wanted = {role: parent for role, parent in recipe.parents.items() if role not in given}
        return {**given, **{role: self._find_or_train(role, parent) for role, parent in wanted.items()}}

    def _find_or_train(self, role: str, recipe: Recipe) -> Path:
        from lrfr.train.runs import Plan, find, finished

        parents = self.parents(recipe, {})
        found = find(self.runs_dir, Plan(recipe, self.dataset.digest, parents))
        self.world.barrier()
        if found is not None and finished(found):
            self.out.note(f"{role}: using the finished run {found}")
            return found
        folder = found or self._free_name(role)
        self.world.barrier()
        self.out.note(
            f"{role}: {'going on with' if found else 'training'} {recipe.method} ({recipe.name}) in {folder}"
        )
        self.run(recipe, parents, folder)
        return folder

    def _free_name(self, role: str) -> Path:
        names = (self.runs_dir / (role if number == 1 else f"{role}-{number}") for number in range(1, 10_000))
        return next(path for path in names if not path.exists())

    def run(self, recipe: Recipe, parents: dict[str, Path], folder: Path, **options: Any) -> dict[str, Any]:
        """Train in ``folder``, or go on there, and return the summary."""
        from lrfr.core.progress import Hooks
        from lrfr.train.engine.recognizer_task import FitOptions
        from lrfr.train.runs import Plan, train

        plan = Plan(recipe, self.dataset.digest, parents)
        self._header(plan, folder)
        with self.out.progress(folder.name) if self.world.leads else nullcontext(_say_nothing) as advance:
            given = FitOptions(world=self.world, **options)
            result = train(plan, self.dataset, folder, given, Hooks(advance, self.out.note))
        return self._summary(folder, result)

    def _header(self, plan: Plan, folder: Path) -> None:
        recipe, settings = plan.recipe, plan.recipe.settings
        self.out.note(
            f"{recipe.method} ({recipe.name}): {len(self.dataset)} faces of {self.dataset.num_classes} "
            f"identities, "
            f"{settings.length:g} {settings.unit}s of batch {settings.batch_size}, "
            f"{recipe.options['backbone']} -> {folder}"
        )
        for name, text in recipe.make().unstated.items():
            value = recipe.options.get(name, recipe.options.get(f"{name}_"))
            shown = " ".join(str(part) for part in value.values()) if isinstance(value, dict) else value
            self.out.note(f"  choice {name} = {shown}: {text}")

    def _summary(self, folder: Path, result: FitResult) -> dict[str, Any]:
        from lrfr.train.engine.journal import loss_trace

        trace = loss_trace(folder / "journal.jsonl")
        losses = [trace[0][1]["total"], trace[-1][1]["total"]] if trace else []
        if result.started_at == result.total:
            self.out.say(f"{folder} was finished before ({result.total} steps); nothing to do")
        else:
            resumed = f", resumed at {result.started_at}" if result.started_at else ""
            self.out.say(
                f"{folder}: step {result.steps} of {result.total}{resumed}, loss {losses[0]:.4g} -> "
                f"{losses[-1]:.4g}"
            )
        return {
            "run": str(folder),
            "steps": result.steps,
            "total_steps": result.total,
            "started_at": result.started_at,
            "checkpoint": result.digest,
            "loss": losses,
            "metrics": result.metrics,
        }


def evaluation(sizes_px: tuple[int, ...] = (112, 14)) -> Any:
    """Return ``evaluate(embed) -> metrics``: accuracy on a few embedded faces at and across ``sizes_px``."""
    from lrfr.eval.pairs import synthetic_pairs
    from lrfr.eval.protocols.verification import verify_pairs
    from lrfr.eval.report.compare import second_size
    from lrfr.eval.settings import Settings

    pairs = synthetic_pairs(identities=30, count=300)

    def evaluate(embed: Any) -> dict[str, float]:
        results = verify_pairs(embed, pairs, Settings(sizes=sizes_px, replicates=0))
        return {f"{r.matching}-{second_size(r)}": r.metrics["accuracy"].value for r in results}

    return evaluate


def _say_nothing(done: int, total: int, **info: Any) -> None:
    """Report the progress of a process that does not lead."""


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_extra("tensorboard", "tensorboard") from None
    return SummaryWriter(str(folder / "tensorboard"))


def as_yaml(data: dict[str, Any]) -> str:
    """Return data as YAML for people."""
    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110)).rstrip()
