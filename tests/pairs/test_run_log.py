"""The store's log: how every run began, went on and ended, also one that was killed."""

import json
import os

import pytest

from lrfr.core.errors import DataError, LockedError
from lrfr.core.lock import store_lock
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.executors.dispatch import Runner
from tests.pairs.faults import forked
from tests.pairs.toy import ToySource, build, ingest

SOURCE = ToySource(ids=13, per_id=10)


def lines(root):
    return [json.loads(line) for line in (root / "run.log").read_text().splitlines()]


def events(root):
    return [line["event"] for line in lines(root)]


def test_a_run_tells_its_start_phases_and_end(folder):
    build(folder / "s", SOURCE)
    found = lines(folder / "s")
    assert [line["event"] for line in found] == ["start", "phase", "phase", "phase", "refused", "end"]
    assert len({line["run"] for line in found}) == 1
    assert [line["phase"] for line in found if line["event"] == "phase"] == ["scan", "HR", "toy.v0"]
    assert found[0]["pid"] == os.getpid() and found[0]["versions"]["numpy"]
    assert (found[-1]["hr_written"], found[-1]["lr_written"]) == (130, 130)
    build(folder / "s", SOURCE)
    assert lines(folder / "s")[-1]["lr_written"] == 0


def test_a_killed_run_leaves_its_line_and_the_next_says_so(folder):
    root = folder / "s"

    def die(done, total, **info):
        if info["phase"] == "toy.v0" and done < total:
            os._exit(9)

    def work():
        build(root, SOURCE, Runner("serial", hooks=Hooks(die)))

    os.waitpid(forked(work), 0)
    killed = lines(root)
    assert killed[0]["event"] == "start" and killed[-1]["event"] == "phase"
    build(root, SOURCE)
    after = lines(root)[len(killed) :]
    assert (after[0]["event"], after[0]["before"]) == ("unended", killed[0]["run"])
    resumed = [line for line in after if line["event"] == "phase" and line["resumed"]]
    assert [(line["phase"], line["there"], line["total"]) for line in resumed] == [("toy.v0", 64, 130)]
    build(root, SOURCE)
    assert events(root)[-1] == "end" and events(root).count("unended") == 1


def test_a_stop_a_failure_and_a_held_store_have_their_lines(folder):
    root = folder / "s"
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Stopped):
        build(root, SOURCE, Runner("serial", hooks=Hooks(should_stop=lambda: next(asked))))
    assert events(root)[-1] == "stopped"

    class Bad(ToySource):
        def read(self, place):
            return b"no picture"

    with pytest.raises(DataError):
        make_pairs(ingest(Bad()), store=root, options=MakeOptions(max_bad=1), runner=Runner("serial"))
    assert events(root)[-1] == "failed" and "refused" in lines(root)[-1]["error"]
    with store_lock(root), pytest.raises(LockedError):
        build(root, SOURCE)
    assert events(root)[-1] == "rejected" and "pid" in lines(root)[-1]["error"]


def test_a_log_that_cannot_be_written_ends_no_run(folder):
    (folder / "s" / "run.log").mkdir(parents=True)
    assert build(folder / "s", SOURCE).done.lr_written == 130


def test_strange_lines_are_no_run(folder):
    (folder / "s").mkdir()
    (folder / "s" / "run.log").write_bytes(b'{"view": "old"}\n[1]\n"event"\n\xff\xfe\n{"event": "sta')
    build(folder / "s", SOURCE)
    assert b'"unended"' not in (folder / "s" / "run.log").read_bytes()
