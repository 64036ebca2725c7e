"""Options that several commands share, and short spellings of click's own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from functools import reduce
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from lrfr.cli.overwriting import note_path
from lrfr.core.errors import SpecError, as_path

Body = TypeVar("Body", bound=Callable[..., Any] | click.Command)
T = TypeVar("T")


class _Path(click.Path):
    """A path that the system can hold; checks of what is there come after."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse names that are too long wherever they are first looked at."""
        note_path(ctx, param, as_path(value, "a file or folder"))
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)
FOLDER = _Path(path_type=Path, file_okay=False)
FILE = _Path(path_type=Path, dir_okay=False)
EXISTING = _Path(path_type=Path, exists=True)
EXISTING_FILE = _Path(path_type=Path, exists=True, dir_okay=False)


class Real(click.FloatRange):
    """A number within bounds; "nan" lies within none, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a float."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter as error:
            raise click.BadParameter(error.message + self._as_share(value), ctx, param) from None
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number

    def _as_share(self, value: Any) -> str:
        """Return a suggestion where a share was given in percent."""
        percent = str(value).removesuffix("%")
        meant = self.max == 1 and percent.isdecimal() and 1 < int(percent) <= 100
        return f" A share: {int(percent) / 100:g}?" if meant else ""


class StorePlace(_Path):
    """A folder, or the address of a store, which becomes the folder that mirrors it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path."""
        if isinstance(value, str) and "://" in value:
            from lrfr.pairs.format.store_files import root_of

            return root_of(value)
        return super().convert(value, param, ctx)


STORE = StorePlace(path_type=Path)


class Wrap(Protocol):
    """A decorator that gives the same kind of thing back."""

    def __call__(self, body: Body, /) -> Body:
        """Return the body with an option."""


def option(*names: str, **attributes: Any) -> Wrap:
    """Return a click option that shows its default in the help."""
    shown = "default" in attributes and not isinstance(attributes["default"], tuple)
    return click.option(*names, **{"show_default": shown, **attributes})


def path(*names: str, kind: click.Path = PATH, **attributes: Any) -> Wrap:
    """Return an option that takes a path."""
    return option(*names, type=kind, **attributes)


def count(*names: str, low: int = 1, high: int | None = None, **attributes: Any) -> Wrap:
    """Return an option that takes a whole number from ``low`` to ``high``."""
    return option(*names, type=click.IntRange(low, high), **attributes)


def choice(*names: str, of: str, **attributes: Any) -> Wrap:
    """Return an option that takes one of the words of ``of``."""
    return option(*names, type=click.Choice(of.split()), **attributes)


def flag(*names: str, text: str) -> Wrap:
    """Return an option without a value."""
    return option(*names, is_flag=True, help=text)


def many(*names: str, metavar: str, text: str) -> Wrap:
    """Return an option that may be given several times."""
    return option(*names, multiple=True, metavar=metavar, help=text)


def store(text: str = "Folder of the store.", name: str = "store") -> Wrap:
    """Return ``--store``."""
    return path("--store", name, kind=STORE, default="store", help=text)


def cache(body: Body) -> Body:
    """Add the options of commands that read stores at addresses; they are read as the environment is."""

    def keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
        if value is not None:
            os.environ["LRFR_CACHE_DIR" if param.name == "cache_dir" else "LRFR_CACHE_BYTES"] = str(value)

    said: dict[str, Any] = {"expose_value": False, "is_eager": True, "callback": keep}
    size = count("--cache-size", "cache_bytes", help="Most bytes of it.  [default: 64 GiB]", **said)
    folder = path("--cache-dir", kind=FOLDER, help="Cache of a store at an address.  [~/.cache/lrfr]", **said)
    return folder(size(body))


def runs(name: str = "runs") -> Wrap:
    """Return ``--runs``."""
    return path("--runs", name, default="runs", help="Folder of run folders.")


def embedder(text: str) -> Wrap:
    """Return ``--embedder``."""
    return option("--embedder", metavar="MODULE:FUNCTION", help=text)


_RANGE = "Foreign file: its input, e.g. -1,1 or 0,255 or 127/128 (mean/std).  [default: as it says]"


def foreign(body: Body) -> Body:
    """Add the options that say what a foreign model takes, and whether its code may run."""
    trust = flag("--trust-code", text="Let a TorchScript file or torch.export archive run.")
    order = click.option("--bgr/--rgb", default=None, help="Foreign file: order of its channels.")
    return option("--input-range", metavar="RANGE", help=_RANGE)(order(trust(body)))


def device() -> Wrap:
    """Return ``--device``, the same for all commands."""
    return option("--device", default="auto", help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")


def max_steps(text: str) -> Wrap:
    """Return ``--max-steps``."""
    return count("--max-steps", help=text)


def detection(on_miss: str = "skip") -> Wrap:
    """Return the options of detecting faces, with what becomes of misses by default."""
    rest = (
        choice("--face", of="largest center all", help="Face of a photograph to take.  [default: largest]"),
        choice("--on-miss", of="keep-center skip", help=f"Where it has none.  [default: {on_miss}]"),
        option("--detector", metavar="NAME", help="See lrfr detectors ls.  [default: mtcnn]"),
        path("--detector-weights", help="The detector's file of weights."),
    )
    return lambda body: reduce(lambda made, add: add(made), reversed(rest), body)


def executor() -> Wrap:
    """Return ``--executor``."""
    return choice("--executor", of="auto serial process ray", default="auto", help="Where work runs.")


def ray_address(text: str) -> Wrap:
    """Return ``--ray-address``."""
    return option("--ray-address", envvar="RAY_ADDRESS", help=text)


def workers(text: str, **attributes: Any) -> Wrap:
    """Return ``--workers``."""
    return count("--workers", high=4096, help=text, **attributes)


def dry_run(text: str = "Say what would be written and stop.") -> Wrap:
    """Return ``--dry-run``."""
    return flag("--dry-run", text=text)


def plan(text: str) -> Wrap:
    """Return ``--plan``, also ``--dry-run``."""
    return flag("--plan", "--dry-run", "only_plan", text=text)


def two_sides(words: Iterable[str], name: str, form: str, example: str) -> dict[str, str]:
    """Return what stands left and right of the ``=`` in the words of the option ``name``.

    Raises:
        SpecError: a side is empty.

    """
    found = {}
    for word in words:
        left, _, right = word.partition("=")
        if not left or not right:
            raise SpecError(f"{name} takes {form}, got '{word}'", hint=f"{name} {example}")
        found[left] = right
    return found


def picked(kind: type[T], given: Mapping[str, object], **more: object) -> T:
    """Return the dataclass ``kind`` of the values that bear its fields' names; what was not given (None)
    keeps the field's default where there is one.
    """
    values = {}
    for item in fields(kind):  # type: ignore[arg-type]
        needed = item.default is MISSING and item.default_factory is MISSING
        if item.name in given and (needed or given[item.name] is not None):
            values[item.name] = given[item.name]
    return kind(**values, **more)
