"""The commands degrade, presets, spec and init, run as a user runs them (in this process)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lrfr.cli.main import run
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec
from lrfr.degrade.spec.resolve import preset_names


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lrfr(capfd, *arguments):
    """Return (exit code, stdout, stderr)."""
    code = run([str(argument) for argument in arguments])
    out = capfd.readouterr()
    return code, out.out, out.err


def photos(folder: Path, names=("a.jpg", "sub/b.png", "sub/c.webp")):
    picture = Image.effect_noise((140, 120), 60).convert("RGB").resize((140, 120))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    return folder


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_embedded_faces_without_input(capfd):
    code, out, err = lrfr(capfd, "degrade", "--spec", "maug.yaml", "--variants", 2, "--limit", 3)
    assert code == 0, err
    assert "6 images" in out
    names = {f"face-{number:04d}.v{variant}.png" for number in range(3) for variant in range(2)}
    assert set(tree("degraded")) == names | {"trace.jsonl", "contact.png"}
    lines = [json.loads(line) for line in Path("degraded/trace.jsonl").read_text().splitlines()]
    for line in lines:
        picture = np.asarray(Image.open(Path("degraded") / line["file"]))
        assert list(picture.shape[:2]) == line["px"] == [line["steps"][0]["params"]["size"]] * 2


def test_the_command_writes_what_the_library_gives(capfd, tmp_path):
    folder = photos(tmp_path / "in", ["x.png"])
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)).save(folder / "x.png")
    assert lrfr(capfd, "degrade", "--spec", "sensor", folder, "--seed", 9)[0] == 0
    image = np.asarray(Image.open(folder / "x.png"))
    expected = Pipeline(load_spec("sensor", ["seed=9"])).run([b"x.png"], [image])[0]
    np.testing.assert_array_equal(np.asarray(Image.open("degraded/x.v0.png")), expected.image)


def test_folders_keep_their_shape_and_runs_repeat_byte_for_byte(capfd, tmp_path):
    folder = photos(tmp_path / "in")
    for out in ("one", "two"):
        assert lrfr(capfd, "degrade", "--spec", "surveillance", folder, "--out", out, "--variants", 2)[0] == 0
    assert {"a.v0.png", "sub/b.v1.png", "sub/c.v0.png"} <= set(tree("one"))
    assert tree("one") == tree("two")


def test_an_output_folder_inside_the_input_is_not_read_again(capfd, tmp_path):
    folder = photos(tmp_path / "in")
    for _ in range(2):
        _code, out, _ = lrfr(capfd, "degrade", "--spec", "maug", folder, "--out", folder / "lr", "--json")
        assert json.loads(out)["result"]["faces"] == 3


def test_bad_files_are_left_out_with_a_reason(capfd, tmp_path):
    folder = photos(tmp_path / "in")
    (folder / "broken.png").write_bytes(b"not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    code, out, _ = lrfr(capfd, "degrade", "--spec", "maug", folder, "--json")
    result = json.loads(out)["result"]
    assert code == 0
    assert [(Path(item["file"]).name, item["code"]) for item in result["refused"]] == [
        ("broken.png", "E_FORMAT"),
        ("empty.jpg", "E_EMPTY"),
    ]
    code, _, err = lrfr(capfd, "degrade", "--spec", "maug", folder / "broken.png")
    assert code == 3
    assert "none of 1 files is a usable image" in err


def test_two_files_of_one_name_are_refused(capfd, tmp_path):
    photos(tmp_path / "in", ["a.jpg", "a.png"])
    code, _, err = lrfr(capfd, "degrade", "--spec", "maug", tmp_path / "in")
    assert code == 2
    assert "would both write a.v0.png" in err


def test_replay_reproduces_and_notices_what_is_not_the_same(capfd, tmp_path):
    folder = photos(tmp_path / "in")
    assert lrfr(capfd, "degrade", "--spec", "waveresnet", folder, "--out", "one", "--variants", 3)[0] == 0
    code, _out, err = lrfr(capfd, "degrade", "--replay", "one/trace.jsonl", folder, "--out", "two")
    assert code == 0, err
    images = {
        name: data for name, data in tree("one").items() if name.endswith(".png") and name != "contact.png"
    }
    assert tree("two") == images
    Image.new("RGB", (112, 112)).save(folder / "a.jpg")
    code, _, err = lrfr(capfd, "degrade", "--replay", "one/trace.jsonl", folder, "--out", "three")
    assert code == 3
    assert "pixels differ" in err


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../outside.png"},
        {"file": "/outside.png"},
        {"fit_px": 10**9},
        {"steps": "x"},
        {"key": "another"},
        {"key": 3},
    ],
)
def test_a_forged_trace_is_refused(capfd, change):
    lrfr(capfd, "degrade", "--spec", "maug", "--limit", 1)
    line = json.loads(Path("degraded/trace.jsonl").read_text())
    Path("forged.jsonl").write_text(json.dumps({**line, **change}))
    code, _, err = lrfr(capfd, "degrade", "--replay", "forged.jsonl", "--out", "again")
    assert code == 3, err
    assert not list(Path().rglob("outside.png"))


def test_preview_writes_the_sheet_only_and_dry_run_nothing(capfd):
    assert lrfr(capfd, "degrade", "--spec", "fskd", "--preview", "--out", "sheet", "--limit", 2)[0] == 0
    assert set(tree("sheet")) == {"contact.png"}
    sheet = np.asarray(Image.open("sheet/contact.png"))
    # the two faces stand side by side
    assert sheet.shape[0] > 112 and sheet.shape[1] > 4 * 112
    assert sheet.shape[1] > 2 * 112
    code, out, _ = lrfr(capfd, "degrade", "--spec", "fskd", "--dry-run", "--out", "nothing")
    assert code == 0
    assert "would degrade 8 faces" in out
    assert not Path("nothing").exists()


def test_stats_count_what_the_trace_says(capfd):
    code, out, _ = lrfr(capfd, "degrade", "--spec", "waveresnet", "--variants", 4, "--limit", 5, "--stats")
    assert code == 0
    assert "PSNR" in out
    summary = json.loads(Path("degraded/stats.json").read_text())
    lines = [json.loads(line) for line in Path("degraded/trace.jsonl").read_text().splitlines()]
    assert summary["n"] == 20
    jpeg = next(op for op in summary["ops"] if op["id"] == "j1")
    qualities = [step["params"]["quality"] for line in lines for step in line["steps"] if step["id"] == "j1"]
    assert jpeg["rate"] == len(qualities) / 20
    assert jpeg["expected"] == 0.5
    assert jpeg["params"]["quality"]["mean"] == pytest.approx(np.mean(qualities))
    assert sum(jpeg["params"]["quality"]["histogram"]) == len(qualities)
    assert Image.open("degraded/stats.png").size[0] > 500


def test_print_spec_prints_a_spec_that_means_the_same(capfd, tmp_path):
    code, out, _ = lrfr(
        capfd,
        "degrade",
        "--spec",
        "bsrgan",
        "--set",
        "pipeline.j2.quality=55",
        "--seed",
        5,
        "--variants",
        7,
        "--print-spec",
    )
    assert code == 0
    Path("again.yaml").write_text(out)
    again = load_spec("again.yaml")
    assert again.digest == load_spec("bsrgan", ["pipeline.j2.quality=55", "seed=5", "variants=7"]).digest
    assert again.digest in out
    assert yaml.safe_load(out)["pipeline"][-1]["quality"] == 55


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["degrade"], "--spec FILE"),
        (["degrade", "--spec", "fksd"], "did you mean 'fskd'"),
        (["degrade", "--spec", "maug", "no-such-folder"], "no such file or folder"),
        (["degrade", "--spec", "maug", "--set", "pipeline.d9.size=3"], "there is no step 'd9'"),
        (["presets", "show", "sensr"], "did you mean 'sensor'"),
        (["spec", "check", "no.yaml"], "no preset of that name"),
        (["spec", "diff", "maug", "nope"], "no preset of that name"),
        (["init", "--from", "nope"], "no preset 'nope'"),
    ],
)
def test_user_errors_are_one_message_and_exit_2(capfd, arguments, expected):
    code, out, err = lrfr(capfd, *arguments)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err
    assert out == ""
    code, out, _ = lrfr(capfd, *arguments, "--json")
    assert json.loads(out)["code"] == 2


def test_presets_ls_and_show(capfd):
    _code, out, _ = lrfr(capfd, "presets", "ls")
    assert all(name in out for name in preset_names())
    _code, out, _ = lrfr(capfd, "presets", "show", "fskd")
    Path("mine.yaml").write_text(out)
    assert load_spec("mine.yaml").digest == load_spec("fskd-paper").digest


def test_spec_check_reports_all_and_fails_for_one(capfd):
    code, out, _ = lrfr(capfd, "spec", "check", "fskd", "sensor", "--json")
    rows = json.loads(out)["result"]["specs"]
    assert [(row["spec"], row["portable"]) for row in rows] == [("fskd-paper", False), ("sensor", True)]
    Path("bad.yaml").write_text("version: 1\npipeline: [{op: albumentations, transform: Blurr}]\n")
    code, out, err = lrfr(capfd, "spec", "check", "sensor", "bad.yaml")
    assert code == 2
    assert "sensor" in out
    assert "bad.yaml:2" in err


def test_spec_diff_names_the_places(capfd):
    _code, out, _ = lrfr(capfd, "spec", "diff", "waveresnet-aa", "waveresnet-noaa", "--json")
    result = json.loads(out)["result"]
    assert {row["place"] for row in result["differences"]} == {
        *("name", "pipeline[3].filter", "pipeline[3].antialias", "store.up.filter", "store.up.antialias")
    }
    assert not result["same_pixels"]
    assert json.loads(lrfr(capfd, "spec", "diff", "fskd", "fskd-paper", "--json")[1])["result"] == {
        "same_pixels": True,
        "differences": [],
    }


def test_spec_schema_is_json(capfd):
    assert json.loads(lrfr(capfd, "spec", "schema")[1])["title"] == "lrfr degradation spec"


def test_init_writes_a_good_spec_once(capfd):
    assert lrfr(capfd, "init", "--dry-run")[0] == 0
    assert not Path("degrade.yaml").exists()
    assert lrfr(capfd, "init")[0] == 0
    assert lrfr(capfd, "spec", "check", "degrade.yaml")[0] == 0
    code, _, err = lrfr(capfd, "init")
    assert code == 2
    assert "--force" in err
    assert lrfr(capfd, "init", "--from", "sensor", "--force")[0] == 0
    assert load_spec("degrade.yaml").name == "sensor"


@pytest.mark.parametrize(
    "arguments",
    [
        ["degrade"],
        ["presets", "ls"],
        ["presets", "show"],
        ["spec", "check"],
        ["spec", "schema"],
        ["spec", "diff"],
        ["init"],
    ],
)
def test_help_has_an_example(capfd, arguments):
    code, out, _ = lrfr(capfd, *arguments, "--help")
    assert code == 0
    assert "Example" in out
    assert f"lrfr {' '.join(arguments)}" in out
