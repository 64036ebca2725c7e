"""Several variants of one base are made together: same bytes, HR decoded once, killed at any moment."""

import os
import shutil

import pytest

from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build import lr
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.reader import ShardSet
from lrfr.pairs.reading.dataset import PairDataset
from tests.pairs.faults import Shim, forked, injected, killed_at, moments
from tests.pairs.toy import SPEC, ToySource, ingest, tree

SOURCE = ToySource(ids=13, per_id=10)
SPECS = [
    parse_spec(
        SPEC.replace("name: toy", f"name: toy{size}").replace("choice: [5, 7]", f"choice: [{size}, 16]")
    )
    for size in (4, 6, 9)
]


def build(root, specs=SPECS, runner=None, **options):
    return make_pairs(
        ingest(SOURCE), specs, store=root, options=MakeOptions(**options), runner=runner or Runner("serial")
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "store"
    build(root, variants=2)
    return root


def parts(root):
    return {name: sha for name, sha in tree(root).items() if name.startswith(("base", "lr"))}


def test_together_they_are_what_they_are_alone(folder, whole):
    for spec in SPECS:
        for count in (1, 2):
            build(folder / "s", [spec], variants=count)
    assert parts(folder / "s") == parts(whole)


@pytest.mark.parametrize("limit", ["MAX_TOGETHER", "MAX_TASK_MS"])
def test_how_many_go_together_changes_no_byte(folder, whole, monkeypatch, limit):
    monkeypatch.setattr(lr, limit, 2)
    build(folder / "s", variants=2)
    assert tree(folder / "s") == tree(whole)


def test_hr_is_decoded_once_for_all(folder, monkeypatch):
    read = []
    real = ShardSet.images
    monkeypatch.setattr(
        ShardSet, "images", lambda self, rows, *hr: read.extend(rows) or real(self, rows, *hr)
    )
    build(folder / "s", variants=2)
    assert sorted(read) == list(range(130))


def test_only_what_is_missing_is_made(folder, whole):
    shutil.copytree(whole, folder / "s")
    lost = sorted((folder / "s" / "lr").rglob("lr-*.mdb"))[::4]
    for path in lost:
        path.unlink()
    rows = {"lr-00000": 64, "lr-00001": 64, "lr-00002": 2}
    done = build(folder / "s", variants=2).done
    assert done.lr_written == sum(rows[path.stem] for path in lost)
    assert tree(folder / "s") == tree(whole)


def test_a_new_variant_beside_old_ones_makes_only_itself(folder):
    build(folder / "s", SPECS[:2])
    done = build(folder / "s").done
    assert (done.hr_written, done.lr_written, len(done.variants[0])) == (0, 130, 3)


@pytest.mark.parametrize("runner", [Runner("serial"), Runner("process", workers=2, start="fork")])
def test_killed_at_random_moments_it_goes_on(folder, whole, runner):
    hits = 0
    for first, delay in enumerate(moments(16, 12, 0.1 if runner.executor == "serial" else 0.5)):
        root = folder / f"s{first // 3}"
        hits += killed_at(lambda root=root: build(root, runner=runner, variants=2), delay)
    assert hits > 3
    for number in range(4):
        build(folder / f"s{number}", variants=2)
        assert tree(folder / f"s{number}") == tree(whole)


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind", ["serial", "process"])
def test_five_hundred_kills(folder, whole, kind):
    runner = Runner(kind, workers=2, start="fork")
    for first, delay in enumerate(moments(17, 500, 0.6)):
        root = folder / "s"
        killed_at(lambda root=root: build(root, runner=runner, variants=2), delay)
        if first % 5 == 4:
            build(root, variants=2)
            assert tree(root) == tree(whole), first
            shutil.rmtree(root)


@pytest.mark.parametrize("die", [True, False])
def test_operations_that_fail(folder, whole, die):
    count, wanted = Shim(folder), tree(whole)
    with injected(count):
        build(folder / "count", variants=2)
    for n in range(1, count.count, 9):
        root = folder / f"s{n}"

        def work(root=root, n=n):
            with injected(Shim(folder, n, code=28, die=die)):
                build(root, variants=2)

        os.waitpid(forked(work), 0)
        build(root, variants=2)
        assert tree(root) == wanted, n
        shutil.rmtree(root)


def test_a_view_of_many_variants_reads(whole):
    dataset = PairDataset(whole)
    assert len(dataset.lr) == 6 and dataset[3]["lr"].shape == (3, 16, 16)
