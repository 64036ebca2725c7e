"""Taking names out of the texts of a store: lists of refused faces, reports, the log; and naming other files
that still hold them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.core.files import canonical, data_of, opened, read_sealed, seal, write_if_other
from lrfr.core.files.inside import NAMED, own_entries
from lrfr.pairs.build.look.report_files import damaged_reports, seal_report
from lrfr.pairs.format.sealed import MEND
from lrfr.pairs.format.store_files import StoreFiles

PUT_IN_PLACE = "(forgotten)"
# up to this size a name must stand alone to be found in a file that somebody has put into the folder
MAX_BYTES = 1 << 28
_PART_BYTES = 1 << 24
# beside what lies in folders under names of lrfr's own: no text, or text that is written anew
_OWN = ("views", "forgotten", ".lock", "run.log")


@dataclass(frozen=True)
class Names:
    """Names to take out: keys of faces, and identities of which nothing is left."""

    texts: tuple[str, ...]

    @classmethod
    def of(cls, keys: Iterable[bytes], labels: Iterable[str]) -> Names:
        """Return them, the longest first, so that no name hides in a longer one."""
        found = {key.decode("utf-8", "surrogateescape") for key in keys} | set(labels)
        return cls(tuple(sorted(found - {""}, key=lambda text: (-len(text), text))))

    def within(self, text: str) -> Names:
        """Return those that occur in a text at all."""
        return Names(tuple(name for name in self.texts if name in text))

    def found_in(self, text: str) -> bool:
        """Return whether a text names any of them."""
        pattern = self.within(text).pattern()
        return pattern is not None and pattern.search(text) is not None

    def pattern(self) -> re.Pattern[str] | None:
        """Return what matches any of them where it stands alone: ``p1`` in ``p1/03.png``, not in ``p10``."""
        if not self.texts:
            return None
        words = "|".join(map(re.escape, self.texts))
        return re.compile(rf"(?<![\w-])(?<!\w\.)(?:{words})(?![\w-])(?!\.\w)")


def scrub(store: StoreFiles, names: Names) -> list[str]:
    """Take names out of every text of a store; return the paths of files that are not lrfr's and hold one."""
    left = []
    for name in store.views():
        _scrub_list(store, name, names)
    for path in own_entries(store.root, "reports"):
        try:
            write_if_other(path, _clean(path, names), store.tmp)
        except DataError:  # damaged, and nobody can say what it names; or somebody's own
            if b'"LRS1"' in data_of(path):
                path.unlink()
            else:
                left.append(str(path))
    log = store.root / "run.log"
    if log.is_file() and not log.is_symlink():
        write_if_other(log, _clean(log, names), store.tmp)
    own = {store.root / name for name in _OWN}
    own |= {path for kind in NAMED for path in own_entries(store.root, kind)}
    for path in sorted(store.root.rglob("*")):
        if path.is_file() and not path.is_symlink() and own.isdisjoint((path, *path.parents)):
            left += [str(path)] if _holds(path, names) else []
    return left


def _scrub_list(store: StoreFiles, name: str, names: Names) -> None:
    """Take names out of the list of refused faces of a view, whose report knows what it is."""
    for path in damaged_reports(store, name):
        path.unlink()
    report, path = store.report(name), store.quarantine_path(name)
    if report and path.exists():
        lines = _clean(path, names)
        if lines != data_of(path):
            seal_report(store, name, report, lines)


def _clean(path: Path, names: Names) -> bytes:
    """Return a text without the names: a line whose key is one of them goes, elsewhere they are put out."""
    data = data_of(path)
    # as it reads, not as JSON spells it
    lines = [_read(line) for line in data.splitlines()]
    pattern = names.within("\0".join(_texts(lines))).pattern()
    if pattern is None:
        return data
    if path.suffix == ".json":
        new = _put_out(read_sealed(path, MEND), pattern)
        assert isinstance(new, dict)
        return seal(new)
    kept = []
    for line, raw in zip(lines, data.splitlines(), strict=True):
        key = line.get("key", "") if isinstance(line, dict) else raw.decode("utf-8", "surrogateescape")
        if isinstance(line, dict) or path.suffix == ".tsv":
            # a table's key is its first column
            if pattern.search(str(key).split("\t")[0]):
                continue
        new = _put_out(line, pattern)
        is_same = new == line
        kept.append(raw + b"\n" if is_same else _spelled(new, path))
    return b"".join(kept)


def _spelled(line: object, path: Path) -> bytes:
    if isinstance(line, str):
        return line.encode("utf-8", "surrogateescape") + b"\n"
    return canonical(line) if path.suffix == ".jsonl" else json.dumps(line).encode() + b"\n"


def _read(line: bytes) -> object:
    """Return a line as JSON, or as it is."""
    try:
        return json.loads(line)  # its own lines, whatever they are
    except (ValueError, RecursionError):
        return line.decode("utf-8", "surrogateescape")


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _put_out(value: object, pattern: re.Pattern[str]) -> object:
    if isinstance(value, str):
        return pattern.sub(PUT_IN_PLACE, value)
    if isinstance(value, list):
        return [_put_out(item, pattern) for item in value]
    if isinstance(value, dict):
        return {_put_out(key, pattern): _put_out(item, pattern) for key, item in value.items()}
    return value


def _holds(path: Path, names: Names) -> bool:
    if path.stat().st_size <= MAX_BYTES:
        return names.found_in(data_of(path).decode("utf-8", "surrogateescape"))
    texts = [name.encode("utf-8", "surrogateescape") for name in names.texts]
    overlap, tail = max(map(len, texts), default=1) - 1, b""
    with opened(path) as handle:
        while part := handle.read(_PART_BYTES):
            if any(text in tail + part for text in texts):
                return True
            tail = (tail + part)[-overlap:] if overlap else b""
    return False
