"""The loss trace of a run: one JSON object a line, truncated to the checkpoint when a run resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol, cast


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

    def open_at(self, step: int) -> None:
        """Drop lines beyond ``step`` and open for appending."""
        # steps after the checkpoint are taken again and write their lines again
        kept = [line for line in read(self.path) if line["step"] <= step]
        temporary = self.path.with_name(".tmp-journal")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
        temporary.replace(self.path)
        self._handle = self.path.open("a", encoding="utf-8")

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
    """Return the lines of a journal; a last line cut by a crash is left out."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8").split("\n")
    # a whole line ends with a newline, so what follows the last one is cut or nothing
    return [json.loads(line) for line in lines[:-1] if line]


def loss_trace(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Return the reproducible part: (step, losses) of every step line."""
    return [(line["step"], line["loss"]) for line in read(path) if "loss" in line]
