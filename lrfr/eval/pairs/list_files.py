"""Lists of trials as files: tab-separated, below a line that says what made them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lrfr.core.files import write_whole
from lrfr.core.lists import read_text
from lrfr.core.lists.fields import MADE
from lrfr.eval.pairs.made_lists import MadeGallery, MadePairs

PAIR_COLUMNS = ("path_a", "path_b", "same", "fold", "id_a", "id_b")
GALLERY_PARTS = ("gallery", "probe", "distractor")


def pairs_text(made: MadePairs) -> bytes:
    """Return the file of a list of pairs; equal lists give equal bytes."""
    return _table("pairs", made.told(), PAIR_COLUMNS, made.rows())


def write_pairs(made: MadePairs, path: Path) -> Path:
    """Write a list of pairs that ``pairs-tsv`` and ``view`` read, and return its path."""
    write_whole(path, pairs_text(made))
    return path


def gallery_texts(made: MadeGallery) -> dict[str, bytes]:
    """Return the files of a 1:N test by name; ``distractor.tsv`` only where there are distractors."""
    parts = [part for part in GALLERY_PARTS if len(getattr(made, part))]
    told = made.told()
    return {f"{part}.tsv": _table(part, told, ("path", "identity"), made.rows(part)) for part in parts}


def write_gallery(made: MadeGallery, folder: Path) -> Path:
    """Write the lists of a 1:N test that ``identify-tsv`` and ``view`` read, and return their folder; a list
    of distractors that was there before goes where there are none.
    """
    texts = gallery_texts(made)
    for name, text in texts.items():
        write_whole(folder / name, text)
    if "distractor.tsv" not in texts and made_by_lrfr(folder / "distractor.tsv"):
        (folder / "distractor.tsv").unlink()
    return folder


def made_by_lrfr(path: Path) -> bool:
    """Return whether a file is a list that was written here."""
    return path.is_file() and read_text(path, names=True).startswith(MADE)


def _table(
    kind: str, told: Mapping[str, object], columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> bytes:
    text = io.StringIO()
    text.write(f"{MADE}{kind} {json.dumps(told, sort_keys=True)}\n")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
