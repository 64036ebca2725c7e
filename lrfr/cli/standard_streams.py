"""The standard streams as they are in the world: closed, full, left by their reader, of another encoding."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import suppress

import click

from lrfr.cli.commands import COMMANDS
from lrfr.core.errors import EnvironmentFault
from lrfr.core.machine import started_by

_LONGEST_WORD = 300
# what would move the cursor, or make two lines of one; our own further lines are indented
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|\n(?! )")
_ESCAPED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LONG = re.compile(rf"\S{{{_LONGEST_WORD},}}")
# a call of lrfr: its name and that of a command
_CALL = re.compile(rf"(?<![\w./\-])lrfr (?=(?:{'|'.join(COMMANDS)})\b(?!-))")


def open_streams() -> None:
    """Open closed streams on nothing, lest a shard be opened under the number of stdout, and let characters
    that the encoding lacks through as escapes.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
        stream = getattr(sys, name)
        if number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str, *, err: bool = False, exact: bool = False) -> None:
    """Print one text, to stdout or stderr; a reader that has left stops nothing. Unless it is to be
    ``exact``, calls of lrfr in it become such as can be typed here.

    Raises:
        EnvironmentFault: stdout cannot be written, so that a result would be lost.

    """
    try:
        click.echo(text if exact else _callable(text), err=err)
    except OSError as error:
        forget(err=err)
        if not err and not isinstance(error, BrokenPipeError):
            raise EnvironmentFault(error.strerror or str(error), file="standard output") from None


def _callable(text: str) -> str:
    if "lrfr " not in text:
        return text
    own = started_by("lrfr", os.environ.get("PATH", ""), sys.executable)
    return text if own == "lrfr" else _CALL.sub(lambda _: f"{own} ", text)


def forget(*, err: bool = False) -> None:
    """Send what is still to be said, also at the end of the interpreter, to nobody."""
    stream = sys.stderr if err else sys.stdout
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def close_streams() -> None:
    """Write out what is buffered; where that fails, the interpreter shall not complain once more."""
    for err in (False, True):
        try:
            (sys.stderr if err else sys.stdout).flush()
        except (OSError, ValueError):
            forget(err=err)


def shown(text: str) -> str:
    """Return a text of several lines as a terminal shows it: names in it may hold what moves a cursor."""
    return _ESCAPED.sub(lambda found: repr(found.group())[1:-1], text)


def plainly(text: str) -> str:
    """Return a message as one that a terminal shows and a person reads: names in it come from outside."""
    text = _CONTROLS.sub(lambda found: repr(found.group())[1:-1], text)
    return _LONG.sub(lambda found: f"{found.group()[:80]}...{found.group()[-20:]}", text)
