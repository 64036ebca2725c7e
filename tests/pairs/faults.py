"""Faults to inject: I/O operations that fail at the n-th call, and processes killed at any moment."""

from __future__ import annotations

import builtins
import io
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import lmdb

from lrfr.pairs.format import shard


class Shim:
    """Count the I/O operations below ``root``; operation ``n`` fails (once, or it and all later ones)."""

    def __init__(
        self, root: Path, n: int = 0, code: int = 0, persistent: bool = False, die: bool = False
    ) -> None:
        self.root = str(root)
        self.n = n
        self.code = code
        self.persistent = persistent
        self.die = die
        self.count = 0

    def step(self, name: str) -> None:
        self.count += 1
        hit = self.count >= self.n if self.persistent else self.count == self.n
        if self.n and hit:
            if self.die:
                os._exit(77)
            if name.startswith("lmdb"):
                raise lmdb.Error(f"{name}: {os.strerror(self.code)}")
            raise OSError(self.code, os.strerror(self.code), name)

    def mine(self, path: object) -> bool:
        return str(path).startswith(self.root)


class Transaction:
    """An LMDB transaction whose puts and commit are counted."""

    def __init__(self, inner, shim: Shim) -> None:
        self._inner, self._shim = inner, shim

    def __enter__(self):
        self._inner.__enter__()
        return self

    def __exit__(self, *error):
        if error[0] is None:
            try:
                self._shim.step("lmdb.commit")
            except lmdb.Error:
                self._inner.abort()
                raise
        return self._inner.__exit__(*error)

    def put(self, *args, **options):
        self._shim.step("lmdb.put")
        return self._inner.put(*args, **options)


class Environment:
    """An LMDB environment whose transactions and syncs are counted."""

    def __init__(self, inner, shim: Shim) -> None:
        self._inner, self._shim = inner, shim

    def begin(self, **options):
        return Transaction(self._inner.begin(**options), self._shim)

    def sync(self, force):
        self._shim.step("lmdb.sync")
        return self._inner.sync(force)

    def close(self):
        self._inner.close()


class _Lmdb:
    Error = lmdb.Error
    MapFullError = lmdb.MapFullError

    def __init__(self, shim: Shim) -> None:
        self._shim = shim

    def open(self, path, **options):
        self._shim.step("lmdb.open")
        return Environment(lmdb.open(path, **options), self._shim)


@contextmanager
def injected(shim: Shim):
    """Route writes, renames, removals, folders and syncs through the shim."""
    saved = (os.replace, os.fsync, os.unlink, os.mkdir, io.open, builtins.open, shard.lmdb)

    def counted(name: str, real: Callable):
        def call(path, *args, **options):
            if shim.mine(path) or isinstance(path, int):
                shim.step(name)
            return real(path, *args, **options)

        return call

    real_open = io.open

    def opened(path, mode="r", *args, **options):
        if set(mode) & set("wax+") and shim.mine(path):
            shim.step("open")
        return real_open(path, mode, *args, **options)

    os.replace, os.fsync = counted("replace", saved[0]), counted("fsync", saved[1])
    os.unlink, os.mkdir = counted("unlink", saved[2]), counted("mkdir", saved[3])
    io.open = builtins.open = opened
    shard.lmdb = _Lmdb(shim)
    try:
        yield shim
    finally:
        os.replace, os.fsync, os.unlink, os.mkdir, io.open, builtins.open, shard.lmdb = saved


def forked(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked child and return its pid; the child ends with 0, or 1 after an exception."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def killed_at(work: Callable[[], object], delay_s: float) -> bool:
    """Run ``work`` in a child and SIGKILL it after ``delay_s``; return whether it was still at work."""
    return ended_before(work, delay_s) is None


def ended_before(work: Callable[[], object], delay_s: float) -> float | None:
    """Run ``work`` in a child and SIGKILL it after ``delay_s``; return how long it took where it had ended,
    None where the kill met it at work.
    """
    start, pid = time.monotonic(), forked(work)
    while (spent := time.monotonic() - start) < delay_s:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return spent
        time.sleep(min(0.001, delay_s - spent))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return None if os.WIFSIGNALED(status) else spent


def moments(seed: int, count: int, longest_s: float) -> list[float]:
    """Return random moments, most of them inside the work."""
    source = random.Random(seed)
    return [source.uniform(0.0, longest_s) for _ in range(count)]
