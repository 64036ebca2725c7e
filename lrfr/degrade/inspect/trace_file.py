"""The lines of ``trace.jsonl``: what was drawn for an image, and what it came to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.core.files import data_of, parsed
from lrfr.core.image import ImageU8
from lrfr.degrade.pipeline import Degraded, Trace


@dataclass(frozen=True)
class Recorded:
    """A line of ``trace.jsonl``.

    Attributes:
        trace: what was drawn.
        file: the image that was written, relative to the trace's folder.
        fit_px: side that the face was brought to first.
        px: height and width of the image.
        sha256: of its pixels.

    """

    trace: Trace
    file: str
    fit_px: int
    px: tuple[int, int]
    sha256: str

    @classmethod
    def of(cls, degraded: Degraded, file: str, fit_px: int) -> Recorded:
        """Return the record of an image."""
        height, width = degraded.image.shape[:2]
        return cls(degraded.trace, file, fit_px, (height, width), pixels_sha256(degraded.image))

    def as_json(self) -> dict[str, object]:
        """Return the line as plain data."""
        own = {"file": self.file, "fit_px": self.fit_px, "px": list(self.px), "sha256": self.sha256}
        return {**self.trace.as_json(), **own}


def pixels_sha256(image: ImageU8) -> str:
    """Return the sha256 (hex) of an image's pixels."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def _text(path: Path) -> str:
    try:
        return data_of(path).decode("utf-8", "replace")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=str(path)) from None


def read_traces(path: Path) -> list[Recorded]:
    """Read a ``trace.jsonl``.

    Raises:
        DataError: a line is no record, with its number.

    """
    records = []
    for number, text in enumerate(_text(path).splitlines(), 1):
        try:
            line = parsed(text.encode())
            types = {"key": str, "file": str, "sha256": str, "fit_px": int, "steps": list}
            bad = [name for name, kind in types.items() if not isinstance(line[name], kind)]
            if bad or not 4 <= line["fit_px"] <= 4096:
                raise ValueError(str(bad or "fit_px"))
            height, width = line["px"]
            px = (int(height), int(width))
            records.append(Recorded(Trace.read(line), line["file"], line["fit_px"], px, line["sha256"]))
        except (ValueError, KeyError, TypeError, RecursionError, DataError) as error:
            raise DataError(f"not a trace record: {error}", file=str(path), line=number) from None
    return records
