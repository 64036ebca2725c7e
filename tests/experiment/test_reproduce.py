"""A result file, checked end to end on embedded faces: untouched it agrees; each link broken in turn is named."""

import json
import shutil
from dataclasses import replace

import pytest

from lrfr.eval.protocols import table
from lrfr.experiment.reproduce import reproduce
from tests.eval.world import identity_picture, save

FAST = [
    "--set",
    "train.unit=step",
    "--set",
    "train.length=2",
    "--set",
    "train.batch_size=4",
    "--set",
    "train.threads=1",
]
LINKS = ["base", "LR variant", "view", "run", "checkpoint", "list", "revision", "settings", "metric"]


def write_list(folder):
    lines = []
    for row in range(10):
        other = row + (0 if row % 2 else 100)
        save(folder / "images" / f"p{row}" / "a.png", identity_picture(row, 0, 112))
        save(folder / "images" / f"p{other}" / "b.png", identity_picture(other, 1, 112))
        lines.append(f"p{row}/a.png\tp{other}/b.png\t{row % 2}\t{row % 5}")
    (folder / "pairs.tsv").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a store, a run and a result file."""
    import os

    from lrfr.cli.main import run

    folder, before = tmp_path_factory.mktemp("finished"), os.getcwd()
    os.chdir(folder)
    try:
        write_list(folder)
        source = ["--source", "synthetic:ids=4,per_id=4,seed=0", "--spec", "fskd", "--executor", "serial"]
        assert run(["make-pairs", *source]) == 0
        assert run(["train", "baseline", "--name", "one", *FAST]) == 0
        how = ["--benchmark", "pairs-tsv", "--data", "pairs.tsv", "--sizes", "112,14", "--convention", "B"]
        assert run(["eval", "runs/one", *how, "--replicates", "5", "--out", "r.json"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def world(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("check", [True, False])
def test_an_untouched_result_agrees_in_every_link(world, check):
    found = reproduce("r.json", check=check)
    assert [link.name for link in found.links] == LINKS
    assert {link.state for link in found.links} == {"agrees"}, found.links
    assert found.first is None
    found.check()


def shard(folder):
    return max(folder.glob("*.mdb"), key=lambda path: path.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))


def edit(world, change):
    body = json.loads((world / "r.json").read_text())
    for item in body["results"]:
        change(item)
    (world / "r.json").write_text(json.dumps(body))


def raise_accuracy(item):
    item["metrics"]["accuracy"]["value"] = 0.987
    item["metrics"]["accuracy"]["folds"] = []


BREAKS = {
    "base": lambda world: flip(next((world / "store/base").iterdir()) / "digests.npy"),
    "LR variant": lambda world: shard(next((world / "store/lr").iterdir())).unlink(),
    "view": lambda world: (world / "store/views/default.json").unlink(),
    "run": lambda world: flip(world / "runs/one/run.json"),
    "checkpoint": lambda world: edit(world, lambda item: item["model"].update(digest="0" * 64)),
    "list": lambda world: save(world / "images/p1/a.png", identity_picture(55, 0, 112)),
    "revision": lambda world: edit(world, lambda item: item.update(revision=99)),
    "settings": lambda world: edit(world, lambda item: item["settings"].update(seed=7)),
    "metric": lambda world: edit(world, raise_accuracy),
}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("link", LINKS)
def test_a_broken_link_is_named_first(world, link, check):
    BREAKS[link](world)
    found = reproduce("r.json", check=check)
    assert found.first is not None and found.first.name == link, found.links


def test_renamed_results_and_moved_folders_need_no_rebuild(world):
    (world / "r.json").rename(world / "other.json")
    assert reproduce("other.json", check=True).first is None


def test_from_another_folder_what_the_file_names_is_found_beside_it(world, monkeypatch):
    (world / "elsewhere").mkdir()
    monkeypatch.chdir(world / "elsewhere")
    (world / "results").mkdir()
    (world / "r.json").rename(world / "results" / "r.json")
    found = reproduce(world / "results" / "r.json", check=True)
    assert {link.state for link in found.links} == {"agrees"}, found.links


@pytest.mark.parametrize(
    ("link", "name", "option"), [("checkpoint", "runs", "--checkpoint"), ("list", "pairs.tsv", "--data")]
)
def test_what_lies_nowhere_is_missing_not_different_and_can_be_given(lrfr, world, link, name, option):
    (world / name).rename(world / "moved")
    found = reproduce(world / "r.json", check=True)
    assert found.first is not None and (found.first.name, found.first.state) == (link, "is missing")
    assert str(world) in found.first.seen and option in found.first.seen
    assert next(item.state for item in found.links if item.name == "view") == "agrees"
    given = "moved/one" if name == "runs" else "moved"
    code, out, err = lrfr("reproduce", "r.json", "--check", option, given)
    assert code == 0, out + err


def test_what_cannot_be_seen_is_not_checked(world):
    shutil.rmtree(world / "store")
    states = {link.name: link.state for link in reproduce("r.json", check=True).links}
    assert [states[name] for name in LINKS[:3]] == ["not checked"] * 3
    assert set(states.values()) == {"not checked", "agrees"}


def test_the_command_ends_with_zero_or_three_and_names_the_link(lrfr, world, monkeypatch):
    code, out, err = lrfr("reproduce", "r.json", "--check")
    assert code == 0 and "metric" in out, err
    monkeypatch.setitem(
        table.BENCHMARKS._entries,
        "pairs-tsv",
        replace(table.BENCHMARKS["pairs-tsv"], revision=98),
    )
    code, out, err = lrfr("reproduce", "r.json", "--check", "--json")
    answer = json.loads(out)
    assert code == 3 and answer["code"] == 3 and not answer["ok"]
    assert answer["result"]["differs_first"] == "revision" and "this lrfr has revision 98" in err
    assert lrfr("reproduce", "nothing.json")[0] == 3
