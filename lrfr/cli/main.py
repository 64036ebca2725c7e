"""The ``lrfr`` entry point: a lazy group (no command is imported until it runs) and the one place where
errors are shown.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress

import click

from lrfr import __version__
from lrfr.cli.commands import COMMANDS
from lrfr.cli.standard_streams import close_streams, forget, open_streams, plainly, write
from lrfr.core.errors import EnvironmentFault, LrfrError, as_fault
from lrfr.core.machine import end_with_caller, keep_freed_memory, quiet_libraries
from lrfr.core.progress import Asked, Terminated, asked_in, end_by_signals, raise_signals

_EPILOG = """\b
Try, in an empty folder:
  lrfr degrade --spec turb.yaml    degrade the embedded faces through turbulence
  lrfr make-pairs                  write an HR/LR pair store
  lrfr train fskd                  train a student on it
  lrfr demo                        all of it, with a table and a page
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found = getattr(importlib.import_module(entry[0]), entry[1])
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a name; an unknown one is answered with the nearest known."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="lrfr")
def cli() -> None:
    """Degrade faces, write HR/LR pair stores, train on them and measure: low-resolution face recognition,
    reproducibly.
    """


def run(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code (0 ok, 1 bug, 2 usage, 3 data, 4 locked, 5 environment, 6
    numeric, 7 drift, 130/143).
    """
    arguments = sys.argv[1:] if argv is None else argv
    as_json = "--json" in arguments
    try:
        _check(arguments)
        outcome = cli.main(list(arguments), prog_name="lrfr", standalone_mode=False, obj=tuple(arguments))
        return outcome if isinstance(outcome, int) else 0
    except BaseException as error:
        asked = asked_in(error)
        if isinstance(asked, Terminated):
            return _ended(143, "terminated", as_json)
        if asked or isinstance(error, click.Abort | KeyboardInterrupt):
            return _ended(130, "interrupted", as_json)
        return _told(error, as_json)


def _told(error: BaseException, as_json: bool) -> int:
    """Say what ended a command and return its exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):  # of click: whoever read its help has left
        forget()
        return 0
    if isinstance(error, click.ClickException):
        said = {"type": "UsageError", "message": error.format_message()}
        return _fail(error.exit_code, said, _usage_text(error), as_json)
    if not isinstance(error, Exception):
        raise error
    fault = as_fault(error)
    if fault is None:
        return _bug(error, as_json)
    return _fail(fault.exit_code, fault.as_dict(), plainly(f"error: {fault}"), as_json)


def _check(arguments: Sequence[str]) -> None:
    """Refuse what no command can mean, and a folder in which libraries end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise EnvironmentFault("the current folder has been deleted") from None
    if any("\0" in word for word in arguments):
        raise click.UsageError("a word of the command line holds a NUL")
    if any(not word or (word.startswith("--") and word.endswith("=")) for word in arguments):
        raise click.UsageError("a word or value of the command line is empty: an unset shell variable?")


def _ended(code: int, how: str, as_json: bool) -> int:
    said = {"type": how.capitalize(), "message": how}
    return _fail(code, said, f"{how}; run the same command again to go on", as_json)


def _usage_text(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    if context is None:
        return plainly(f"error: {error.format_message()}")
    if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2 on; its message is the help
        return error.format_message()
    path = context.command_path
    message = plainly(error.format_message())
    return f"{context.get_usage()}\nerror: {message} ({path} --help shows what it takes)"


def _bug(error: Exception, as_json: bool) -> int:
    told = "".join(traceback.format_exception(error))
    name = None
    with suppress(OSError):  # no folder for temporary files, or none that can be written
        handle, name = tempfile.mkstemp(prefix="lrfr-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(told)
    text = plainly(f"this is a bug in lrfr: {type(error).__name__}: {error}; please report it with ")
    said = {"type": type(error).__name__, "message": str(error), "file": name}
    return _fail(1, said, text + (name or f"\n{told}"), as_json)


def _fail(code: int, error: Mapping[str, object], text: str, as_json: bool) -> int:
    write(text, err=True)
    if as_json:
        from lrfr.cli.output import print_json

        with suppress(LrfrError):  # the code still says it where nobody reads
            print_json({"ok": False, "code": code, "error": error, "result": None})
    return code


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        raise_signals()
        open_streams()
        keep_freed_memory()
        quiet_libraries()
        end_with_caller()
        code = run()
        end_by_signals()
        close_streams()
    except Asked as asked:  # before there was a command, or after it
        asked.met = True
        code = 128 + asked.number
    sys.exit(code)
