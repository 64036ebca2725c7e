"""The same faces in another place and order: a store hangs on what faces are, not on where and when they lie, or on who
looks; and one pixel, or one name, moves its digests.
"""

from __future__ import annotations

import io
import locale
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.sources.table import open_source
from lrfr.pairs.store import Store
from tests.hunt.cases import Outcome
from tests.hunt.samples import _face, _saved
from tests.pairs.toy import SIDE, SPEC, _parsed, make_pairs, tree

# names as folders have them: with spaces, of other alphabets, in two forms of one letter
FOLDERS = ("faces", "b/faces", "fa ces", "Fotoğraf ı", "e\u0301te", "\u00e9te", "z" * 100, "faces.d/x", "0")
ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia")
LOCALES = ("C", "C.UTF-8", "POSIX")
FORMS = ("folder", "csv", "tar")
# a process of its own costs a second: only what cannot be set in this one asks for it
OWN_PROCESS = 8


@dataclass(frozen=True)
class World:
    """Where and how faces lie, and who looks.

    Attributes:
        folder: name of the source's folder.
        order: of the files as they are written, and as a list or an archive names them.
        umask, zone, locale, seed: of the process; a seed of hashes has a process of its own.
        age_s: how old the files are.

    """

    folder: str = "faces"
    order: int = 0
    umask: int = 0o022
    zone: str = "UTC"
    locale: str = "C.UTF-8"
    seed: int | None = None
    age_s: int = 0


def faces_of(dice: random.Random) -> dict[str, bytes]:
    """Return some files by key: of few people, some of them twice, one perhaps no picture."""
    kinds = ("JPEG", "PNG", "BMP", "TIFF")
    held = [_saved(dice.choice(kinds), _face(dice.randrange(10**6), dice.choice((16, 24)))) for _ in range(6)]
    keys = [f"p{person}/{number}" for person in range(3) for number in range(dice.choice((1, 2, 3)))]
    found = {key: dice.choice(held) for key in keys}
    if dice.random() < 0.3:
        found["p0/broken"] = dice.choice(held)[:40]
    return found


def other_world(number: int, dice: random.Random) -> World:
    """Return another place."""
    return World(
        dice.choice(FOLDERS),
        dice.randrange(1, 10**6),
        dice.choice((0o022, 0o077, 0o002, 0o027)),
        dice.choice(ZONES),
        dice.choice(LOCALES),
        dice.randrange(1000) if number % OWN_PROCESS == 0 else None,
        dice.choice((0, 10**5, 10**9)),
    )


def lay(form: str, faces: dict[str, bytes], world: World, folder: Path) -> str:
    """Write the faces as a source of one form and return its words for ``--source``."""
    files = [(f"{key}.jpg", data) for key, data in sorted(faces.items())]
    random.Random(world.order).shuffle(files)
    root = folder / world.folder
    root.mkdir(parents=True)
    if form == "tar":
        with tarfile.open(root / "s.tar", "w") as made:
            for name, data in files:
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(data), world.age_s
                made.addfile(member, io.BytesIO(data))
        return f"tar:{root}/s.tar"
    for name, data in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (time.time() - world.age_s,) * 2)
    if form == "csv":
        rows = "".join(f"{name},{name.split('/')[0]}\n" for name, _ in files)
        (root / "s.csv").write_text(f"path,identity\n{rows}", "utf-8")
        return f"csv:{root}/s.csv"
    return f"folder:{root}"


@contextmanager
def standing_in(world: World) -> Iterator[None]:
    """Be in a place's zone and locale, with its umask."""
    mask, zone, before = os.umask(world.umask), os.environ.get("TZ"), locale.setlocale(locale.LC_ALL)
    try:
        os.environ["TZ"] = world.zone
        time.tzset()
        locale.setlocale(locale.LC_ALL, world.locale)
        yield
    finally:
        os.umask(mask)
        os.environ.pop("TZ")
        if zone is not None:
            os.environ["TZ"] = zone
        time.tzset()
        locale.setlocale(locale.LC_ALL, before)


def built(source: str, root: Path) -> None:
    """Write a small store of a source."""
    wanted = Ingest(open_source(source), BaseOptions(Prepare(size_px=SIDE)))
    make_pairs(wanted, [_parsed(SPEC)], store=root, runner=Runner("serial"))


def stored(
    form: str, faces: dict[str, bytes], world: World, folder: Path
) -> tuple[dict[str, str], list[str]]:
    """Return the digests of a store's files, and the ids of its bases."""
    with standing_in(world):
        source, root = lay(form, faces, world, folder / "in"), folder / "store"
        if world.seed is None:
            built(source, root)
        else:
            env = {**os.environ, "PYTHONHASHSEED": str(world.seed), "PYTHONPATH": os.pathsep.join(sys.path)}
            code = "import sys, pathlib\nfrom tests.hunt.places import built\nbuilt(sys.argv[1], pathlib.Path(sys.argv[2]))"
            words = [sys.executable, "-c", code, source, str(root)]
            subprocess.run(words, check=True, env=env | {"LC_ALL": world.locale}, timeout=120, cwd="/")
    return tree(root), list(Store(root).bases())


def run_place(number: int, folder: Path) -> None:
    """Build one number's faces in two places, and with one of them changed.

    Raises:
        AssertionError: the places show, or the change does not.

    """
    dice = random.Random(f"place {number}")
    form, faces, world = dice.choice(FORMS), faces_of(dice), other_world(number, dice)
    here, ids = stored(form, faces, World(), folder / "here")
    there, same = stored(form, faces, world, folder / "there")
    assert ids == same and here == there, (
        f"{form} of {world}: {sorted({*here.items()} ^ {*there.items()})[:6]}"
    )
    key = dice.choice([key for key in faces if key != "p0/broken"])
    changed = dict(faces)
    if dice.random() < 0.5:
        changed[key] = _saved("PNG", _face(10**6 + number))
    else:
        changed[f"{key}x"] = changed.pop(key)
    other, moved = stored(form, changed, World(), folder / "changed")
    assert moved != ids and other != here, f"{form}: {key} of {sorted(faces)} changed, and nothing moved"


def places(folder: Path, first: int, count: int, *, loud: bool = False) -> list[Outcome]:
    """Try some numbers; one outcome each."""
    found = []
    for number in range(first, first + count):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            run_place(number, folder)
            found.append(Outcome("place", number, "read"))
        except Exception as error:
            if loud:
                traceback.print_exc()
            found.append(Outcome("place", number, type(error).__name__, f"{error}"[:600]))
    shutil.rmtree(folder, ignore_errors=True)
    return found
