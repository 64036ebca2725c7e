"""``lrfr train METHOD``, ``train ls``, ``train show``: from a view to a run folder; parents are trained or
reused on the way.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

_SET = "Change a key, e.g. lambda=20, train.lr=0.05, head.scale=64."
_PARENT = "Use this run, e.g. teacher=runs/big; init=... starts from it."
_EVAL_DATA = "Measure on x.bin, pairs.tsv or STORE,view=V,split=dev; their mean chooses best/."
_RESUME = "Go on in an unfinished run (default), or refuse one that exists."

# commands of other files
_MOUNTED = {
    "p2s": ("lrfr.cli.degrade.turbulence", "p2s_command"),
    "cfsm": ("lrfr.cli.degrade.style", "cfsm_command"),
}


class MethodGroup(click.Group):
    """``ls``, ``show``, one command a method, plug-in methods, and the mounted commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table, then the others."""
        from lrfr.train.methods.table import METHODS

        return [*METHODS, *_MOUNTED, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name; unknown names are taken for methods, which knows the nearest."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        return _mounted(cmd_name) if cmd_name in _MOUNTED else _method_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List methods and commands without importing what they need."""
        from lrfr.train.methods.table import METHODS

        with formatter.section("Methods"):
            formatter.write_dl([(name, METHODS.help(name)) for name in METHODS])
        others = [
            (name, found)
            for name in self.list_commands(ctx)
            if name not in METHODS and (found := self.get_command(ctx, name))
        ]
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.get_short_help_str(90)) for name, found in others])


def _mounted(name: str) -> click.Command:
    module, attribute = _MOUNTED[name]
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, click.Command)
    return found


@click.group("train", cls=MethodGroup, short_help="Train a method on a view.")
def train_group() -> None:
    """Train a method on a view of a pair store.

    \b
    Examples:
      lrfr train fskd
      lrfr train ls
      lrfr train show fskd --recipe paper
    """


_OPTIONS = [
    opt.option("--recipe", default="tiny", help="A shipped recipe (lrfr train ls) or a YAML file."),
    opt.many("--set", "overrides", metavar="KEY=VALUE", text=_SET),
    opt.count("--step", high=2, help="Step of catface or qualnet."),
    opt.option("--res", metavar="PX[,PX]", help="Branches of btnet-branch, e.g. 28,14,7."),
    opt.option("--view", default="default", help="View to train on."),
    opt.store("Folder or address of the store."),
    opt.cache,
    opt.runs("runs_dir"),
    opt.option("--name", help="Run folder under --runs.  [default: the method's name]"),
    opt.many("--parent", "given_parents", metavar="ROLE=PATH", text=_PARENT),
    opt.foreign,
    opt.count("--threads", low=0, high=1024, help="CPU threads, 0 for all.  [default: the recipe's]"),
    opt.device(),
    opt.max_steps("Stop after this step; the same command goes on later."),
    click.option("--eval/--no-eval", "evaluates", help="Measure on embedded faces while training."),
    opt.many("--eval-data", metavar="SET", text=_EVAL_DATA),
    opt.flag("--tensorboard", text="Write TensorBoard event files too (extra [tensorboard])."),
    click.option("--resume/--fresh", default=True, help=_RESUME),
    opt.choice("--verify", of="always records never", default="always", help="What reading checks."),
    opt.dry_run("Write nothing: show the resolved recipe and where it would go."),
]


def _method_command(method: str) -> click.Command:
    from lrfr.train.methods.table import METHODS

    about = METHODS.help(method) if method in METHODS else "an unknown method"

    def body(out: Output, **given: Any) -> dict[str, object]:
        return _train(out, method, given)

    body.__doc__ = f"""Train {method}: {about}.

    A run that was stopped or killed goes on where its last checkpoint is, bit for bit. Runs that it needs (a
    teacher) are reused from --runs where one with the same settings is there, and trained first where not.

    \b
    Examples:
      lrfr train {method}
      lrfr train {method} --recipe paper --view big --set train.batch_size=512
      torchrun --nproc-per-node 2 -m lrfr train {method}
    """
    for add in reversed(_OPTIONS):
        body = add(body)
    return command(method, short_help=about)(body)


def _train(out: Output, method: str, given: Mapping[str, Any]) -> dict[str, object]:
    from lrfr.train.parents import check_roles
    from lrfr.train.recipe import load_recipe
    from lrfr.train.runs import run_folder

    recipe = load_recipe(method, given["recipe"], _overrides(given))
    folder = run_folder(given["runs_dir"], method if given["name"] is None else given["name"])
    words = opt.two_sides(given["given_parents"], "--parent", "ROLE=PATH", "teacher=runs/big")
    parents = {role: Path(path) for role, path in words.items()}
    check_roles(recipe, parents)
    if given["dry_run"]:
        out.yaml(recipe.as_dict())
        return {"recipe": recipe.as_dict(), "run": str(folder)}
    if not given["resume"] and (folder / "run.json").exists():
        hint = "leave --fresh out to go on with it, or choose another --name"
        raise SpecError("there is a run already", file=str(folder), hint=hint)
    from lrfr.experiment.train_here import Wishes, train_here

    wishes = opt.picked(Wishes, given)
    out = out.of_first_process()
    with out.working(folder.name) as hooks:
        run = train_here(recipe, folder, wishes, parents, hooks)
    out.say(str(run))
    if run.steps == run.total_steps:
        out.next_step("lrfr", "eval", run.path, more="on embedded faces; yours and others: lrfr eval --list")
    steps = {"steps": run.steps, "total_steps": run.total_steps, "started_at": run.started_at}
    found = {"checkpoint": run.digest, "loss": list(run.losses), "metrics": dict(run.metrics)}
    return {"run": str(run.path), **steps, **found}


def _overrides(given: Mapping[str, Any]) -> list[str]:
    shortcuts = {"options.step": given["step"], "train.threads": given["threads"]}
    extra = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
    return [*given["overrides"], *extra, *([f"options.branches_px=[{given['res']}]"] if given["res"] else [])]


@command("ls", short_help="List methods and their recipes, or the rows of a paper.")
@opt.option("--paper", help="The rows of a paper's tables: fskd, waveresnet, btnet, maug or catface.")
def list_methods(out: Output, paper: str | None) -> dict[str, object]:
    """List the methods, what each needs, and its recipes; with --paper, each row of its tables, the training
    that makes it and the data it needs (with --json, all its commands).

    \b
    Examples:
      lrfr train ls
      lrfr train ls --paper fskd
    """
    if paper is not None:
        return _paper(out, paper)
    from lrfr.train.methods.table import METHODS, declared_parents, recipe_names

    rows = [(name, recipe_names(name), declared_parents(name), METHODS.help(name)) for name in METHODS]
    columns = ["method", "recipes", "needs", "about"]
    out.table(columns, [[name, ", ".join(found), _needs(needs), about] for name, found, needs, about in rows])
    return {"methods": [dict(zip(columns, row, strict=True)) for row in rows]}


def _paper(out: Output, name: str) -> dict[str, object]:
    from lrfr.experiment.paper_rows import paper_rows

    rows = paper_rows(name)
    columns = ["table", "row", "training", "method", "recipe", "data"]
    keys = ["table", "label", *columns[2:]]
    out.table(columns, [[getattr(row, key) or "-" for key in keys] for row in rows])
    out.say("\ncommands: docs/papers.md, or --json")
    return {"rows": [vars(row) for row in rows]}


def _needs(parents: Mapping[str, str] | None) -> str:
    if parents is None:
        return "?"  # a plug-in without recipes says it only when it is imported
    return ", ".join(f"{role} ({method})" for role, method in parents.items()) or "-"


@command("show", short_help="Show a method's resolved recipe.")
@click.argument("method")
@opt.option("--recipe", default="tiny", help="A shipped recipe or a YAML file.")
@opt.many("--set", "overrides", metavar="KEY=VALUE", text="Change a key.")
def show_method(out: Output, method: str, recipe: str, overrides: tuple[str, ...]) -> dict[str, object]:
    """Show every option and setting of METHOD under a recipe, and what its paper leaves open.

    \b
    Example:
      lrfr train show fskd --recipe paper
    """
    from lrfr.train.recipe import load_recipe

    resolved = load_recipe(method, recipe, overrides)
    out.say(f"# {method}, recipe '{resolved.name}': {resolved.about}")
    out.yaml(resolved.as_dict())
    unstated = dict(resolved.make().unstated)
    out.lines(f"# {name}: {text}" for name, text in unstated.items())
    return {"recipe": resolved.as_dict(), "about": resolved.about, "unstated": unstated}


train_group.add_command(list_methods)
train_group.add_command(show_method)
