"""``lrfr train METHOD``, ``train ls``, ``train show``: from a view to a run folder; parents are trained or
reused on the way.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command

# method: one-line help; stands here so that help needs no torch (a test compares it with METHODS)
METHOD_HELP = {
    "baseline": "a recognizer on HR, on LR or on both, with no distillation",
    "fskd": "F-SKD: features of an HR teacher, cosine over four stages",
    "waveresnet": "WaveResNet: logits and wavelet bands of an HR teacher",
    "btnet-trunk": "BTNet, first part: one net for a mix of sizes, CurricularFace",
    "btnet-branch": "BTNet, second part: light branches for 28, 14 and 7 px under the frozen trunk",
    "maug": "MAug + LogExp: HR and LR through one net, pulled together",
    "catface": "CATFace: identity and soft biometrics with self-attention distillation (1), fused (2)",
    "octuplet": "Octuplet loss: batch-hard triplets across HR and LR, a fine-tune",
}

# commands of other files, mounted when they are there
_MOUNTED = {
    "p2s": ("lrfr.cli.degrade.turbulence", "p2s_command"),
    "cfsm": ("lrfr.cli.degrade.style", "cfsm_command"),
}


class MethodGroup(click.Group):
    """``ls``, ``show``, one command a method, plug-in methods, and the mounted commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table, then the others."""
        return [*METHOD_HELP, *(name for name in _MOUNTED if _mounted(name)), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name; unknown names are taken for plug-in methods."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        return _mounted(cmd_name) if cmd_name in _MOUNTED else _method_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List methods and commands without importing what they need."""
        with formatter.section("Methods"):
            formatter.write_dl(list(METHOD_HELP.items()))
        others = [
            (name, found)
            for name in self.list_commands(ctx)
            if name not in METHOD_HELP and (found := self.get_command(ctx, name))
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


_OPTIONS = [
    click.option(
        "--recipe", default="tiny", show_default=True, help="A shipped recipe (lrfr train ls) or a YAML file."
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a key, e.g. lambda=20, train.lr=0.05, head.scale=64.",
    ),
    click.option("--step", type=click.IntRange(1, 2), default=None, help="Step of catface."),
    click.option("--res", default=None, metavar="PX[,PX]", help="Branches of btnet-branch, e.g. 28,14,7."),
    click.option("--view", default="default", show_default=True, help="View to train on."),
    click.option(
        "--store",
        "store_path",
        default="store",
        show_default=True,
        type=click.Path(path_type=Path),
        help="Folder of the store.",
    ),
    click.option(
        "--runs",
        "runs_dir",
        default="runs",
        show_default=True,
        type=click.Path(path_type=Path),
        help="Folder of run folders.",
    ),
    click.option("--name", default=None, help="Run folder under --runs.  [default: the method's name]"),
    click.option(
        "--parent",
        "given_parents",
        multiple=True,
        metavar="ROLE=PATH",
        help="Use this run, e.g. teacher=runs/big; init=... starts from it.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(0, 1024),
        default=None,
        help="CPU threads, 0 for all usable cores.  [default: the recipe's]",
    ),
    click.option("--device", default=None, help="cpu, cuda or cuda:1.  [default: a GPU where there is one]"),
    click.option(
        "--max-steps",
        type=click.IntRange(1),
        default=None,
        help="Stop after this step; the same command goes on later.",
    ),
    click.option(
        "--eval/--no-eval",
        "evaluates",
        default=False,
        help="Measure on embedded faces while training (needs train.eval_every).",
    ),
    click.option(
        "--tensorboard", is_flag=True, help="Write TensorBoard event files too (extra [tensorboard])."
    ),
    click.option(
        "--resume/--fresh",
        default=True,
        help="Go on in an unfinished run of the same settings (default), or refuse one that exists.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Write nothing: show the resolved recipe and where it would go."
    ),
]


def _method_command(method: str) -> click.Command:
    def body(out: Output, **given: Any) -> dict[str, Any]:
        from lrfr.cli.train.train_method import train_command

        return train_command(out, method, given)

    body.__doc__ = f"""Train {method}: {METHOD_HELP.get(method, "a plug-in method")}.

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
    return command(method, short_help=METHOD_HELP.get(method, "plug-in method"))(decorated)


@command("ls", short_help="List methods and their recipes.")
def list_methods(out: Output) -> dict[str, Any]:
    """List the methods, what each needs, and its recipes.

    \b
    Example:
      lrfr train ls
    """
    from lrfr.train.methods.table import METHODS
    from lrfr.train.recipe import recipe_names

    rows: list[dict[str, Any]] = [
        {
            "method": name,
            "recipes": recipe_names(name),
            "needs": dict(kind().needs()),
            "about": METHODS.help(name),
        }
        for name, kind in METHODS.items()
    ]
    needs = [", ".join(f"{role} ({method})" for role, method in row["needs"].items()) or "-" for row in rows]
    out.table(
        ["method", "recipes", "needs", "about"],
        [
            [row["method"], ", ".join(row["recipes"]), need, row["about"]]
            for row, need in zip(rows, needs, strict=True)
        ],
    )
    return {"methods": rows}


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
    from lrfr.cli.train.train_method import as_yaml
    from lrfr.train.recipe import load_recipe

    resolved = load_recipe(method, recipe, overrides)
    out.say(f"# {method}, recipe '{resolved.name}': {resolved.about}")
    out.say(as_yaml(resolved.as_dict()))
    unstated = dict(resolved.make().unstated)
    for name, text in unstated.items():
        out.say(f"# {name}: {text}")
    return {"recipe": resolved.as_dict(), "about": resolved.about, "unstated": unstated}


train_group.add_command(list_methods)
train_group.add_command(show_method)
