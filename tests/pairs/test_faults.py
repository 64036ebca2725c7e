"""Promise P2 by fault injection: killed or failing at any moment, run again, the store is the one of an
uninterrupted run.
"""

import errno
import os
import random
import shutil
import time

import pytest

from lrfr.core.errors import EnvironmentFault
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.store import Store
from tests.pairs.faults import Shim, ended_before, forked, injected
from tests.pairs.toy import ToySource, tree
from tests.pairs.toy import build as build_toy

SOURCE = ToySource(ids=13, per_id=10)  # 64 + 64 + 2 rows: the fewest that make three shards


def build(root, runner=None):
    return build_toy(root, source=SOURCE, runner=runner)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tree of an uninterrupted run and how long it took."""
    root = tmp_path_factory.mktemp("whole") / "store"
    build(root)
    times = []
    for name in "abc":
        start = time.monotonic()
        build(root.parent / name)
        times.append(time.monotonic() - start)
    return tree(root), sorted(times)[1]


def kill_and_resume(folder, whole, runner, wanted, per_store, seed):
    """Kill builds until ``wanted`` kills met one at work, several in a row per store, then let one finish;
    return (kills, those that met one, differing stores).

    Each moment is drawn within the time that the same try of another store took, however busy the machine is.
    """
    source, took = random.Random(seed), [whole[1]] * per_store
    kills = hits = differing = 0
    while hits < wanted and kills < 4 * wanted:
        root = folder / f"store-{kills}"
        for turn in range(per_store):
            delay, kills = source.uniform(0.0, took[turn]), kills + 1
            ended = ended_before(lambda root=root: build(root, runner=runner), delay)
            if ended is not None:
                took[turn] = max(0.005, ended)
                break
            took[turn], hits = took[turn] * 1.05, hits + 1
        build(root, runner=Runner("serial"))
        differing += tree(root) != whole[0]
        shutil.rmtree(root)
    return kills, hits, differing


@pytest.mark.parametrize(
    ("runner", "wanted", "per_store"),
    [(Runner("serial"), 16, 3), (Runner("process", workers=2, start="fork"), 5, 2)],
    ids=["serial", "process"],
)
def test_killed_builds_resume_to_the_same_bytes(folder, whole, runner, wanted, per_store):
    _, hits, differing = kill_and_resume(folder, whole, runner, wanted, per_store, seed=1)
    assert hits >= wanted and differing == 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_thousand_kills_at_work(folder, whole):
    serial = kill_and_resume(folder, whole, Runner("serial"), 1600, 4, seed=3)
    forked = kill_and_resume(folder, whole, Runner("process", workers=2, start="fork"), 400, 2, seed=4)
    kills, hits, differing = map(sum, zip(serial, forked, strict=True))
    print(f"\nkills {kills}, hit at work {hits}, differing stores {differing}")
    assert hits >= 2000 and differing == 0


def operations(folder) -> int:
    """Count the I/O operations of one build."""
    with injected(Shim(folder / "count")) as shim:
        build(folder / "count")
    return shim.count


def fail_at(folder, n, code, persistent):
    """Build with operation ``n`` failing, check what is there, build again; return what went wrong, "" if
    nothing.
    """
    root = folder / "store"
    shutil.rmtree(root, ignore_errors=True)
    outcome = "finished"
    with injected(Shim(root, n, code, persistent)):
        try:
            build(root)
        except (EnvironmentFault, OSError) as error:
            outcome = type(error).__name__
    findings = verify(Store(root)) if root.exists() else []
    build(root)
    return outcome, findings, tree(root)


CODES = [errno.EIO, errno.ENOSPC, errno.EACCES]


def check_failing(folder, whole, persistent, code_of):
    """Let every operation of a build fail, each with ``code_of`` its number."""
    count = operations(folder)
    assert count > 60
    for n in range(1, count + 1):
        outcome, findings, files = fail_at(folder, n, code_of(n), persistent)
        assert not findings, f"operation {n}: {findings}"
        assert files == whole[0], f"operation {n} ({outcome}): the resumed store differs"
        assert not persistent or outcome != "finished" or n > count - 3, (
            f"operation {n} failed for good and nobody noticed"
        )


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from then on"])
def test_every_failing_operation_leaves_a_store_that_resumes(folder, whole, persistent):
    check_failing(folder, whole, persistent, lambda n: CODES[n % len(CODES)])


@pytest.mark.soak
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from then on"])
def test_every_failing_operation_with_every_error(folder, whole, code, persistent):
    check_failing(folder, whole, persistent, lambda n: code)


@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.soak)])
def test_dying_at_every_operation(folder, whole, step):
    for n in range(1, operations(folder) + 1, step):
        root = folder / "store"

        def work(root=root, n=n):
            with injected(Shim(root, n, die=True)):
                build(root)

        _, status = os.waitpid(forked(work), 0)
        assert os.waitstatus_to_exitcode(status) == 77
        assert not verify(Store(root)) if root.exists() else True
        build(root)
        assert tree(root) == whole[0], f"operation {n}"
        shutil.rmtree(root)


def test_finished_shards_are_not_made_again(folder):
    """After a death late in the build, the resumed run writes only what is missing."""
    root, count = folder / "store", operations(folder)

    def work():
        with injected(Shim(root, count * 2 // 3, die=True)):
            build(root)

    os.waitpid(forked(work), 0)
    done = build(root)
    full = len(SOURCE.faces())
    assert 0 < done.done.hr_written + done.done.lr_written < 2 * full
    assert build(root).done.hr_written + build(root).done.lr_written == 0


def test_disk_full_names_the_bytes(folder, monkeypatch):
    import shutil as tools

    real = tools.disk_usage
    monkeypatch.setattr(
        "lrfr.core.files.writing.shutil.disk_usage", lambda path: real(path)._replace(free=10)
    )
    with pytest.raises(EnvironmentFault, match=r"bytes needed, 10 free"):
        build(folder / "store")
    assert not list((folder / "store").rglob("*.mdb"))
