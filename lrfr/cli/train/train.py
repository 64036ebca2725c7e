"""``lrfr train METHOD``, ``train ls``, ``train show``: from a view to a run folder; parents are trained or
reused on the way.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

# commands of other files, mounted when they are there
_MOUNTED = {
    "p2s": ("lrfr.cli.degrade.turbulence", "p2s_command"),
    "cfsm": ("lrfr.cli.degrade.style", "cfsm_command"),
}


class MethodGroup(click.Group):
    """``ls``, ``show``, one command a method, plug-in methods, and the mounted commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table, then the others."""
        from lrfr.train.methods.table import METHODS

        return [*METHODS, *(name for name in _MOUNTED if _mounted(name)), *super().list_commands(ctx)]

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


def _mounted(name: str) -> click.Command | None:
    module, attribute = _MOUNTED[name]
    if importlib.util.find_spec(module) is None:
        return None
    found = getattr(importlib.import_module(module), attribute, None)
    return found if isinstance(found, click.Command) else None


@click.group(
    "train",
    cls=MethodGroup,
    short_help="Train a method on a view.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
def train_group() -> None:
    """Train a method on a view of a pair store.

    \b
    Examples:
      lrfr train fskd
      lrfr train ls
      lrfr train show fskd --recipe paper
    """


def _option(*names: str, shown: bool = False, **attributes: Any) -> Any:
    return click.option(*names, show_default=shown, **attributes)


def _many(option: str, name: str, metavar: str, text: str) -> Any:
    return click.option(option, name, multiple=True, metavar=metavar, help=text)


_FOLDER = click.Path(path_type=Path)
_OPTIONS = [
    _option("--recipe", default="tiny", shown=True, help="A shipped recipe (lrfr train ls) or a YAML file."),
    _many("--set", "overrides", "KEY=VALUE", "Change a key, e.g. lambda=20, train.lr=0.05, head.scale=64."),
    _option("--step", type=click.IntRange(1, 2), default=None, help="Step of catface."),
    _option("--res", default=None, metavar="PX[,PX]", help="Branches of btnet-branch, e.g. 28,14,7."),
    _option("--view", default="default", shown=True, help="View to train on."),
    _option("--store", default="store", shown=True, type=_FOLDER, help="Folder of the store."),
    _option("--runs", "runs_dir", default="runs", shown=True, type=_FOLDER, help="Folder of run folders."),
    _option("--name", default=None, help="Run folder under --runs.  [default: the method's name]"),
    _many(
        "--parent",
        "given_parents",
        "ROLE=PATH",
        "Use this run, e.g. teacher=runs/big; init=... starts from it.",
    ),
    _option(
        "--threads", type=click.IntRange(0, 1024), help="CPU threads, 0 for all.  [default: the recipe's]"
    ),
    _option("--device", default=None, help="cpu, cuda or cuda:1.  [default: a GPU where there is one]"),
    _option(
        "--max-steps", type=click.IntRange(1), help="Stop after this step; the same command goes on later."
    ),
    _option("--eval/--no-eval", "evaluates", default=False, help="Measure on embedded faces while training."),
    _option("--tensorboard", is_flag=True, help="Write TensorBoard event files too (extra [tensorboard])."),
    _option(
        "--resume/--fresh",
        default=True,
        help="Go on in an unfinished run (default), or refuse one that exists.",
    ),
    _option("--dry-run", is_flag=True, help="Write nothing: show the resolved recipe and where it would go."),
]


def _method_command(method: str) -> click.Command:
    from lrfr.train.methods.table import METHODS

    about = METHODS.help(method) if method in METHODS else "an unknown method"

    def body(out: Output, **given: Any) -> dict[str, Any]:
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
    decorated: Any = body
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return command(method, short_help=about)(decorated)


def _train(out: Output, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    from lrfr.train.recipe import load_recipe

    recipe = load_recipe(method, given["recipe"], _overrides(given))
    folder = given["runs_dir"] / (given["name"] or method)
    if given["dry_run"]:
        out.say(_yaml(recipe.as_dict()))
        return {"recipe": recipe.as_dict(), "run": str(folder)}
    if not given["resume"] and (folder / "run.json").exists():
        hint = "leave --fresh out to go on with it, or choose another --name"
        raise SpecError("there is a run already", file=str(folder), hint=hint)
    from lrfr.core.progress import Hooks
    from lrfr.experiment.train_here import Wishes, train_here

    wishes = Wishes(**{name: given[name] for name in Wishes.__annotations__})
    parents = dict(_parent(text) for text in given["given_parents"])
    # of the processes of torchrun, the first one speaks
    out = Output(True) if os.environ.get("RANK", "0") != "0" else out
    with out.progress(folder.name) as advance:
        run = train_here(recipe, folder, wishes, parents, Hooks(advance, out.note))
    out.say(str(run))
    steps = {"steps": run.steps, "total_steps": run.total_steps, "started_at": run.started_at}
    found = {"checkpoint": run.digest, "loss": list(run.losses), "metrics": dict(run.metrics)}
    return {"run": str(run.path), **steps, **found}


def _overrides(given: Mapping[str, Any]) -> list[str]:
    shortcuts = {"options.step": given["step"], "train.threads": given["threads"]}
    extra = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
    return [*given["overrides"], *extra, *([f"options.branches_px=[{given['res']}]"] if given["res"] else [])]


def _parent(text: str) -> tuple[str, Path]:
    role, equals, path = text.partition("=")
    if not equals:
        raise SpecError(f"--parent takes ROLE=PATH, got '{text}'", hint="--parent teacher=runs/big")
    return role, Path(path)


@command("ls", short_help="List methods and their recipes.")
def list_methods(out: Output) -> dict[str, Any]:
    """List the methods, what each needs, and its recipes.

    \b
    Example:
      lrfr train ls
    """
    from lrfr.train.methods.shipped import declared_parents, recipe_names
    from lrfr.train.methods.table import METHODS

    rows = [(name, recipe_names(name), declared_parents(name), METHODS.help(name)) for name in METHODS]
    columns = ["method", "recipes", "needs", "about"]
    out.table(columns, [[name, ", ".join(found), _needs(needs), about] for name, found, needs, about in rows])
    return {"methods": [dict(zip(columns, row, strict=True)) for row in rows]}


def _needs(parents: Mapping[str, str] | None) -> str:
    if parents is None:
        return "?"  # a plug-in without recipes says it only when it is imported
    return ", ".join(f"{role} ({method})" for role, method in parents.items()) or "-"


@command("show", short_help="Show a method's resolved recipe.")
@click.argument("method")
@click.option("--recipe", default="tiny", show_default=True, help="A shipped recipe or a YAML file.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key.")
def show_method(out: Output, method: str, recipe: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Show every option and setting of METHOD under a recipe, and what its paper leaves open.

    \b
    Example:
      lrfr train show fskd --recipe paper
    """
    from lrfr.train.recipe import load_recipe

    resolved = load_recipe(method, recipe, overrides)
    out.say(f"# {method}, recipe '{resolved.name}': {resolved.about}")
    out.say(_yaml(resolved.as_dict()))
    unstated = dict(resolved.make().unstated)
    for name, text in unstated.items():
        out.say(f"# {name}: {text}")
    return {"recipe": resolved.as_dict(), "about": resolved.about, "unstated": unstated}


def _yaml(data: Mapping[str, object]) -> str:
    import yaml

    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110)).rstrip()


train_group.add_command(list_methods)
train_group.add_command(show_method)
