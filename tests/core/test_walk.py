"""One walk for all who read pictures below a folder."""

import os

import pytest

from lrfr.core.errors import SpecError
from lrfr.core.image import encode_png
from lrfr.core.lists import walk
from lrfr.core.lists.walk import pictures_below
from lrfr.core.progress import Hooks
from lrfr.degrade.apply_files import find_faces
from lrfr.eval.analysis.figures import some_faces
from lrfr.pairs.sources.table import open_source
from lrfr.train.style.image_sets import open_images
from tests.pairs.zoo import picture

USED = ["a/1.png", "a/bare", "b/2.png"]


@pytest.fixture
def messy(tmp_path):
    root = tmp_path / "faces"
    for name in ("a/1.png", "a/bare", "b/2.png", "@eaDir/1.png", ".trash/1.png", "a/._1.png", "a/.x.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode_png(picture(len(name), 24)))
    (root / "a/Thumbs.db").write_bytes(b"x")
    (root / "notes.txt").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/9.png").write_bytes(encode_png(picture(9, 24)))
    os.symlink(tmp_path / "elsewhere", root / "c")
    return root


def notes_of(call):
    notes = []
    found = call(Hooks(on_note=notes.append))
    return found, " ".join(notes)


def test_the_walk_tells_what_it_passes_over(messy):
    names, rest = pictures_below(messy)
    assert names == USED
    assert rest.reasons == {"system": 4, "hidden": 1, "not a picture": 1, "link out": 1}
    assert rest.told()[0].startswith("passed over: hidden 1, link out 1") and "1 links lead" in rest.told()[1]
    with pytest.raises(SpecError, match="not a folder"):
        pictures_below(messy / "none")


def test_every_reader_of_folders_takes_the_same_pictures(messy, tmp_path):
    assert sorted(face.key for face in open_source(str(messy)).faces()) == USED
    faces, told = notes_of(lambda hooks: find_faces([str(messy)], tmp_path / "out", hooks=hooks))
    assert [face.key.decode() for face in faces] == USED and "system 4" in told
    style = open_images(str(messy), 24, store=tmp_path / "s", people=range(1), seed=0)
    assert style.length == 3 and not style.refused and "system 4" in style.notes[0]
    drawn, told = notes_of(lambda hooks: some_faces(messy, 9, 0, hooks))
    assert len(drawn) == 3 and "system 4" in told


def test_a_folder_that_cannot_be_read_is_named(messy, tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).rstrip("/").endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert pictures_below(messy)[1].refused == [("b", "E_READ", "the file cannot be read: Permission denied")]
    _, told = notes_of(lambda hooks: find_faces([str(messy)], tmp_path / "out", hooks=hooks))
    assert "left out" in told and "Permission denied" in told
    style = open_images(str(messy), 24, store=tmp_path / "s", people=range(1), seed=0)
    assert style.length == 2 and "Permission denied" in style.refused[0]
    _, told = notes_of(lambda hooks: some_faces(messy, 9, 0, hooks))
    assert "Permission denied" in told


def test_what_is_passed_over_starts_with_a_mark_or_is_not_called_as_a_picture():
    assert not [name for name in walk._SYSTEM if name[0].isalnum() and walk.has_image_suffix(name)]
    assert not [start for start in walk._SYSTEM_STARTS if start[0].isalnum()]
