"""No output of a command may take the place of one of its inputs, or of a file that a store or run holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lrfr.core.files.taken_places import refuse_taking

OUTPUTS = ("--out", "--to", "--sheet", "--report")
# words that name places without being paths alone: kind:path,key=value, FILE=CAPTION
_PLACES = {"photos", "inputs", "source", "sources", "place", "pictures", "small", "teacher", "align", "prior"}


def note_path(context: click.Context | None, param: click.Parameter | None, path: Path) -> None:
    """Keep a path that was typed: a callback may make something else of it."""
    if context and param and param.expose_value:
        context.meta.setdefault(f"typed {id(context)}", []).append((param.name, path))


def refuse_overwriting(command: click.Command, given: Mapping[str, Any]) -> None:
    """Refuse paths that a command would write and reads; errors as of :func:`refuse_taking`."""
    context = click.get_current_context()
    written = [param for param in command.params if {*param.opts} & {*OUTPUTS} and param.name in given]
    outs = [given[str(param.name)] for param in written if not isinstance(param.type, click.Choice)]
    names, typed = {param.name for param in written}, context.meta.get(f"typed {id(context)}", [])
    both = [item for item in (*given.items(), *typed) if item[0] not in names]
    refuse_taking(outs, [(value, name in _PLACES) for name, value in both])
