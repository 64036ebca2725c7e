"""What a command may say: human lines or one JSON object, and progress with ETA on a terminal, plain lines
elsewhere.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from lrfr.cli.overwriting import refuse_overwriting
from lrfr.cli.standard_streams import plainly, shown, write
from lrfr.core.errors import EnvironmentFault, LrfrError
from lrfr.core.progress import Hooks, Pace, Stopped, stop_on_signal
from lrfr.eval.report.text_table import aligned, cell_text

Advance = Callable[..., None]
Body = Callable[..., Mapping[str, object] | None]
_PLAIN_FIRST_S = 5.0
_PLAIN_MOST_S = 60.0


class Output:
    """The voice of one command. Results go to stdout, everything else to stderr; ``--json`` leaves the object
    and plain progress.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.code = 0
        self.error: Mapping[str, object] | None = None

    def fail(self, error: LrfrError) -> None:
        """Say what is wrong and end with the error's exit code, with a result all the same."""
        self.code, self.error = error.exit_code, error.as_dict()
        write(plainly(f"error: {error}"), err=True)

    def say(self, text: str = "") -> None:
        """Print one human line to stdout (nothing under ``--json``)."""
        if not self.as_json:
            write(shown(text))

    def lines(self, texts: Iterable[str]) -> None:
        """Print human lines."""
        for text in texts:
            self.say(text)

    def note(self, text: str) -> None:
        """Print one remark to stderr (nothing under ``--json``)."""
        if not self.as_json:
            write(plainly(text), err=True)

    def counts(self, name: str, counts: Mapping[str, int]) -> None:
        """Print how often each code was seen, where one was."""
        if counts:
            self.say(f"{name}: " + ", ".join(f"{code} {count}" for code, count in counts.items()))

    def notes(self, texts: Iterable[str]) -> None:
        """Print remarks."""
        for text in texts:
            self.note(text)

    def yaml(self, data: object, width: int = 110) -> None:
        """Print plain data as YAML."""
        import yaml

        text = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=width, allow_unicode=True)
        self.say(text.rstrip())

    def next_step(self, *words: object, more: str = "") -> None:
        """Print the command that comes next as it can be typed, and where others are found."""
        self.say(f"next: {shlex.join(map(str, words))}" + (f"    ({more})" if more else ""))

    def of_first_process(self) -> Output:
        """Return this voice, or a mute one in the other processes of ``torchrun``."""
        return Output(True) if os.environ.get("RANK", "0") != "0" else self

    def hooks(self) -> Hooks:
        """Return hooks that say what a library function notes."""
        return Hooks(on_note=self.note)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
        """Print an aligned table; numbers to the right, the first column to the left."""
        self.say(aligned(columns, rows, title))

    @contextmanager
    def progress(self, label: str, unit: str = "img") -> Iterator[Advance]:
        """Yield ``advance(done, total, **info)``: a bar with rate and ETA on a terminal, else a line to
        stderr now and then.
        """
        if sys.stderr.isatty() and not self.as_json:
            with _bar(label, unit) as advance:
                yield advance
        else:
            yield _plain(label, unit)

    @contextmanager
    def working(self, label: str, unit: str = "img") -> Iterator[Hooks]:
        """Yield hooks that show progress and say what a library function notes."""
        with self.progress(label, unit) as advance:
            yield Hooks(advance, self.note)

    @contextmanager
    def stoppable(self, label: str, unit: str, pieces: str) -> Iterator[Hooks]:
        """Yield hooks with progress; the first Ctrl-C or SIGTERM lets the running ``pieces`` finish, the
        second ends.
        """

        def say() -> None:
            write(f"finishing the running {pieces}; once more to stop now", err=True)

        try:
            with stop_on_signal(say) as stop, self.progress(label, unit) as advance:
                yield Hooks(advance, self.note, stop.asked)
        except (Stopped, EnvironmentFault):  # a signal to the group ends the workers too
            if not stop.signum:
                raise
            signal.raise_signal(stop.signum)
            raise click.Abort from None  # where the signal is ignored


@contextmanager
def _bar(label: str, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    about, note_text = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    columns = (about, BarColumn(), MofNCompleteColumn(), note_text, TimeRemainingColumn())
    pace = Pace()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None, note="")

        def advance(done: int, total: int, **info: object) -> None:
            more = "".join(f" {key} {cell_text(value)}" for key, value in info.items())
            progress.update(task, completed=done, total=total, note=f"{pace.rate(done):.3g} {unit}/s{more}")

        yield advance


def _plain(label: str, unit: str) -> Advance:
    start, pace = time.monotonic(), Pace()
    last = [start]

    def advance(done: int, total: int, **info: object) -> None:
        now, rate = time.monotonic(), pace.rate(done)
        if rate == 0 or now - last[0] < min(_PLAIN_MOST_S, max(_PLAIN_FIRST_S, (now - start) / 4)):
            return
        last[0] = now
        eta_s = (total - done) / rate
        extra = "".join(f", {key} {cell_text(value)}" for key, value in info.items())
        write(f"{label}: {done}/{total}, {rate:.3g} {unit}/s, ETA {eta_s:.0f} s{extra}", err=True)

    return advance


# old spellings of options: still taken, never shown
_ALIASES = {"--colour": "--color", "--licence": "--license"}


class Command(click.Command):
    """A command that also takes the old spellings of its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rename old spellings, then parse; what stands behind ``--`` is left as it is."""
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*map(_rename, args[:end]), *args[end:]])


def _rename(word: str) -> str:
    option, equals, value = word.partition("=")
    return _ALIASES.get(option, option) + equals + value


def command(name: str, **attributes: Any) -> Callable[[Body], click.Command]:
    r"""Make a click command from ``body(out, **parameters) -> result``; adds ``--json``.

    The body returns the JSON-able result; errors are raised as :class:`lrfr.core.errors.LrfrError` and shown
    by the entry point.
    """

    def wrap(body: Body) -> click.Command:
        """Return the command that runs ``body``."""

        @functools.wraps(body)
        def run(as_json: bool, **parameters: Any) -> None:
            out = Output(as_json)
            refuse_overwriting(made, parameters)
            try:
                result = body(out, **parameters)
            except BrokenPipeError as error:  # click takes it for a reader of stdout that has left
                raise EnvironmentFault("a process or connection that this needs has ended") from error
            except SystemExit as stop:
                raise EnvironmentFault(f"code that was loaded called sys.exit({stop.code})") from stop
            if as_json:
                print_json({"ok": not out.code, "code": out.code, "error": out.error, "result": result})
            if out.code:
                raise click.exceptions.Exit(out.code)

        made: click.Command = click.command(name, **{"cls": Command, **attributes})(run)  # type: ignore[no-untyped-call]
        text = "Print one JSON object on stdout and nothing else."
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help=text))
        return made

    return wrap


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object on stdout."""
    write(json.dumps(value, sort_keys=True, default=str), exact=True)
