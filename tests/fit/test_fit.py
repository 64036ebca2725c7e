"""A fit from end to end, what stands between a person's mistakes and it, and the check of drift."""

import io
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import lrfr
from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import seal, sha256_hex
from lrfr.core.progress import Hooks, Stopped
from lrfr.experiment.steps.fitting import fit_here
from lrfr.fit.camera_fit import CameraFit, FitSettings
from lrfr.fit.fit_record import read_reference, write_record
from lrfr.fit.look.clean_faces import read_faces
from lrfr.fit.look.container_marks import Container
from lrfr.fit.look.crop_files import _checked, _Crop, read_crops, warnings_of
from lrfr.fit.look.enlargement import WayUp
from lrfr.fit.structure_scan import Scan, Structure
from lrfr.pairs.executors.dispatch import Runner
from tests.fit.cameras import person, seen, write, write_people

SMALL = FitSettings(bank=600, rounds=1, round_faces=200, groups=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("camera")
    write(folder / "crops", seen(70))
    write_people(folder / "faces", 80)
    return folder


def detail(images):
    """Return how rough a picture is, in four stripes: a recognizer that knows nobody."""
    rough = [np.abs(np.diff(image.astype(np.float32), axis=0)).mean(axis=(0, 2)) for image in images]
    return np.array([[stripe.mean() for stripe in np.array_split(row, 4)] for row in rough], np.float32)


@pytest.fixture(scope="module")
def fitted(place):
    """A fit that was stopped in its bank and went on."""
    made = pytest.MonkeyPatch()
    made.setattr(fit_here, "FitSettings", lambda **given: SMALL)
    made.setattr("lrfr.fit.structure_scan.FACES", 24)
    made.setattr("lrfr.fit.last_figures.PRESETS", ("sensor",))
    made.setattr("lrfr.fit.choosing._MAY_GO", ("read", "gamma"))
    stop, notes = {"now": False}, []

    def watch(done, total, phase="", **_):
        stop["now"] = phase == "bank"

    with pytest.raises(Stopped):
        hooks = Hooks(watch, notes.append, lambda: stop["now"])
        lrfr.fit_camera(place / "crops", place / "faces", place / "camera.yaml", hooks=hooks)
    kept = sorted((place / "camera.fit/bank").glob("bank-*.faces"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    wishes = lrfr.FitWishes(teacher=detail)
    camera = lrfr.fit_camera(place / "crops", place / "faces", place / "camera.yaml", wishes)
    assert kept and [path.stat().st_mtime_ns for path in kept] == stamps
    yield camera, notes
    made.undo()


def test_what_is_wrong_with_the_crops_is_said_before_the_work(fitted):
    camera, notes = fitted
    assert "70 crops are few" in notes[0] and tuple(notes) == camera.notes


def test_too_few_crops_for_a_fit_are_told_from_a_fit_that_came_no_nearer(fitted, place):
    camera, _ = fitted
    assert list(camera.validation) == ["structure scan"] and "below 83 crops" in camera.notes[-1]
    page = (place / "camera.md").read_text("utf-8")
    assert "Nothing was fitted but the structure" in page and "came no nearer" not in page


def test_the_written_spec_is_the_fits_and_it_lies_near_the_truth(fitted, place):
    camera, _ = fitted
    spec = lrfr.load_spec(place / "camera.yaml")
    assert "p: 1.0" not in (place / "camera.yaml").read_text()
    assert spec.digest == camera.spec.digest
    down = next(step for step in spec.steps if step.label == "down")
    low, high = down.op.size.extent() if hasattr(down.op.size, "extent") else (down.op.size,) * 2
    assert abs(low - 20) <= 2 and abs(high - 30) <= 2
    assert spec.store.up.filter == "bicubic"
    assert lrfr.load_spec(place / "camera.fit/scan.yaml").digest == camera.structure.spec().digest
    scan = camera.validation["structure scan"]
    assert min(one.energy for one in camera.validation.values()) <= scan.energy


def test_every_rival_and_floor_stands_in_the_table_at_one_n(fitted):
    camera, _ = fitted
    names = [row.name for row in camera.rows]
    assert names[:3] == ["real against real", "fitted", "structure scan only"]
    assert names[3].startswith("best preset (") and names[4:] == [
        "clean faces",
        "content alone (both at 12 px)",
    ]
    assert len({row.n for row in camera.rows}) == 1
    real, made, _, _, clean, content = camera.rows
    assert clean.norms > 2 * max(real.norms, made.norms)
    assert clean.embeddings > 2 * max(real.embeddings, made.embeddings) and content.embeddings is None
    assert re.match(r"(distinguishable|not distinguished at n = \d+): ", camera.verdict)
    assert all(0 <= law.told <= 1 and law.words for law in camera.laws)


def test_the_page_holds_all_it_shows(fitted, place):
    page = (place / "camera.html").read_text("utf-8")
    assert not re.search(r"""(src|href)="(?!data:|#)""", page) and "http" not in page.replace(
        "http-equiv", ""
    ).replace("http://www.w3.org/2000/svg", "")
    assert "Frechet, embeddings" in page
    assert ("How near" in page and "not distinguished" in page) or "distinguishable" in page


def test_the_same_fit_again_gives_the_same_spec(fitted, place):
    camera, _ = fitted
    crops, clean = read_crops(place / "crops"), read_faces(str(place / "faces"), place / "camera.fit/bank")
    again = CameraFit(crops, clean, place / "camera.fit/bank", SMALL, Runner("serial"))
    _, matcher = again._rounds()
    kept, distances = again.chooser.run(again._candidates(matcher, again.evidence))
    assert kept.spec.digest == camera.spec.digest and distances == camera.validation


def test_a_check_tells_a_changed_camera_by_its_exit_code(fitted, place, lrfr):
    write(place / "same", seen(40, first=300))
    write(place / "lower", seen(40, "{randint: [8, 14]}", first=300))
    code, said, _ = lrfr("fit", place / "same", "--check", place / "camera.yaml", "--json")
    assert code == 0 and json.loads(said)["result"]["drifted"] is False
    text = (place / "camera.yaml").read_text()
    (place / "camera.yaml").write_text(text.replace("seed: 1", "seed: 7"))
    code, said, _ = lrfr("fit", place / "lower", "--check", place / "camera.yaml", "--json")
    (place / "camera.yaml").write_text(text)
    found = json.loads(said)["result"]
    assert code == 7 and "drift (p = " in found["words"] and "compression" in found["words"]
    assert found["notes"][-1].startswith("the spec was changed since its fit")
    # too few crops to tell is another code, and what only a fit asks for is no part of a check
    code, _, said = lrfr("fit", write(place / "few", seen(5)), "--check", place / "camera.yaml")
    assert code == 3 and "5 usable crops" in said
    words = ("--check", place / "camera.yaml", "--source", place / "faces", "--prior", "sensor")
    code, _, said = lrfr("fit", place / "same", *words)
    assert code == 2 and "it takes no --source, --prior" in said


def test_a_check_beside_the_spec_is_no_overwriting(fitted, place, lrfr, monkeypatch):
    monkeypatch.chdir(place)
    assert lrfr("fit", "crops", "--check", "camera.yaml")[0] == 0


def test_a_check_without_its_record_says_what_is_missing(tmp_path, place, lrfr):
    (tmp_path / "alone.yaml").write_text("version: 1\npipeline: [{op: identity}]\n")
    code, _, said = lrfr("fit", place / "crops", "--check", tmp_path / "alone.yaml")
    assert code == 3 and "no record of a fit beside the spec" in said


def test_few_equal_and_tiny_crops_are_refused_in_words(tmp_path):
    write(tmp_path / "five", seen(5))
    with pytest.raises(DataError, match=r"5 usable crops.*30 different crops are needed"):
        read_crops(tmp_path / "five")
    write(tmp_path / "one", seen(1))
    with pytest.raises(DataError, match=r"1 usable crop "):
        read_crops(tmp_path / "one")
    write(tmp_path / "equal", seen(1) * 40)
    with pytest.raises(DataError, match=r"all crops are the same picture"):
        read_crops(tmp_path / "equal")
    random = np.random.default_rng(0)
    write(tmp_path / "tiny", [random.integers(0, 255, (4, 4, 3)).astype(np.uint8) for _ in range(40)])
    with pytest.raises(DataError, match=r"the crops are 4 px wide.*nothing but the size"):
        read_crops(tmp_path / "tiny")


def test_mixed_sizes_gray_and_few_crops_are_said(tmp_path):
    small = [crop[: 20 + k, : 20 + k] for k, crop in enumerate(seen(40))]
    crops = read_crops(write(tmp_path / "mixed", small))
    assert crops.side_px == 0 and any("taken for the native sizes" in note for note in crops.notes)
    gray = [np.repeat(crop[..., :1], 3, axis=2) for crop in seen(32)]
    place = write(tmp_path / "gray", gray)
    notes = read_crops(place).notes
    assert "the crops are gray" in notes and any("32 crops are few" in note for note in notes)
    for path in sorted(place.iterdir()):
        Image.open(path).save(path.with_suffix(".webp"), quality=60)
        path.unlink()
    container = read_crops(place).container
    assert container.kind == "webp" and abs(container.quality - 60) <= 6
    found = Structure(((20, 1.0),), "spectrum", "box", True, WayUp("cubic", False, 112), container)
    assert found.spec().steps[-1].op.quality == container.quality
    kept = [_Crop.of("a", crop) for crop in seen(32)]
    unknown = _checked("crops", kept, Counter({Container("other"): 32}), {}, 30)
    assert any("no step repeats" in note for note in unknown.notes)


def test_large_crops_are_not_kept_at_their_size():
    crop = _Crop.of("a", np.zeros((900, 700, 3), np.uint8))
    assert crop.square.shape == (112, 112, 3) and crop.side_px == 700
    assert _Crop.of("b", np.zeros((40, 90, 3), np.uint8)).square.shape == (40, 40, 3)


def test_pictures_that_cannot_be_read_are_counted(tmp_path):
    folder = write(tmp_path / "crops", seen(31))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "twice.png").write_bytes((folder / "0000.png").read_bytes())
    crops = read_crops(folder)
    assert crops.seen["used"] == 31 and crops.seen["the same pixels as another"] == 1
    assert sum(count for name, count in crops.seen.items() if name.startswith("refused")) == 1


def test_crops_that_lie_otherwise_and_people_of_the_source_are_warned_of():
    faces = [person(k) for k in range(40)]
    assert warnings_of(seen(40, first=500), faces) == []
    turned = [np.ascontiguousarray(crop[::-1]) for crop in seen(40, first=500)]
    assert any("do not lie where" in note for note in warnings_of(turned, faces))
    both = warnings_of(turned, [np.ascontiguousarray(face[::-1]) for face in faces])
    assert [note.partition(" do not look like")[0] for note in both] == [
        "W_UNALIGNED: the crops",
        "W_UNALIGNED: the faces of the source",
    ]
    assert any("look like a picture of the source" in note for note in warnings_of(seen(40), faces))


def test_mistakes_of_the_command_line(lrfr, place, tmp_path):
    assert "which clean faces?" in lrfr("fit", place / "crops")[2]
    code, _, said = lrfr("fit", place / "crops", "--source", place / "faces", "--out", "camera.json")
    assert code == 2 and "a fitted spec is a .yaml file" in said
    dry = ("fit", place / "crops", "--dry-run", "--source")
    assert "no such source: nope" in lrfr(*dry, "nope")[2]
    assert "x.onnx: no such recognizer" in lrfr(*dry, place / "faces", "--teacher", "x.onnx")[2]
    code, said, _ = lrfr(*dry, place / "faces")
    assert code == 0 and "used 70" in said and "60 faces of the source agree by 0.9" in said
    turned = write(tmp_path / "turned", [np.ascontiguousarray(crop[::-1]) for crop in seen(32)])
    code, said, warned = lrfr("fit", turned, *dry[2:], place / "faces")
    assert code == 0 and "do not lie where those of the source lie" in said + warned
    assert sorted(path.name for path in tmp_path.iterdir()) == ["turned"]
    with pytest.raises(SpecError, match=r"no preset|no such"):
        fit_here.fit_camera(
            place / "crops", place / "faces", "x.yaml", fit_here.FitWishes(prior="surveilance")
        )


def test_too_few_clean_faces_are_said(tmp_path):
    write_people(tmp_path / "faces", 5)
    with pytest.raises(DataError, match="5 usable faces"):
        read_faces(str(tmp_path / "faces"), tmp_path)


def test_a_damaged_file_of_clean_faces_is_written_again(fitted, place):
    (file,), told = (place / "camera.fit/bank").glob("faces-*.npy"), []
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    read_faces(str(place / "faces"), file.parent, hooks=Hooks(on_note=told.append))
    assert file.read_bytes() == data and told == [f"{file}: damaged, written again"]


def test_people_too_few_to_measure_a_classifier_on_are_said(tmp_path):
    for k in range(72):
        write(tmp_path / f"faces/p{k % 9}/{k}", [person(k)])
    with pytest.raises(DataError, match="9 people are too few"):
        read_faces(f"folder:{tmp_path / 'faces'}", tmp_path)


def test_a_stop_while_faces_are_read_or_structures_are_tried_is_a_stop(tmp_path):
    write_people(tmp_path / "faces", 3)
    with pytest.raises(Stopped):
        read_faces(str(tmp_path / "faces"), tmp_path, hooks=Hooks(should_stop=lambda: True))
    crops = read_crops(write(tmp_path / "crops", seen(30)))
    with pytest.raises(Stopped):
        Scan(crops, [person(k) for k in range(4)], Hooks(should_stop=lambda: True)).run()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"structure": {"sizes": 3}}, "not the record of a fit"),
        ({"structure": None}, "not the record of a fit"),
        ({"canvas_px": 10**8}, "crops of 100000000 px"),
        ({"cut": "sharp"}, "a filter that no crops have"),
        ({}, "not the statistics of a fit"),
    ],
)
def test_a_record_that_was_made_up_is_refused_in_words(tmp_path, change, words):
    structure = {
        **{"sizes": [[20, 1.0]], "told_by": "spectrum", "down": "box", "down_antialias": True},
        "way": {"filter": "cubic", "antialias": False, "canvas_px": change.pop("canvas_px", 112)},
        **{"container": {"kind": "lossless"}, "cut": change.pop("cut", "cubic")},
    }
    (tmp_path / "a.fit").mkdir()
    buffer = io.BytesIO()
    np.savez(buffer, stats=np.zeros((40, 3), np.float32))
    (tmp_path / "a.fit/target.npz").write_bytes(buffer.getvalue())
    names = {"format": 1, "stats_revision": 1, "stats_sha256": sha256_hex(buffer.getvalue())}
    (tmp_path / "a.fit/record.json").write_bytes(seal({"structure": structure, **names, **change}))
    with pytest.raises(DataError, match=words):
        read_reference(tmp_path / "a.yaml")


def test_what_a_person_has_written_is_not_written_over(fitted, place, tmp_path, lrfr, monkeypatch):
    """A rerun may replace what the fit wrote; nothing may replace an edited spec, or one of other origin."""
    own, words = place / "camera.yaml", ("fit", place / "crops", "--source", place / "faces", "--dry-run")
    text = own.read_text()
    assert lrfr(*words, "--out", own)[0] == 0
    own.write_text(text + "# mine\n")
    assert lrfr(*words, "--out", own)[0] == 0
    own.write_text(text.replace("seed: 1", "seed: 7"))
    code, _, said = lrfr(*words, "--out", own)
    assert code == 2 and "changed by hand" in said
    own.write_text(text)
    record = (place / "camera.fit/record.json").read_bytes()
    # killed after its record was written and before its spec: the spec of the fit before lies there
    write_record(replace(fitted[0], spec=replace(fitted[0].spec, seed=8)), own)
    assert lrfr(*words, "--out", own)[0] == 0
    (place / "camera.fit/record.json").write_bytes(record)
    other = tmp_path / "camera.yaml"
    (tmp_path / "camera.md").write_text("my notes")
    code, _, said = lrfr(*words, "--out", other)
    assert code == 2 and "camera.md: a file is there that no fit has written" in said
    other.write_text("version: 1\npipeline: [{op: brightness, value: {uniform: [0.5, 1]}}]\n")
    code, _, said = lrfr(*words, "--out", other, "--prior", other)
    assert code == 2 and "take the place of an input" in said


def test_a_prior_that_leaves_nothing_open_is_refused_before_any_work(tmp_path):
    text = "version: 1\nimage: {size: %d}\npipeline:\n  - {op: down, size: %s, filter: bicubic, antialias: true}\n"
    for size, law, words in ((112, "16", "draws nothing"), (64, "{randint: [8, 16]}", "faces of 64 px")):
        wishes = fit_here.FitWishes(prior=text % (size, law))
        with pytest.raises(SpecError, match=words):
            fit_here.check_asked("synthetic", tmp_path / "camera.yaml", wishes)
    with pytest.raises(SpecError, match="more than 0 minutes, got float nan"):
        fit_here.check_asked(
            "synthetic", tmp_path / "c.yaml", fit_here.FitWishes(budget_minutes=float("nan"))
        )
