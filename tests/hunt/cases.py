"""One case: a forged file, read in a child process that may wait and take memory only so much; and what became of it."""

from __future__ import annotations

import gc
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hunt.samples import Format, beside

# a reader that takes longer stalls, on a busy machine too; one that takes more memory than this was made to
SECONDS, MEMORY = 40, 3 << 30
# of a forged file: a list of half a gigabyte takes more than that by right
MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Outcome:
    """What became of one case: ``read``, ``told`` or, where it must not, how it failed."""

    kind: str
    number: int
    what: str
    detail: str = ""

    @property
    def failed(self) -> bool:
        return self.what not in {"read", "told"}

    @property
    def again(self) -> str:
        """The command line that shows it again."""
        return f"python -m tests.hunt --case '{self.kind}:{self.number}'"


def forged(form: Format, number: int) -> tuple[str, bytes]:
    """Return the name and bytes of the forged file of a number; 0 to 2 are the good one."""
    dice = random.Random(f"hunt {number}")
    good = form.good()
    name = dice.choice(sorted(good))
    data = good[name]
    if number > 2:
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            try:
                data = dice.choice(form.forges)(data, dice)[:MOST_BYTES]
            except (ValueError, UnicodeError, IndexError, RecursionError):  # no JSON any more, or endless
                data = data[:-1]
    return name, data


def lay(form: Format, number: int, folder: Path) -> Path:
    """Write the forged file, and what belongs around it, into an empty folder."""
    name, data = forged(form, number)
    for other, held in form.all_files().items():
        path = folder / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held)
    for number_beside, other in enumerate(form.beside):
        path = folder / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(beside(number_beside))
    (folder / name).write_bytes(data)
    return folder / name


def run_case(form: Format, kind: str, number: int, folder: Path) -> Outcome:
    """Read one forged file in this process."""
    from lrfr.core.errors import LrfrError

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = lay(form, number, folder)
    before, begun = _around(folder), time.monotonic()
    _SPENT[:] = [sum(os.times()[:2]), 10]
    signal.alarm(SECONDS)
    try:
        form.read(path)
        what, detail = "read", ""
    except LrfrError as error:
        what, detail = "told", ""
        if len(str(error)) > 20_000:
            what, detail = "a message without end", str(len(str(error)))
    except _Waits:
        what, detail = "waits", f"{time.monotonic() - begun:.0f} s"
    except MemoryError:
        what, detail = "takes memory", ""
    except BaseException as error:
        what, detail = type(error).__name__, f"{error}"[:300]
    finally:
        signal.alarm(0)
    if what in {"read", "told"} and _around(folder) != before:
        what, detail = "writes outside", str(_around(folder) ^ before)[:300]
    gc.collect()
    return Outcome(kind, number, what, detail)


def _around(folder: Path) -> frozenset[str]:
    return frozenset(os.listdir(folder.parent)) - {"_told"}


# processor seconds of this child when its case began, and how often its time may be lengthened
_SPENT = [0.0, 0]


class _Waits(BaseException):
    """The time is over."""


def _late(*_: object) -> None:
    # others may have had the processors meanwhile: on a busy machine it gets its time again, some times
    if (
        os.getloadavg()[0] > (os.cpu_count() or 1)
        and sum(os.times()[:2]) < _SPENT[0] + SECONDS / 2
        and _SPENT[1]
    ):
        _SPENT[1] -= 1
        signal.alarm(SECONDS)
        return
    raise _Waits


def warm() -> None:
    """Import what readers import, once and before any fork, so that no child does."""
    import cv2  # noqa: F401
    import onnx  # noqa: F401
    import torch  # noqa: F401

    import lrfr.cli.main
    import lrfr.degrade.inspect.spec_check
    import lrfr.experiment.models
    import lrfr.fit.fit_record
    import lrfr.pairs.build.make
    import lrfr.pairs.sources.packed.columnar
    import lrfr.pairs.store
    import lrfr.train.parents
    import lrfr.train.weights.routes.router  # noqa: F401


def run_batch(form: Format, kind: str, numbers: Sequence[int], folder: Path) -> list[Outcome]:
    """Read some forged files in a child process; where it dies, the rest in another."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(numbers):
        rest = numbers[len(outcomes) :]
        found, died = _in_child(form, kind, rest, folder)
        outcomes += found
        if died and len(found) < len(rest):
            outcomes.append(Outcome(kind, rest[len(found)], f"ends the process ({died})"))
    return outcomes


def _in_child(form: Format, kind: str, numbers: Sequence[int], folder: Path) -> tuple[list[Outcome], int]:
    folder.mkdir(parents=True, exist_ok=True)
    form.good(), form.all_files()  # once, before the fork
    told = folder / "_told"
    told.write_text("")
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        _child(form, kind, numbers, folder, told)
    _, status = os.waitpid(pid, 0)
    rows = [line.split("\t", 2) for line in told.read_text("utf-8", "replace").splitlines()]
    return [Outcome(kind, int(row[0]), row[1], row[2]) for row in rows if len(row) == 3], status


def _child(form: Format, kind: str, numbers: Sequence[int], folder: Path, told: Path) -> None:
    signal.signal(signal.SIGALRM, _late)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = 1
    gc.freeze()  # what came with the fork: a round would touch, and so copy, all of it
    try:
        with told.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as out:
            for number in numbers:
                found = run_case(form, kind, number, folder / "case")
                detail = ascii(found.detail)
                out.write(f"{number}\t{found.what}\t{detail}\n")
        code = 0
    finally:
        _keep_coverage()
        os._exit(code)


def _keep_coverage() -> None:
    """Keep what coverage has seen in this child, where the hunt runs under it."""
    running = sys.modules.get("coverage")
    current = running.Coverage.current() if running else None
    if current:
        current.stop()
        current.save()
