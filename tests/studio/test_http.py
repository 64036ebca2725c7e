"""The interface: the pixels are those of every other way to run the saved recipe."""

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import lrfr
from lrfr.core.image import decode, encode_jpeg, encode_png
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec, parse_spec
from lrfr.degrade.spec.resolve import preset_text
from lrfr.pairs.sources.synthetic import render_face
from lrfr.studio.asked import Start
from lrfr.studio.recipes.recipe_files import Places
from lrfr.studio.wire import read_frames
from tests.studio.conftest import running

TEXT = preset_text("surveillance")
EDIT = {"do": "set", "place": ["pipeline", 2, "size"], "value": {"randint": [9, 21]}}


def frames(studio, **asked):
    answer = studio.post("pictures", {"text": TEXT, "faces": [0, 1], "draws": 2, **asked})
    assert answer.status == 200
    return list(read_frames(answer.body))


def sha256(pixels):
    return hashlib.sha256(pixels).hexdigest()


def test_what_is_told_first_is_all_that_a_page_needs(studio):
    about = studio.get("about").json()
    assert about["text"] == TEXT and about["name"] == "surveillance.yaml" and about["faces"] == 48
    ops = {step["title"] for step in about["schema"]["$defs"]["Step"]["anyOf"]}
    assert ops >= set(about["starters"]) and "one_of" in ops
    assert set(about["presets"]) == set(lrfr.presets()) and about["can_fit"] is False


def test_frames_hold_the_pixels_of_the_pipeline(studio):
    found = frames(studio, edits=[EDIT], hr=True, measures=True)
    kinds = [head["kind"] for head, _ in found]
    assert kinds == ["document", "hr", "hr", *["face"] * 4, "cost", "measures", "end"]
    text = found[0][0]["text"]
    spec = parse_spec(text)
    hr = [render_face(number, 0, 0)[0] for number in range(2)]
    assert [pixels[0] for head, pixels in found if head["kind"] == "hr"] == [face.tobytes() for face in hr]
    keys = [b"s0/p%06d/0000" % number for number in range(2)]
    wanted = [Pipeline(spec).run(keys, hr, variant) for variant in (0, 1)]
    for head, pixels in found:
        if head["kind"] == "face":
            done = wanted[head["draw"]][head["face"]]
            assert pixels[0] == done.image.tobytes() and head["sizes"][0] == [done.image.shape[1]] * 2
            assert head["sizes"][1] == [112, 112] and len(head["caption"]) == len(done.trace.steps)
    assert found[-3][0]["images"] == 4 and found[-3][0]["hr_bytes"] > found[-3][0]["lr_bytes"] > 100
    assert found[-2][0]["measures"]["size"]["mean"] == np.mean(
        [head["sizes"][0][0] for head, _ in found if head["kind"] == "face"]
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three people whose pictures are what a store keeps: plain JPEGs of 112 px."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        (folder / f"p{number}").mkdir()
        (folder / f"p{number}/0.jpg").write_bytes(encode_jpeg(render_face(number, 0, 0)[0]))
    return folder


def test_the_saved_recipe_gives_the_same_pixels_everywhere(photos, tmp_path, lrfr_cli):
    """Studio, ``lrfr degrade``, ``lrfr make-pairs`` and Python: one hash a face."""
    with running(Places("surveillance", photos, folder=tmp_path, store=tmp_path / "store")) as studio:
        text = studio.post("document", {"text": TEXT, "edits": [EDIT]}).json()["text"]
        assert studio.post("save", {"name": "mine.yaml", "text": text}).json()["path"] == str(
            tmp_path / "mine.yaml"
        )
        seen = studio.post("pictures", {"text": text, "faces": [0, 1, 2], "draws": 2, "form": "json"}).json()
    hashes = {(face["name"], face["variant"]): face["sha256"] for face in seen["faces"]}
    spec = str(tmp_path / "mine.yaml")
    assert all(sha256(decode_png(face["png"]).tobytes()) == face["sha256"] for face in seen["faces"])

    lrfr_cli("degrade", str(photos), "--spec", spec, "--out", str(tmp_path / "out"), "--variants", "2")
    lines = [json.loads(line) for line in (tmp_path / "out/trace.jsonl").read_text().splitlines()]
    assert {(line["file"].rsplit(".v")[0], line["variant"]): line["sha256"] for line in lines} == hashes

    paths = [photos / f"p{number}/0.jpg" for number in range(3)]
    keys = [f"p{number}/0.jpg" for number in range(3)]
    for variant in range(2):
        done = lrfr.degrade_images(paths, spec, keys=keys, variant=variant)
        assert [sha256(image.tobytes()) for image in done] == [hashes[f"p{n}/0", variant] for n in range(3)]

    lrfr_cli("make-pairs", "--source", str(photos), "--spec", spec, "--variants", "2", "--store", str(tmp_path / "store"), "--executor", "serial", "--view", "mine")  # fmt: skip
    data = lrfr.PairDataset(tmp_path / "store", "mine")
    stored = [image for shards in data.lr for image in shards.images(list(range(3)))]
    assert sorted(sha256(image.tobytes()) for image in stored) == sorted(hashes.values())


def decode_png(text):
    import base64

    return decode(base64.b64decode(text))


@pytest.fixture
def lrfr_cli(lrfr):
    """Run a command that must succeed."""

    def run(*words):
        code, out, err = lrfr(*words)
        assert code == 0, err
        return out

    return run


def test_wrong_recipes_are_told_by_line_and_make_no_picture(studio):
    found = frames(studio, text="version: 1\npipeline: [{op: jpg}]")
    assert [head["kind"] for head, _ in found] == ["document", "end"]
    assert found[0][0]["faults"][0]["line"] == 2 and "jpeg" in found[0][0]["faults"][0]["message"]


def test_a_newer_request_of_a_tab_ends_the_older_one(studio):
    slow = json.dumps(
        {"text": preset_text("turb"), "tab": "t1", "number": 5, "faces": list(range(12)), "draws": 12}
    )
    answers = []
    old = threading.Thread(target=lambda: answers.append(studio.post("pictures", slow.encode())))
    old.start()
    while studio.newest("t1") != 5:
        time.sleep(0.01)
    new = frames(studio, tab="t1", number=6)
    old.join()
    kinds = [head["kind"] for head, _ in read_frames(answers[0].body)]
    assert kinds[-1] == "end" and kinds.count("face") < 144, "it gave way"
    assert [head["kind"] for head, _ in new].count("face") == 4
    other = frames(studio, tab="t2", number=1)
    assert [head["kind"] for head, _ in other].count("face") == 4, "another tab's numbers are its own"


def test_a_trace_ends_in_the_picture(studio):
    found = studio.post("trace", {"text": TEXT, "face": 2, "variant": 1}).json()
    shown = studio.post("pictures", {"text": TEXT, "faces": [2], "first_variant": 1, "form": "json"}).json()[
        "faces"
    ][0]
    assert sha256(decode_png(found["steps"][-1]["png"]).tobytes()) == shown["sha256"]
    assert [step["op"] for step in found["steps"]] == [step["op"] for step in shown["trace"]["steps"]]


def test_uploads_stay_with_their_tab(studio):
    face = encode_png(render_face(9, 0, 0)[0])
    kind = {"Content-Type": "application/octet-stream"}
    ids = [
        studio.request("POST", f"/api/upload?tab={tab}&name=me.png", face, kind).json()["face"]
        for tab in "ab"
    ]
    assert len(set(ids)) == 2
    shown = studio.post("pictures", {"text": TEXT, "faces": [ids[0]], "form": "json"}).json()["faces"][0]
    wanted = lrfr.degrade_images(render_face(9, 0, 0)[0], parse_spec(TEXT), keys="me.png")
    assert shown["sha256"] == sha256(wanted.tobytes())
    assert studio.post("pictures", {"text": TEXT, "faces": ["0" * 32], "form": "json"}).status == 422


def test_files_of_the_folder(studio, folder):
    assert studio.get("recipes").json()["recipes"] == ["mine.yaml"]
    assert "pipeline.d1.size" in studio.post("open", {"name": "mine.yaml"}).json()["text"]
    assert studio.post("save", {"name": "new.yaml", "text": "a"}).status == 200
    again = studio.post("save", {"name": "new.yaml", "text": "b"})
    assert again.status == 409 and (folder / "new.yaml").read_text() == "a"
    assert studio.post("save", {"name": "new.yaml", "text": "b", "replace": True}).status == 200
    assert (folder / "new.yaml").read_text() == "b"
    (folder / "new.yaml").unlink()


def test_comparing_writing_out_sheet_and_command_lines(studio):
    same = studio.post("diff", {"text": TEXT, "preset": "surveillance"}).json()
    assert same == {"same_pixels": True, "differences": []}
    other = studio.post("diff", {"text": TEXT, "edits": [EDIT], "preset": "surveillance"}).json()
    assert [item["place"] for item in other["differences"]] == ["pipeline[2].size.randint"]
    out = studio.post("write-out", {"text": "extends: surveillance"}).json()["text"]
    assert parse_spec(out).digest == parse_spec(TEXT).digest
    sheet = studio.post("sheet", {"text": TEXT, "faces": [0, 1], "draws": 2})
    assert sheet.headers["content-type"] == "image/png" and decode(sheet.body).shape[0] > 112
    said = studio.post(
        "commands?name=mine.yaml", {"text": TEXT, "faces": [0, 1], "draws": 2, "seed": 5}
    ).json()
    assert said["degrade"] == "lrfr degrade --spec mine.yaml --variants 2 --seed 5 --limit 2"


def test_the_target_stands_beside_the_pictures(photos, tmp_path):
    with running(Places("sensor", target=photos, folder=tmp_path)) as studio:
        assert studio.get("target").json()["n"] == 3
        asked = {"text": preset_text("sensor"), "faces": [0, 1, 2], "form": "json", "measures": True}
        found = studio.post("pictures", asked).json()["measures"]
        clean = "version: 1\npipeline: [{op: jpeg, quality: 95}]"
        near = studio.post("pictures", {**asked, "text": clean}).json()["measures"]
    assert found["target_n"] == 3 and found["measures"]["size"]["target"] == 112
    assert near["distance"] < found["distance"], "the recipe that made the target is nearer than another"


def test_a_command_is_followed_stopped_and_ends_with_the_server(tmp_path):
    with running(Places("sensor", folder=tmp_path, store=tmp_path / "store")) as studio:
        run = studio.post("runs", {"kind": "make-pairs", "text": preset_text("fskd"), "view": "v"}).json()
        assert run["command"][:2] == ["lrfr", "make-pairs"] and run["state"] == "running"
        stopped = studio.request("DELETE", f"/api/runs/{run['id']}").json()
        while stopped["state"] == "running":
            time.sleep(0.02)
            stopped = studio.get(f"runs/{run['id']}").json()
        assert stopped["state"] == "stopped"
        last = studio.post("runs", {"kind": "make-pairs", "text": preset_text("fskd")}).json()
        child = studio.runs[last["id"]]
        assert child.process.poll() is None
    assert child.process.poll() is not None


def test_about_says_that_a_command_may_be_missing(studio):
    refused = studio.post("runs", {"kind": "fit"})
    assert refused.status == 422 and "target" in refused.json()["error"]["message"]


def test_fitting_is_the_command_line_of_lrfr_fit(photos, tmp_path):
    """The page starts it as anybody would; what it wrote is offered as the recipe."""
    places = Places("sensor", photos, photos, tmp_path, can_fit=True)
    with running(places) as studio:
        assert studio.get("about").json()["can_fit"] is True
        words, result = studio.served.words(Start(kind="fit", budget=2.5))
    out = str(tmp_path / "camera.yaml")
    source = ["--source", str(photos)]
    assert words == ["fit", str(photos), *source, "--out", out, "--budget", "2.5"] and str(result) == out


def test_the_command_checks_first(lrfr, tmp_path):
    code, out, _ = lrfr("studio", "sensor", "--dry-run", "--json")
    assert code == 0 and json.loads(out)["result"] == {
        "recipe": "sensor.yaml",
        "faces": 48,
        "target": "",
        "dry_run": True,
    }
    code, _, err = lrfr("studio", "nothing-of-this-name", "--dry-run")
    assert code == 2 and "no preset" in err
    code, _, err = lrfr("studio", "--faces", str(tmp_path), "--dry-run")
    assert code == 2 and "no image files" in err


def test_a_signal_ends_the_command_while_it_answers(tmp_path):
    """Wherever the signal arrives: in the loop, in a callback or in a thread that draws."""
    words = [sys.executable, "-m", "lrfr", "studio", "fskd", "--folder", str(tmp_path)]
    token = {"LRFR_STUDIO_TOKEN": "t" * 16, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | token)
    try:
        port = int(re.search(r":(\d+)/#token=t{16}", process.stderr.readline())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port)
        body = json.dumps({"text": preset_text("fskd"), "faces": list(range(40)), "draws": 12})
        kind = {"Content-Type": "application/json", "X-Lrfr-Token": "t" * 16}
        connection.request("POST", "/api/pictures", body, kind)
        connection.getresponse().read(100)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        connection.close()
    finally:
        process.kill()
        process.stderr.close()


def test_a_run_finds_what_was_named_from_another_folder(photos, tmp_path, monkeypatch):
    """Paths are typed from where the studio was started; runs stand in ``--folder``, where extended files lie."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "base.yaml").write_text(
        "version: 1\npipeline: [{op: down, size: 16, filter: box, antialias: true}]\n"
    )
    (tmp_path / "faces").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    places = Places("sensor", Path("faces"), Path("faces"), home, Path("store"), can_fit=True)
    with running(places) as studio:
        fit, _ = studio.served.words(Start(kind="fit"))
        text = "version: 1\nextends: base.yaml\nset: {pipeline.0.size: 12}\n"
        pairs, _ = studio.served.words(Start(kind="make-pairs", text=text))
        given = Path(pairs[pairs.index("--spec") + 1])
        assert load_spec(given).digest == studio.shop.reader.spec(text).digest
    here = str(tmp_path / "faces")
    assert fit[1] == here and fit[fit.index("--source") + 1] == here
    assert pairs[pairs.index("--source") + 1] == here
    assert pairs[pairs.index("--store") + 1] == str(tmp_path / "store")
    monkeypatch.chdir(home)
    assert places.word(Path("faces")) == "faces"
