"""Names of exported files: the user's own where they can stand, and never two faces or identities in one."""

import os
import re
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.progress import Hooks
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.export.file_names import FileNames, path_part
from lrfr.pairs.export.formats import PairChoice, export_view
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.base import Face
from lrfr.pairs.sources.folder import FolderSource
from tests.pairs.toy import ToySource, ingest

raw = st.binary(max_size=300).map(lambda data: data.decode("utf-8", "surrogateescape"))
tricky = st.text("aA.%2F /\\_:é\u200b\0", max_size=6) | raw


@given(tricky)
def test_a_name_can_be_had_back_from_its_part(name):
    part = path_part(name)
    assert part and len(os.fsencode(part)) <= 200
    assert not set(part) & set('/\\<>:"|?*\0') and part.strip(". ") == part
    if "%-" not in part:
        assert unquote_to_bytes(part) == name.encode("utf-8", "surrogateescape")
    else:
        assert name == "" or len(part) > 34


@given(st.lists(tricky, unique=True, max_size=40))
def test_two_names_never_meet(names):
    assert len({path_part(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["007", "Ann_Lee", "p13 (2)", "naïve-name.v2", "山田", "a+b=c,d;e@f~#!&'"])
def test_ordinary_names_stay(name):
    assert path_part(name) == name


def test_long_names_keep_their_beginning_and_are_told_apart():
    one, two = path_part("x" * 250 + "1"), path_part("x" * 250 + "2")
    assert one != two and one.startswith("x" * 150) and len(one) <= 200
    assert path_part("é" * 100) == "é" * 100
    assert len(path_part("é" * 101).encode()) <= 200


labels = st.sampled_from(["", "a", "b", "a/b", "a_b", "a:b", "x" * 130, "x" * 130 + "y"])
keys = st.text("ab./:_", min_size=1, max_size=5).flatmap(
    lambda stem: st.sampled_from(
        [stem, f"{stem}.png", f"{stem}.jpg", f"{stem}.png.png", f"a/{stem}.png", f"a/{stem}"]
    )
)


@settings(max_examples=300)
@given(st.dictionaries(keys, labels, min_size=1, max_size=30))
def test_no_two_faces_get_one_path_and_identities_stay_apart(faces):
    names = sorted(set(faces.values()) - {""})
    listed = list(faces.items())
    dataset = SimpleNamespace(
        label_names=names,
        labels=np.array([names.index(label) if label else -1 for _, label in listed]),
        key=lambda position: listed[position][0].encode(),
    )
    dataset = type(
        "Faces", (), {"__len__": lambda self: len(listed), **vars(dataset), "key": staticmethod(dataset.key)}
    )()
    made = FileNames(dataset)
    paths = [made.path(position) for position in range(len(listed))]
    assert len(set(paths)) == len(paths)
    for path, (_, label) in zip(paths, listed, strict=True):
        assert ("/" in path) == bool(label)
        assert all(part and part not in {".", ".."} for part in path.split("/"))
    folders = {
        label: {path.split("/")[0] for path, (_, own) in zip(paths, listed, strict=True) if own == label}
        for label in names
    }
    assert len(set().union(*folders.values())) == len(folders)


@dataclass(frozen=True)
class Named(ToySource):
    """Toy faces under given keys and labels."""

    named: tuple[tuple[str, str], ...] = ()

    def faces(self):
        return [Face(key, label, (index, 0)) for index, (key, label) in enumerate(self.named)]


def export(folder, named, hooks=None):
    make_pairs(ingest(Named(named=tuple(named))), store=folder / "s")
    done = export_view(PairDataset(folder / "s"), folder / "out", "folders", hooks=hooks or Hooks())
    found = sorted(
        path.relative_to(folder / "out" / "hr").as_posix() for path in (folder / "out").rglob("*.jpg")
    )
    assert done.images == len(named) == len(found)
    return found


def test_identities_of_several_cameras_stay_apart(folder):
    named = [
        ("cam1/007/1.png", "cam1/007"),
        ("cam2/007/1.png", "cam2/007"),
        ("x/1.png", "a:b"),
        ("y/1.png", "a_b"),
    ]
    assert export(folder, named) == ["a%3Ab/x/1.jpg", "a_b/y/1.jpg", "cam1%2F007/1.jpg", "cam2%2F007/1.jpg"]
    back = FolderSource(folder / "out" / "hr").faces()
    assert len({face.label for face in back}) == 4


def test_a_folder_of_people_keeps_its_paths(folder):
    """So that lists of the user's own still name its files (whose suffix is that of the bytes)."""
    named = [
        (f"p{person:02d}/{number:02d}.jpg", f"p{person:02d}") for person in range(3) for number in range(4)
    ]
    assert export(folder, named) == sorted(key for key, _ in named)


def test_names_that_would_meet_are_spelled_out_and_said(folder):
    notes = []
    named = [("a/1.png", "a"), ("a/1.webp", "a"), ("a/2.png", "a"), ("1.png", "")]
    found = export(folder, named, Hooks(on_note=notes.append))
    assert found == ["1.jpg", "a/2.jpg", "a/a%2F1%2Epng.jpg", "a/a%2F1%2Ewebp.jpg"]
    assert len(notes) == 1 and notes[0].startswith("2 keys")


def test_faces_without_identity_come_back_without(folder):
    named = [("a/1.png", "a"), ("b/1.png", ""), ("c.png", "")]
    export(folder, named)
    back = {face.key: face.label for face in FolderSource(folder / "out" / "hr").faces()}
    assert back == {"a/1.jpg": "a", "b%2F1.jpg": "", "c.jpg": ""}


def test_keys_of_any_length_can_be_written(folder):
    found = export(folder, [("a/" + "k" * 500 + f"{index}.png", "a") for index in range(2)])
    assert len(found) == 2 and all(re.fullmatch(r"a/k{100,}%-[0-9a-f]{32}\.jpg", path) for path in found)


def test_a_file_system_that_mixes_cases_up_is_refused(folder, monkeypatch):
    path = FileNames.path
    monkeypatch.setattr(FileNames, "path", lambda self, position: path(self, position).lower())
    with pytest.raises(DataError, match="two names are one on this file system"):
        export(folder, [("1.png", "Ann"), ("1.jpg", "ann")])


def test_wrong_requests(folder, store):
    dataset = PairDataset(store)
    with pytest.raises(SpecError, match="did you mean 'folders'"):
        export_view(dataset, folder / "out", "folder")
    with pytest.raises(DataError, match=r"did you mean 'toy\.v0'"):
        export_view(dataset, folder / "x.bin", "bin", PairChoice("toy.v1"))
    (folder / "x.bin").touch()
    with pytest.raises(EnvironmentFault, match="exists"):
        export_view(dataset, folder / "x.bin", "bin")
    assert not (folder / "out").exists()
