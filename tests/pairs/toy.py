"""A tiny source and spec for tests that build stores hundreds of times."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.make import MadeView, MakeOptions, make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.sources.base import Face, Source

SIDE = 16
SPEC = """
version: 1
name: toy
seed: 3
image: {size: 16}
pipeline:
  - {op: down, id: d1, size: {choice: [5, 7]}, filter: bicubic, antialias: true}
store: {lr: native, up: {size: 16, filter: bicubic, antialias: true}}
"""
# Pillow's filters: a fresh process that needs no torch starts in a quarter of the time
LIGHT_SPEC = SPEC.replace("bicubic", "lanczos")


@dataclass(frozen=True)
class ToySource(Source):
    """``ids`` x ``per_id`` images of 16 x 16 random pixels."""

    ids: int = 24
    per_id: int = 8
    salt: int = 0
    kind = "toy"

    def faces(self) -> list[Face]:
        return [
            Face(f"id{i:03d}/{k}", f"id{i:03d}", (i, k), {"Odd": i % 2})
            for i in range(self.ids)
            for k in range(self.per_id)
        ]

    def read(self, place):
        words = hashlib.shake_128(repr((self.salt, *place)).encode()).digest(SIDE * SIDE * 3)
        return np.frombuffer(words, np.uint8).reshape(SIDE, SIDE, 3)


@dataclass(frozen=True)
class WithSplits(Source):
    """A source whose faces get their split from a mapping."""

    inner: Source
    splits: dict[str, str]

    def faces(self):
        return [replace(face, split=self.splits.get(face.key, "")) for face in self.inner.faces()]

    def read(self, place):
        return self.inner.read(place)


def ingest(source: Source | None = None, **options) -> Ingest:
    return Ingest(source or ToySource(), BaseOptions(Prepare(size_px=SIDE), **options))


_parsed = functools.cache(parse_spec)


def build(
    root: Path, source: Source | None = None, runner: Runner | None = None, spec: str = SPEC, **options
) -> MadeView:
    """Write a toy store (24 x 8 images: three shards of 64 rows)."""
    return make_pairs(
        ingest(source),
        [_parsed(spec)],
        store=root,
        view=ViewOptions(),
        options=MakeOptions(**options),
        runner=runner or Runner("serial"),
    )


def tree(root: Path) -> dict[str, str]:
    """Return sha256 of every file that counts (no log, lock or cache)."""
    files = [
        path
        for part in ("base", "lr", "views", "masks", "tmp")
        for path in (root / part).rglob("*")
        if path.is_file()
    ]
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
    }


def fast_folder() -> Path:
    """Return a new folder in memory where there is one (fsync costs nothing there)."""
    return Path(
        tempfile.mkdtemp(prefix="lrfr-test-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
