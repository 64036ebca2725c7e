"""What an earlier run of the same alignment left behind: its settings, and a row for each photograph done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import append_to, canonical, data_of, parsed, sha256_file, write_atomic, write_fault
from lrfr.core.files.inside import is_inside
from lrfr.pairs.align.photo_list import crop_name, crop_names
from lrfr.pairs.align.photo_task import TMP, PhotoRow

STATE = ".align.jsonl"
TABLE = "landmarks.tsv"


@dataclass(frozen=True)
class Settings:
    """All that decides crops besides the photographs; another value needs another folder.

    Attributes:
        size_px: side of the crops.
        face: which face is chosen.
        on_miss: what becomes of photographs without one.
        detector: name and revisions of what found the landmarks, and its weights' digest; "given" where only
            a person's landmarks were ever used.

    """

    size_px: int
    face: str
    on_miss: str
    detector: str

    def told(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "size_px": self.size_px,
            "face": self.face,
            "on_miss": self.on_miss,
            "detector": self.detector,
        }


_NAMES = {field.name for field in fields(Settings)}


class AlignState:
    """The file of rows: a first line with settings, then one line a photograph, the last one counts.

    A line that a killed run left unfinished is passed over; its photograph is simply done again.

    Raises:
        DataError: the file is there and cannot be read, or is larger than any that was written.

    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.rows: dict[str, PhotoRow] = {}
        # names that belong to photographs' own crops now, whose further faces' they once may have been
        self.owned: frozenset[str] = frozenset()
        self.settings: dict[str, object] | None = None
        self.table_sha256 = ""
        path = out / STATE
        if path.is_file():
            try:
                data = data_of(path)
            except OSError as error:
                hint = "remove it, and all photographs are looked at again; or name another --out"
                raise DataError(f"cannot read: {error.strerror}", file=str(path), hint=hint) from None
            self._read(data.split(b"\n")[:-1])

    def _read(self, lines: list[bytes]) -> None:
        try:
            head = parsed(lines[0])
            settings, table_sha256 = head["settings"], head["table_sha256"]
        except (IndexError, ValueError, KeyError, TypeError):
            return
        # named as they were written: they go on as settings and paths
        if (
            not isinstance(settings, dict)
            or not settings.keys() <= _NAMES
            or not isinstance(table_sha256, str)
        ):
            return
        self.settings, self.table_sha256 = settings, table_sha256
        for line in lines[1:]:
            try:
                row = PhotoRow.from_json(parsed(line))
            except (ValueError, KeyError, TypeError):
                continue
            self.rows[row.key] = row

    def check(self, settings: Settings, given: bool) -> Settings:
        """Return the settings that the folder goes on with.

        Args:
            settings: what is asked for now.
            given: whether landmarks come from a file, so that no detector decides anything.

        Raises:
            SpecError: the folder was made with other settings, or its table was edited and would be
                overwritten.

        """
        table = self.out / TABLE
        if not given and self.table_sha256 and table.is_file() and sha256_file(table) != self.table_sha256:
            raise SpecError(
                "this table was edited and would be overwritten",
                file=str(table),
                hint=f"use it: --landmarks {table}; or name another --out",
            )
        if self.settings is None:
            return settings
        compared = ("size_px",) if given else ("size_px", "face", "on_miss", "detector")
        for name in compared:
            if self.settings.get(name) != settings.told()[name]:
                raise SpecError(
                    f"these crops were made with {name} {self.settings.get(name)}, now it is "
                    f"{settings.told()[name]}",
                    file=str(self.out),
                    hint="name another --out",
                )
        return Settings(**{**settings.told(), **self.settings}) if given else settings  # type: ignore[arg-type]

    def holds(self, row: PhotoRow) -> bool:
        """Return whether all crops of a row lie there in full, under the names that they have now."""
        names = [crop.crop for crop in row.crops]
        return names == crop_names(row.key, len(names), self.owned) and all(
            _size(self.out / crop.crop) == crop.bytes for crop in row.crops
        )

    def start(self, settings: Settings) -> TextIO:
        """Write what is known and return the file that new rows are added to."""
        self.settings = settings.told()
        self.save(self.table_sha256)
        try:
            return os.fdopen(append_to(self.out / STATE), "a", encoding="ascii")
        except OSError as error:
            raise write_fault(error, self.out / STATE, 0) from error

    def add(self, rows: Iterable[PhotoRow], into: TextIO) -> int:
        """Note rows that are done, so that they survive whatever comes.

        Returns:
            How many crops their photographs had before and have no more; their files are removed.

        """
        gone: set[str] = set()
        for row in rows:
            before = self.rows.get(row.key)
            left = _crops([before] if before else []) - _crops([row])
            gone |= {name for name in left if name == crop_name(row.key) or name not in self.owned}
            self.rows[row.key] = row
            into.write(canonical(row.to_json()).decode("ascii"))
        into.flush()
        return self._remove(gone)

    def keep_only(self, keys: Iterable[str]) -> int:
        """Forget all other photographs, and remove and count their crops."""
        kept = {key: self.rows[key] for key in keys}
        gone = _crops(self.rows.values()) - _crops(kept.values())
        self.rows = kept
        return self._remove(gone)

    def _remove(self, names: set[str]) -> int:
        for name in names:
            try:
                if is_inside(self.out / name, self.out):
                    (self.out / name).unlink(missing_ok=True)
            except OSError as error:
                where = str(self.out / name)
                raise EnvironmentFault(f"cannot remove: {error.strerror}", file=where) from None
        return len(names)

    def save(self, table_sha256: str) -> None:
        """Write settings and rows anew, sorted."""
        head = {"settings": self.settings, "table_sha256": table_sha256}
        lines = [canonical(head), *(canonical(self.rows[key].to_json()) for key in sorted(self.rows))]
        write_atomic(self.out / STATE, b"".join(lines), self.out / TMP)


def _crops(rows: Iterable[PhotoRow]) -> set[str]:
    return {crop.crop for row in rows for crop in row.crops}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
