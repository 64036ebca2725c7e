"""Command lines that nobody should type: every command with absurd values for its arguments and options, at a store, a
run and a result that are there. Each ends in a code of its own and one message, and a dry run writes nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
from functools import cache
from pathlib import Path

import click

from tests.hunt.forging import NUMBERS, WORDS

GOOD_LINE = json.dumps(["doctor"]).encode()
# commands that ask nobody and take long, or serve until they are stopped: looked at without running, or not at all
_DRY = {"--dry-run", "--plan", "--print-spec"}
_LEFT_OUT = {"demo", "quickstart", "detectors fetch", "train p2s", "train cfsm", "reproduce"}
# of places outside none may be named: as root, a command may write there what it was told to
_PLACES = (
    "store",
    "run",
    "result.json",
    "s.yaml",
    "faces",
    "nowhere",
    ".",
    "store/views",
    "default",
    "faces/p0/0.jpg",
)
_TEXTS = (
    *(word for word in WORDS if ".." not in word and not word.startswith("/")),
    *map(str, NUMBERS),
    "0,0",
    "1,",
    ",",
    "=",
    "a=",
    "=b",
    "a=b=c",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "1_000",
    "١٢",
    "14,14",
    "\ufeff",
    "{}",
    "[]",
    "null",
    "true",
    "*",
    "%s",
    "{0}",
    "$HOME",
    "~",
    "--",
    "-1",
    "1e-320",
    "1/0",
)
_SOURCES = (
    "synthetic:ids=2,per_id=1",
    "synthetic:ids=-1",
    "synthetic:ids=1e9,per_id=1e9",
    "synthetic:ids=nan",
    "synthetic:ids=2,ids=3",
    "synthetic:",
    "mixup:count=3,of=folder:faces",
    "mixup:count=-3,of=folder:faces",
    "mixup:count=9999999999999,of=folder:faces",
    "mixup:of=mixup:of=mixup:of=folder:faces",
    "mixup:count=3,of=synthetic:ids=2",
    "folder:faces",
    "folder:faces,identity=parent",
    "folder:nowhere",
    "csv:s.yaml",
    "tar:s-{000..99999999999}.tar",
    "list:faces",
    "lmdb:store",
    "bin:result.json",
    "parquet:nowhere*.parquet",
)


@cache
def leaves() -> tuple[tuple[tuple[str, ...], click.Command], ...]:
    """Return every command that is tried with its words."""
    from tests.cli.every_command import every_command

    named = {" ".join(words): (words, command) for words, command in every_command().items()}
    assert named.keys() >= _LEFT_OUT, _LEFT_OUT - named.keys()
    return tuple(item for name, item in named.items() if name not in _LEFT_OUT)


def other_line(data: bytes, dice: random.Random) -> bytes:
    """Another command line, at random."""
    words, command = dice.choice(leaves())
    line = [*words]
    options = [item for item in command.params if isinstance(item, click.Option) and item.expose_value]
    dry = next((name for item in options for name in item.opts if name in _DRY), None)
    chosen = dice.sample(options, min(len(options), dice.choice((0, 1, 1, 2, 3))))
    chosen += [item for item in options if item.required and item not in chosen and dice.random() < 0.9]
    for option in chosen:
        name = dice.choice([*option.opts, *option.secondary_opts])
        line += [name] if option.is_flag else [name, _value(option, dice)]
    if dry and dry not in line:
        line.append(dry)
    for item in command.params:
        if isinstance(item, click.Argument) and dice.random() < 0.9:
            line += [_value(item, dice) for _ in range(1 if item.nargs == 1 else dice.choice((0, 1, 2)))]
    return json.dumps([word for word in line if word]).encode()


def _value(item: click.Parameter, dice: random.Random) -> str:
    if isinstance(item.type, click.Choice) and dice.random() < 0.7:
        return str(dice.choice(list(item.type.choices)))
    how = dice.random()
    if item.name in {"source", "sources"} and how < 0.7:
        return dice.choice(_SOURCES)
    if "PATH" in (item.metavar or "") or isinstance(item.type, click.Path) or how < 0.3:
        return dice.choice(_PLACES)
    if isinstance(item.type, click.types.IntParamType | click.types.FloatParamType) and how < 0.8:
        return str(dice.choice((*NUMBERS, 1, 2, 7, 112, 0.5, "nan", "inf")))
    if (item.multiple and how < 0.6) or "=" in (item.metavar or ""):
        return f"{dice.choice(_KEYS)}={dice.choice(_TEXTS)}"
    return dice.choice(_TEXTS)


_KEYS = ("lr", "train.lr", "train.batch_size", "train.seed", "lambda", "backbone", "input.filter", "head.scale", "14", "28", "teacher", "init", "seed", "image.size", "pipeline.d.size", "pipeline.d.filter", "store.lr", "faces", "x.y.z", "train.adapter.rank", "parents.teacher.train.length", "rule")  # fmt: skip


@cache
def line_world() -> dict[str, bytes]:
    """A store, a run, a spec, a result that is none, and two faces."""
    from tests.hunt.kept_samples import run_files
    from tests.hunt.samples import SPEC, beside, store_files

    files = {f"store/{name}": data for name, data in store_files().items()}
    files |= {name: data for name, data in run_files().items() if name.startswith("run/")}
    files |= {"s.yaml": SPEC.encode(), "result.json": b'{"format": "lrfr-result/1", "results": []}\n'}
    return files | {f"faces/p{number}/0.jpg": beside(number) for number in range(2)}


def _tree(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns
        for path in root.rglob("*")
        if path.is_file() and path.name not in {".lock", "run.log"} and "cache" not in path.parts
    }


def run_line(path: Path) -> object:
    """Run a command line where it lies; told where it is refused."""
    from lrfr.cli.main import run
    from lrfr.core.errors import SpecError

    argv = json.loads(path.read_bytes())
    folder, here = path.parent, os.getcwd()
    said, before = io.StringIO(), _tree(path.parent)
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = run([str(word) for word in argv])
    finally:
        os.chdir(here)
    told = said.getvalue()
    if code == 1 or "Traceback" in told or code not in {0, 2, 3, 4, 5, 6}:
        raise AssertionError(f"{code}: {argv}: {told[-400:]}")
    if {"--dry-run", "--print-spec"} & set(argv) and _tree(folder) != before and "--" not in argv:
        raise AssertionError(f"a dry run writes: {argv}: {_tree(folder).keys() - before.keys()}")
    if code:
        raise SpecError(told[-300:] or "refused")
    return None


def source_words(data: bytes, dice: random.Random) -> bytes:
    """Another text for --source."""
    text = dice.choice(_SOURCES)
    for _ in range(dice.choice((0, 1, 2))):
        at = dice.randrange(len(text) + 1)
        text = (
            text[:at]
            + dice.choice((*_TEXTS, ",", ":", "=", ",seed=", ",of=", ",count=", ",identity="))
            + text[at:]
        )
    return text.encode("utf-8", "surrogatepass")
