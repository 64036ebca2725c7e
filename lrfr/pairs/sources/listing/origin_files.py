"""The files that a listing is made from, so that it can be kept while all of them are as they were."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# of a folder with more, the walk that finds them is the listing
_MOST = 100_000


def origin_files(path: Path, beside: Iterable[Path] = ()) -> list[Path] | None:
    """Return a file and what is read beside it, there or not; of a folder all that is in it, folders too.

    None where a folder holds links, whose other ends may change unseen, or too much.
    """
    if not path.is_dir():
        return [path, *beside]
    found, waiting = [path], [path]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink() or len(found) >= _MOST:
                        return None
                    found.append(Path(entry.path))
                    if entry.is_dir():
                        waiting.append(found[-1])
        except OSError:
            return None
    return sorted(found)
