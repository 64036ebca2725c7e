"""Options that several commands share, and short spellings of click's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Body = TypeVar("Body", bound=Callable[..., Any] | click.Command)


def option(*names: str, **attributes: Any) -> Callable[[Body], Body]:
    """Return a click option that shows its default in the help."""
    shown = "default" in attributes and not isinstance(attributes["default"], tuple)
    return click.option(*names, **{"show_default": shown, **attributes})


def path_option(*names: str, **attributes: Any) -> Callable[[Body], Body]:
    """Return an option that takes a path."""
    return option(*names, type=click.Path(path_type=Path), **attributes)


def embedder_option(text: str) -> Callable[[Body], Body]:
    """Return ``--embedder``."""
    return option("--embedder", metavar="MODULE:FUNCTION", help=text)


def device_option() -> Callable[[Body], Body]:
    """Return ``--device``."""
    return option("--device", default="cpu", help="Where a checkpoint runs.")


def plan_option(text: str) -> Callable[[Body], Body]:
    """Return ``--plan``, also ``--dry-run``."""
    return option("--plan", "--dry-run", "only_plan", is_flag=True, help=text)
