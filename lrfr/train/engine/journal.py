"""The loss trace of a run: one JSON object a line, truncated to the checkpoint when a run resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol, cast

from lrfr.core.files import append_to, data_of, parsed, write_fault, write_whole


class ScalarWriter(Protocol):
    """What the journal needs of a TensorBoard writer."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Write one number."""


class Journal:
    """``journal.jsonl``: step lines ``{"step", "epoch", "lr", "loss": {...}}`` and evaluation lines
    ``{"step", "eval": {...}}``.

    Floats are written with all their digits. ``rate`` (images a second) and ``wait`` (share of the time spent
    waiting for data) vary from run to run; everything else is reproducible.
    """

    def __init__(self, path: Path, board: ScalarWriter | None = None) -> None:
        self.path, self.board = path, board
        self._handle: IO[str] | None = None

    def open_at(self, step: int) -> int:
        """Drop lines beyond ``step`` and what cannot be read, and open for appending; return how many
        lines could not be read.

        Raises:
            EnvironmentFault: it cannot be written.

        """
        # steps after the checkpoint are taken again and write their lines again
        lines, lost = sound_lines(self.path)
        write_whole(
            self.path, "".join(json.dumps(line) + "\n" for line in lines if line["step"] <= step).encode()
        )
        try:
            self._handle = os.fdopen(append_to(self.path), "a", encoding="utf-8")
        except OSError as error:
            raise write_fault(error, self.path, 0) from error
        return lost

    def write(self, line: Mapping[str, object]) -> None:
        """Append one line."""
        assert self._handle is not None
        self._handle.write(json.dumps(line) + "\n")
        if self.board is not None:
            for group in ("loss", "eval"):
                for name, value in cast(Mapping[str, float], line.get(group, {})).items():
                    self.board.add_scalar(f"{group}/{name}", value, cast(int, line["step"]))

    def flush(self) -> None:
        """Hand written lines to the operating system."""
        if self._handle is not None:
            self._handle.flush()

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal that are whole; a last line cut by a crash is left out."""
    return sound_lines(path)[0]


def sound_lines(path: Path) -> tuple[list[Any], int]:
    """Return the lines of a journal that are whole, and how many others there are: a journal tells
    people how a run went and decides nothing, so damage in it stops no run.
    """
    try:
        data = data_of(path)
    except OSError:
        return [], 0
    # a whole line ends with a newline, so what follows the last one is cut or nothing
    lines = [line for line in data.split(b"\n")[:-1] if line]
    sound = [found for line in lines if (found := _line(line)) is not None]
    return sound, len(lines) - len(sound)


def _line(text: bytes) -> Any:
    """Return a whole line, None for any other."""
    try:
        found = parsed(text)
        step, told = found["step"], [found.get(group, {}) for group in ("loss", "eval")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    plain = type(step) is int and all(isinstance(group, dict) for group in told)
    return found if plain and all(map(_is_number, [v for group in told for v in group.values()])) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def loss_trace(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Return the reproducible part: (step, losses) of every step line."""
    return [(line["step"], line["loss"]) for line in read(path) if "loss" in line]
