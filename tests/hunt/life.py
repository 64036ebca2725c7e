"""A store's life against a plain model of what must hold: whatever is made, extended, collected, mended, forgotten,
merged, killed, flipped, forged, renamed and read meanwhile, every view shows exactly the faces that it should, with
their own bytes, and nothing else ever happens than that or a typed error.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hypothesis.core
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lrfr.core.errors import DataError, LrfrError
from lrfr.core.image import decode, encode_jpeg
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.care.inventory import gc
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.hunt.cases import Outcome
from tests.hunt.forging import RAW
from tests.pairs.toy import SPEC, MakeOptions, Runner, ToySource, _parsed, ingest, make_pairs

IDS, PER_ID = 6, 2
VIEWS = st.sampled_from(["a", "b"])
SOME = st.sets(st.integers(0, IDS - 1), min_size=1)
KILL = st.sampled_from([0.0, 0.005, 0.02, 0.05, 0.1])


@dataclass(frozen=True)
class SomeSource(ToySource):
    """The faces of some identities."""

    chosen: tuple[int, ...] = ()

    def faces(self):
        return [face for face in super().faces() if face.place[0] in self.chosen]


def keys_of(chosen) -> set[str]:
    return {f"id{number:03d}/{take}" for number in chosen for take in range(PER_ID)}


@cache
def hr_of(key: str) -> bytes:
    """The record that a face must have: its JPEG, of the pixels that its source draws."""
    place = (int(key[2:5]), int(key[6:]))
    return encode_jpeg(np.ascontiguousarray(ToySource(IDS, PER_ID).read(place)), 95)


def means(images) -> np.ndarray:
    """The column: a number for each face."""
    return np.array([image.mean() for image in images])


def write(root: Path, chosen, view: str, extend: str | None = None, runner: Runner | None = None) -> None:
    source = SomeSource(IDS, PER_ID, chosen=tuple(sorted(chosen)))
    options = MakeOptions(extend=extend)
    make_pairs(
        ingest(source),
        [] if extend else [_parsed(SPEC)],
        store=root,
        view=ViewOptions(view),
        options=options,
        runner=runner,
    )


def killed(work: Callable[[], object], after_s: float) -> None:
    """Run something in a child and kill it after a while."""
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
        os._exit(0)
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Life(RuleBasedStateMachine):
    """The rules; ``shown`` and ``gone`` are the model."""

    folder = Path()

    def __init__(self) -> None:
        super().__init__()
        REGISTRY.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.place = 0
        self.root = self.folder / "store0"
        self.shown: dict[str, set[str]] = {}
        self.gone: set[str] = set()

    def teardown(self) -> None:
        REGISTRY.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self, view: str, chosen, extend: bool) -> None:
        left = keys_of(chosen) - self.gone
        try:
            write(self.root, chosen, view, view if extend else None)
        except DataError:
            assert not left, "faces that may be shown were refused"
            return
        assert left or extend, "forgotten faces were taken in"
        self.shown[view] = left | (self.shown[view] if extend else set())

    @rule(view=VIEWS, chosen=SOME)
    def make(self, view, chosen) -> None:
        self._make(view, chosen, extend=False)

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), chosen=SOME)
    def extend(self, data, chosen) -> None:
        self._make(data.draw(st.sampled_from(sorted(self.shown))), chosen, extend=True)

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), chosen=SOME, after_s=KILL)
    def extend_killed(self, data, chosen, after_s) -> None:
        view = data.draw(st.sampled_from(sorted(self.shown)))
        killed(lambda: write(self.root, chosen, view, view), after_s)
        self._make(view, chosen, extend=True)

    @rule(view=VIEWS, chosen=SOME, after_s=KILL)
    def make_killed(self, view, chosen, after_s) -> None:
        killed(lambda: write(self.root, chosen, view), after_s)
        self._make(view, chosen, extend=False)

    @precondition(lambda self: self.shown)
    @rule()
    def collect(self) -> None:
        gc(self.root)

    @precondition(lambda self: self.shown)
    @rule(after_s=KILL)
    def collect_killed(self, after_s) -> None:
        killed(lambda: gc(self.root), after_s)
        gc(self.root)

    @precondition(lambda self: self.shown)
    @rule()
    def mend(self) -> None:
        Store(self.root).repair()

    def _forget(self, keys: set[str]) -> None:
        Store(self.root).forget(keys=sorted(keys))
        self.gone |= keys
        self.shown = {view: left for view, held in self.shown.items() if (left := held - keys)}

    def _some_shown(self, data) -> set[str]:
        return data.draw(
            st.sets(st.sampled_from(sorted(set.union(*self.shown.values()))), min_size=1, max_size=3)
        )

    @precondition(lambda self: self.shown)
    @rule(data=st.data())
    def forget(self, data) -> None:
        self._forget(self._some_shown(data))

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), after_s=KILL)
    def forget_killed(self, data, after_s) -> None:
        keys = self._some_shown(data)
        killed(lambda: Store(self.root).forget(keys=sorted(keys)), after_s)
        try:
            self._forget(keys)
        except LrfrError:
            # it had ended: none of them is there any more
            held = {key for view in self._views() for key in self._keys(view)}
            assert not held & keys
            self.gone |= keys
            self.shown = {view: left for view, shown in self.shown.items() if (left := shown - keys)}

    @rule(chosen=SOME)
    def merge(self, chosen) -> None:
        other = self.folder / "other"
        shutil.rmtree(other, ignore_errors=True)
        write(other, chosen, "m")
        try:
            Store(self.root).merge(other)
        except LrfrError:
            known = self.shown.get("m")
            assert keys_of(chosen) & self.gone or (known is not None and known != keys_of(chosen))
            return
        self.shown["m"] = keys_of(chosen)

    def _some_view(self, data) -> str:
        return data.draw(st.sampled_from(sorted(self.shown)))

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), after_s=KILL)
    def compact_killed(self, data, after_s) -> None:
        view = self._some_view(data)
        before = Store(self.root).view(view).id
        killed(lambda: Store(self.root).compact(view), after_s)
        assert Store(self.root).compact(view).view.id == before

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), after_s=KILL)
    def copy_killed(self, data, after_s) -> None:
        """What has come to another place is what was here, though the first try was killed."""
        view, other = self._some_view(data), self.folder / "other"
        shutil.rmtree(other, ignore_errors=True)
        killed(lambda: Store(self.root).copy(view, other), after_s)
        Store(self.root).copy(view, other)
        self._check(view, other)
        assert Store(other).verify() == []

    @precondition(lambda self: {"a", "b"} <= self.shown.keys())
    @rule()
    def join(self) -> None:
        both = self.shown["a"] | self.shown["b"]
        try:
            Store(self.root).join_views(["a", "b"], "j")
        except LrfrError:
            assert "j" in self.shown
            return
        self.shown["j"] = both

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), after_s=KILL)
    def column_killed(self, data, after_s) -> None:
        view = self._some_view(data)
        killed(lambda: Store(self.root).write_column(view, "mean", means, producer="m"), after_s)
        Store(self.root).write_column(view, "mean", means, producer="m")
        self._check(view)
        assert len(PairDataset(self.root, view).column("mean")[:]) == len(self.shown[view])

    @rule()
    def rename(self) -> None:
        if self.root.exists():
            self.place += 1
            moved = self.folder / f"store{self.place}"
            REGISTRY.clear()
            self.root.rename(moved)
            self.root = moved

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), number=st.integers(0, 10**6))
    def damage(self, data, number) -> None:
        """A file is forged: what is read is right or an error, and verify names it; then it is as before."""
        dice = random.Random(number)
        files = [
            path
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name not in {".lock", "run.log"}
        ]
        path = data.draw(st.sampled_from(files))
        good = path.read_bytes()
        bad = dice.choice(RAW)(good, dice)
        decides = path.relative_to(self.root).parts[0] in {"base", "lr", "views", "columns"}
        path.write_bytes(bad)
        REGISTRY.clear()
        try:
            for view in self.shown:
                with contextlib.suppress(LrfrError):
                    self._check(view)
            try:
                found = Store(self.root).verify()
            except LrfrError:
                found = [path]
            assert found or bad == good or not decides, (
                f"{path.relative_to(self.root)} is damaged and nobody says so"
            )
        finally:
            path.write_bytes(good)
            REGISTRY.clear()

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), chosen=SOME)
    def read_while_it_grows(self, data, chosen) -> None:
        """Whoever has a view open sees what it was, whatever is done meanwhile."""
        view = data.draw(st.sampled_from(sorted(self.shown)))
        opened, faults, ended = PairDataset(self.root, view), [], threading.Event()
        before = set(self.shown[view])

        def read() -> None:
            try:
                while True:
                    assert {opened.key(row).decode() for row in range(len(opened))} == before
                    for row in range(len(opened)):
                        assert opened.hr_bytes(row) == hr_of(opened.key(row).decode())
                    if ended.is_set():
                        return
            except LrfrError:
                pass  # what it reads has been collected
            except BaseException as error:
                faults.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            self._make(view, chosen, extend=True)
            gc(self.root)
        finally:
            ended.set()
            reader.join()
        if faults:
            raise faults[0]

    def _views(self) -> list[str]:
        return sorted(path.stem for path in (self.root / "views").glob("*.json"))

    def _keys(self, view: str) -> set[str]:
        dataset = PairDataset(self.root, view)
        return {dataset.key(row).decode() for row in range(len(dataset))}

    def _check(self, view: str, root: Path | None = None) -> None:
        dataset = PairDataset(root or self.root, view)
        keys = [dataset.key(row).decode() for row in range(len(dataset))]
        assert sorted(keys) == sorted(self.shown[view]), view
        for row, key in enumerate(keys):
            assert dataset.hr_bytes(row) == hr_of(key), key
            assert dataset[row]["lr"] is not None
        # a column may have gone, or lack rows; what it has is right
        with contextlib.suppress(LrfrError):
            found = dataset.column("mean")[:]
            assert np.array_equal(found, means([decode(hr_of(key)) for key in keys]))

    @invariant()
    def every_view_shows_its_faces(self) -> None:
        if not self.root.exists():
            assert not self.shown
            return
        assert self._views() == sorted(self.shown)
        for view in self.shown:
            self._check(view)

    @invariant()
    def nothing_is_damaged(self) -> None:
        if self.shown:
            assert Store(self.root).verify() == []

    @invariant()
    def nothing_is_left_half_done(self) -> None:
        assert {path.name for path in self.folder.iterdir()} <= {self.root.name, "other"}


def lives(folder: Path, first: int, count: int, *, steps: int = 14, loud: bool = False) -> list[Outcome]:
    """Lead some lives, each by its number; one outcome each."""
    found = []
    for number in range(first, first + count):
        # the folder in the name of a class of its own: machines take no arguments
        machine = type("Life", (Life,), {"folder": folder})
        hypothesis.core.global_force_seed = number
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                run_state_machine_as_test(
                    machine,
                    settings=settings(
                        max_examples=3,
                        stateful_step_count=steps,
                        deadline=None,
                        database=None,
                        phases=[Phase.generate],
                        suppress_health_check=list(HealthCheck),
                    ),
                )
            found.append(Outcome("life", number, "read"))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            told = "\n".join([said.getvalue(), *traceback.format_exception(error)])
            if loud:
                print(told)
            found.append(Outcome("life", number, type(error).__name__, f"{error}"[:200] + told[-1500:]))
        finally:
            hypothesis.core.global_force_seed = None
    return found
