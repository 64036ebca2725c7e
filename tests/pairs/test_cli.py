"""The commands as a user types them: outputs, exit codes, round trips."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from lrfr.core.errors import DataError
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.bin_file import read_bin
from lrfr.pairs.sources.table import open_source
from tests.pairs.zoo import picture, save

SMALL = ("--source", "synthetic:ids=6,per_id=4", "--spec", "fskd", "--executor", "serial")


@pytest.fixture
def made(lrfr):
    """An ``lrfr`` whose working folder holds a small store."""
    code, _, error = lrfr("make-pairs", *SMALL)
    assert code == 0, error
    return lrfr


def result(answer):
    code, out, error = answer
    assert code == 0, error
    value = json.loads(out)
    assert value["ok"] is True and value["code"] == 0
    return value["result"]


def test_second_run_writes_nothing(made):
    again = result(made("make-pairs", *SMALL, "--json"))
    assert (again["hr_written"], again["lr_written"], again["rows"]) == (0, 0, 24)


@pytest.mark.parametrize(("option", "rows"), [("ids", 20), ("keys", 23)])
def test_one_list_of_exclusions_is_enough(lrfr, tmp_path, option, rows):
    face = open_source("synthetic:ids=6,per_id=4").faces()[0]
    (tmp_path / "out.txt").write_text((face.label if option == "ids" else face.key) + "\n")
    found = result(lrfr("make-pairs", *SMALL, f"--exclude-{option}", "out.txt", "--json"))
    assert found["rows"] == rows


def test_the_plan_of_an_extension_names_the_specs_of_the_view(made):
    plan = made("make-pairs", "--extend", "default", "--source", "synthetic:ids=2,per_id=2,seed=5", "--plan")
    assert plan[0] == 0 and "fskd-paper.v0" in plan[1] and "unnamed" not in plan[1]


def test_a_source_without_faces_of_the_view_says_how_to_keep_them(made):
    code, out, error = made("make-pairs", *SMALL[2:], "--source", "synthetic:ids=3,per_id=4")
    assert code == 0 and "gone 12" in out and "--extend default" in error


def test_each_build_ends_with_the_command_that_comes_next(lrfr):
    out = lrfr("make-pairs", *SMALL)[1]
    assert "next: lrfr train fskd    (" in out
    out = lrfr("make-pairs", *SMALL, "--view", "mine", "--store", "two words")[1]
    assert "next: lrfr train fskd --view mine --store 'two words'    (" in out


def test_plan_writes_nothing(lrfr, tmp_path):
    plan = result(lrfr("make-pairs", *SMALL, "--plan", "--json"))
    assert [row["images"] for row in plan["estimate"]] == [0, 24, 24]
    assert plan["rows"] == 24 and plan["identities"] == 6
    assert list(tmp_path.iterdir()) == []
    lrfr("make-pairs", *SMALL, "--plan", "--sheet", "sheet.png")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_plan_after_a_build_plans_nothing(made):
    plan = result(made("make-pairs", *SMALL, "--plan", "--json"))
    assert [row["images"] for row in plan["estimate"]] == [0, 0, 0]


def test_the_plan_names_the_base_that_is_built(lrfr):
    plan = result(lrfr("make-pairs", *SMALL, "--plan", "--json"))
    made = result(lrfr("make-pairs", *SMALL, "--json"))
    assert [part["base"] for part in made["parts"]] == plan["bases"]
    assert (plan["row_counts"], made["row_counts"]) == ({"new": 24, "kept": 0, "replaced": 0, "gone": 0},) * 2


def test_listing_and_info(made):
    listed = result(made("store", "ls", "--json"))
    assert [view["view"] for view in listed["views"]] == ["default"]
    assert sorted(row["kind"] for row in listed["stores"]) == ["base", "lr"]
    view = result(made("store", "info", "--json"))
    shown = yaml.safe_load(made("store", "info")[1])
    assert {key: shown[key] for key in ("id", "parts", "variants", "rows")} == {
        key: view[key] for key in ("id", "parts", "variants", "rows")
    }
    (part,) = view["parts"]
    assert part["base"] == result(made("store", "info", part["base"], "--json"))["id"]
    code, _, error = made("store", "info", "defualt")
    assert code == 2 and "did you mean 'default'" in error


def test_verify_and_repair(made, tmp_path):
    assert made("store", "verify", "--deep")[0] == 0
    shard = next((tmp_path / "store" / "lr").rglob("*.mdb"))
    original = shard.read_bytes()
    shard.write_bytes(original[:9000] + b"\xff" + original[9001:])
    code, _, error = made("store", "verify")
    assert code == 3 and shard.name in error and "Traceback" not in error
    answer = json.loads(made("store", "verify", "--json")[1])
    assert answer["ok"] is False and answer["error"]["type"] == "DataError"
    assert made("store", "repair")[0] == 0
    assert shard.read_bytes() == original
    assert made("store", "verify", "--deep")[0] == 0


def test_gc_keeps_what_views_use(made, tmp_path):
    other = (
        "--source",
        "synthetic:ids=2,per_id=3,seed=5",
        "--spec",
        "fskd",
        "--executor",
        "serial",
        "--view",
        "other",
    )
    assert made("make-pairs", *other)[0] == 0
    (tmp_path / "store" / "views" / "other.json").unlink()
    would = result(made("store", "gc", "--dry-run", "--json"))
    assert [path.split("/")[0] for path in would["removed"]] == ["reports", "reports", "lr", "base"]
    assert would["bytes"] > 0
    assert len(result(made("store", "ls", "--json"))["stores"]) == 4
    assert result(made("store", "gc", "--json"))["removed"] == would["removed"]
    assert len(result(made("store", "ls", "--json"))["stores"]) == 2
    assert made("store", "verify", "--deep")[0] == 0


def test_gc_refuses_when_a_view_is_damaged(made, tmp_path):
    path = tmp_path / "store" / "views" / "default.json"
    path.write_bytes(path.read_bytes().replace(b"default", b"defaulx"))
    assert made("store", "gc")[0] == 3
    assert list((tmp_path / "store" / "base").iterdir())


def test_diff(made):
    made("make-pairs", *SMALL, "--store", "twin")
    assert made("store", "diff", "store", "twin")[0] == 0
    made("make-pairs", *SMALL, "--store", "twin", "--view", "more", "--variants", "2")
    code, _, error = made("store", "diff", "store", "twin")
    assert code == 3 and "only in twin: view more" in error


def hr_bytes(folder="store"):
    dataset = PairDataset(folder)
    return {
        dataset.key(position): bytes(dataset.hr.record(int(dataset.rows[position])).payload)
        for position in range(len(dataset))
    }


def test_folders_round_trip(made, tmp_path):
    assert result(made("store", "export", "--to", "folders", "--out", "out", "--json"))["images"] == 48
    source = open_source(str(tmp_path / "out" / "hr"))
    exported = {source.read(face.place) for face in source.faces()}
    assert exported == set(hr_bytes().values())
    assert {face.label for face in source.faces()} == set(PairDataset("store").label_names)
    back = result(made("make-pairs", "--source", "out/hr", "--hr-only", "--store", "back", "--json"))
    assert back["rows"] == 24 and back["refused"] == {}
    assert set(hr_bytes("back").values()) == set(hr_bytes().values())
    code, _, error = made("store", "export", "--to", "folders", "--out", "out")
    assert code == 5 and "not empty" in error


def test_lr_leaves_as_lossless_png(made, tmp_path):
    made("store", "export", "--to", "folders", "--out", "out")
    dataset = PairDataset("store")
    part = next(path for path in (tmp_path / "out").iterdir() if path.name != "hr")
    pixels = {dataset.lr[0].record(row).pixels().tobytes() for row in range(24)}
    source = open_source(str(part))
    from lrfr.core.image import decode

    assert {decode(source.read(face.place)).tobytes() for face in source.faces()} == pixels


def test_webdataset_round_trip(made, tmp_path):
    made("store", "export", "--to", "webdataset", "--out", "out")
    made("store", "export", "--to", "webdataset", "--out", "twice")
    one, two = ((tmp_path / name / "pairs-00000.tar").read_bytes() for name in ("out", "twice"))
    assert one == two
    with tarfile.open(tmp_path / "out" / "pairs-00000.tar") as archive:
        assert len(archive.getmembers()) == 72
    source = open_source(f"tar:{tmp_path}/out/pairs-00000.tar")
    assert {face.key_bytes: source.read(face.place) for face in source.faces()} == hr_bytes()
    faces = {face.key: face for face in source.faces()}
    dataset = PairDataset("store")
    for position in range(len(dataset)):
        face = faces[dataset.key(position).decode()]
        assert face.label == dataset.label_names[dataset.labels[position]]
        assert [face.attributes[name] for name in dataset.attribute_names] == dataset.attributes[
            position
        ].tolist()


def test_bin_round_trip(made, tmp_path):
    made("store", "export", "--to", "bin", "--out", "x.bin", "--pairs", "20")
    images, same = read_bin(tmp_path / "x.bin")
    payloads = {data: key for key, data in hr_bytes().items()}
    assert same == [True, False] * 10
    for pair, together in enumerate(same):
        first, second = (payloads[image].decode().split("/")[1] for image in images[2 * pair : 2 * pair + 2])
        assert (first == second) == together
    code, _, error = made("store", "export", "--to", "bin", "--out", "y.bin", "--part", "nothing")
    assert code == 3 and "hr" in error


def test_card(made):
    code, text, _ = made("store", "card")
    assert code == 0
    for phrase in (
        "# Data card",
        "no real person",
        "24 of 24 images, 6 identities",
        "license",
        "same bytes on every CPU",
    ):
        assert phrase in text
    assert made("store", "card", "--out", "CARD.md")[0] == 0


def test_bad_files_are_counted_and_listed(lrfr, tmp_path):
    for index in range(4):
        (tmp_path / "f" / f"id{index}").mkdir(parents=True)
        (tmp_path / "f" / f"id{index}" / "a.png").write_bytes(
            save(picture(index, 112), "PNG") if index else b"nothing"
        )
    code, out, _ = lrfr("make-pairs", "--source", "f", "--hr-only")
    assert code == 0 and "E_FORMAT 1" in out and "quarantine.jsonl" in out
    assert lrfr("make-pairs", "--source", "f", "--hr-only", "--strict", "--store", "s2")[0] == 3
    assert lrfr("make-pairs", "--source", "f", "--hr-only", "--max-bad", "1", "--store", "s2")[0] == 0
    assert lrfr("make-pairs", "--source", "f", "--hr-only", "--max-bad", "0.1", "--store", "s3")[0] == 3


def test_alignment_by_landmarks(lrfr, tmp_path):
    from lrfr.core.landmarks import TEMPLATE
    from lrfr.pairs.sources.synthetic import render_face

    lines = []
    for person in range(3):
        face = render_face(person, 0, 0)[0]
        wide = np.zeros((180, 200, 3), np.uint8)
        wide[30:142, 40:152] = face
        (tmp_path / "f" / f"p{person}").mkdir(parents=True)
        (tmp_path / "f" / f"p{person}" / "0.png").write_bytes(save(wide, "PNG"))
        lines.append(
            f"p{person}/0.png " + " ".join(f"{value:.3f}" for value in np.add(TEMPLATE, [40, 30]).ravel())
        )
    (tmp_path / "marks.txt").write_text("\n".join(lines[:2]))
    made = result(lrfr("make-pairs", "--source", "f", "--hr-only", "--align", "marks.txt", "--json"))
    assert made["rows"] == 2 and made["refused"] == {"E_LANDMARK": 1}
    dataset = PairDataset("store")
    for position in range(2):
        person = int(dataset.key(position).decode()[1])
        crop = dataset.batch(np.array([position]), 0).hr_bchw[0].permute(1, 2, 0).numpy()
        assert np.abs(crop.astype(int) - render_face(person, 0, 0)[0]).mean() < 3
    (tmp_path / "marks.txt").write_text("a b c\n" * 4)
    code, _, error = lrfr("make-pairs", "--source", "f", "--align", "marks.txt")
    assert code == 2 and "marks.txt:1" in error


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("--source", "nowhere"), "no such source"),
        (("--spec", "fsdk"), "fskd"),
        (("--executor", "threads"), "threads"),
        (("--weights", "1,2", "--source", "synthetic:ids=2,per_id=2"), "weights"),
        (("--view", "../x", "--source", "synthetic:ids=2,per_id=2"), "no name for a view"),
        (("--source", "synthetic:ids=zero"), "no value for ids"),
        (("--ids", "none.txt"), "none.txt"),
        (("--ids", "ids.txt", "--source", "synthetic:ids=2,per_id=2"), "are not in the view"),
    ],
)
def test_usage_errors_are_one_message(lrfr, tmp_path, arguments, phrase):
    (tmp_path / "ids.txt").write_text("nobody\n")
    code, out, error = lrfr("make-pairs", *arguments)
    assert code == 2 and phrase in error and "Traceback" not in error
    assert out == ""
    assert not (tmp_path / "store" / "views").exists()


@pytest.mark.parametrize(
    "words",
    [("make-pairs",), *(("store", name) for name in "ls info verify diff gc repair export card".split())],
)
def test_every_command_has_help_with_an_example(lrfr, words):
    code, out, _ = lrfr(*words, "--help")
    assert code == 0 and "Example" in out and "--json" in out


def test_the_faces_of_the_view_are_counted_not_those_of_the_base(made, tmp_path):
    (tmp_path / "ids.txt").write_text("p000001\n")
    options = ("--ids", str(tmp_path / "ids.txt"), "--view", "one")
    found = result(made("make-pairs", *SMALL, *options, "--json"))
    assert (found["rows"], found["identities"], found["stored_rows"]) == (4, 1, 24)
    assert "4 faces of 1 identities (of 24 in its parts)" in made("make-pairs", *SMALL, *options)[1]


def test_a_store_of_another_layout_is_refused_with_what_to_do(made, monkeypatch):
    monkeypatch.setattr("lrfr.pairs.format.sealed.LAYOUT", 99)
    with pytest.raises(DataError, match="layout 3; this version reads"):
        PairDataset(Path("store"), "default")


def test_every_kind_of_source_is_listed(lrfr):
    from lrfr.pairs.sources.table import SOURCES

    found = result(lrfr("make-pairs", "--list-sources", "--json"))["sources"]
    assert set(found) == set(SOURCES) and all(found.values())
    code, out, _ = lrfr("make-pairs", "--list-sources")
    assert code == 0 and "synthetic" in out and "WebDataset" in out


def test_info_shows_what_could_not_be_used_and_why(lrfr, tmp_path):
    """As the tutorial promises, by name of the file."""
    for index in range(24):
        (tmp_path / "f" / f"id{index}").mkdir(parents=True)
        data = save(picture(index, 112), "PNG") if index < 2 else b"nothing"
        (tmp_path / "f" / f"id{index}" / "a.png").write_bytes(data)
    assert lrfr("make-pairs", "--source", "f", "--hr-only")[0] == 0
    found = result(lrfr("store", "info", "--json"))
    assert (found["rows"], found["identities"], found["size_px"]) == (2, 2, 112)
    assert found["refused"] == {"E_FORMAT": 22} and len(found["faults"]) == 22
    assert {fault["key"] for fault in found["faults"]} == {f"id{index}/a.png" for index in range(2, 24)}
    out = lrfr("store", "info", "default")[1]
    assert out.count("E_FORMAT not an image") + out.count(": E_FORMAT ") >= 20 and "2 more, listed in" in out
    listed = Path(found["list_path"])
    assert listed.read_text().count("E_FORMAT") == 22
    listed.write_text("{}\nnonsense\n")
    code, _, error = lrfr("store", "info", "default")
    assert code == 3 and f"{listed.name}: the list of refused faces is not as it was written" in error


def test_listing_a_store_imports_neither_torch_nor_opencv(made, tmp_path):
    import subprocess
    import sys

    code = "import sys; from lrfr.cli.main import run; run(['store', 'ls']); print({'torch', 'cv2'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "default" in done.stdout and done.stdout.strip().endswith("set()")


@pytest.mark.parametrize(("signum", "expected"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_first_signal_finishes_running_shards(tmp_path, signum, expected):
    """A real process: it says what it does, ends with the signal's code, and the same command goes on."""
    import os
    import signal
    import subprocess
    import sys
    import time

    words = ["make-pairs", "--source", "synthetic:ids=60,per_id=10", "--hr-only", "--executor", "serial"]
    code = f"import sys; sys.argv[1:] = {words!r}; from lrfr.cli.main import main; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.rglob("hr-*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(getattr(signal, signum))
    _, error = running.communicate(timeout=100)
    assert running.returncode == expected, error
    assert "finishing the running shards; once more to stop now" in error and "Traceback" not in error
    assert 0 < len(list(tmp_path.rglob("hr-*.json"))) < 10
    assert not list(tmp_path.rglob("manifest.json"))


def test_columns_are_listed(made):
    from lrfr.pairs.store import Store

    Store("store").write_column("default", "light", np.arange(24.0), producer="count", dtype="float16")
    (line,) = result(made("store", "columns", "--json"))["columns"]
    assert (line["name"], line["producer"], line["dtype"], line["rows"]) == ("light", "count", "float16", 24)
    assert result(made("store", "verify", "--json"))["findings"] == []


NO_STORE = """ls
info
verify
diff . {0}
gc
compact
repair
export --to folders --out out
card
columns
index
forget --keys keys
upgrade
copy --to there
merge {0} --into there
merge {0} --views a --views b --as c
choose default good --column x --at-least 1"""


@pytest.mark.parametrize("line", NO_STORE.splitlines())
def test_a_folder_that_is_no_store_is_left_as_it_is(lrfr, tmp_path, line):
    other = tmp_path / "other"
    for name in ("index.json", "tmp/kept", "reports/kept.json"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text("{}")
    (tmp_path / "keys").write_text("a/1\n")
    before = sorted(tmp_path.rglob("*"))
    words = line.format(other).split()
    code, _, error = lrfr("store", *words, *(["--store", str(other)] if "{0}" not in line else []))
    assert code == 2 and "there is no store here" in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("view", [None, "{}"])
def test_what_only_looks_like_a_store_gets_no_index(lrfr, tmp_path, view):
    """Others have folders called views, too, and an index.json of their own."""
    (tmp_path / "views").mkdir()
    (tmp_path / "index.json").write_text("kept")
    if view:
        (tmp_path / "views/a.json").write_text(view)
    code, _, error = lrfr("store", "index", "--store", str(tmp_path))
    assert code == (3 if view else 2), error
    assert (tmp_path / "index.json").read_text() == "kept"
