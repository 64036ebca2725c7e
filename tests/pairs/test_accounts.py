"""Everything that lies in a source is used, refused or skipped, and the parts add up to what is there."""

import json
import os
import re
import socket
from pathlib import Path

import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.core.lists.walk import Walk
from lrfr.pairs.build.ingest import IngestOptions, open_ingest
from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
from lrfr.pairs.format.view_manifest import Account, total
from lrfr.pairs.sources.folder import FolderSource
from lrfr.pairs.sources.table import open_source
from lrfr.pairs.store import Store
from tests.pairs.zoo import picture, save


def lay(root, *names):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(save(picture(seed, 112), "JPEG"))


def make(source, store, view="default", **options):
    return make_pairs(str(source), [], store=store, view=view, options=MakeOptions(**options)).done


def others(listing):
    return {(item.name, item.why) for item in listing.others}


def test_an_account_whose_parts_do_not_add_up_cannot_be_made():
    Account({"file": 3, "folder": 1}, {"file": 1, "folder": 1}, {"E_READ": 1}, {"hidden": 1})
    with pytest.raises(AssertionError, match="3 things were seen"):
        Account({"file": 3}, {"file": 1}, {"E_READ": 1})


def test_everything_in_a_folder_has_its_end(tmp_path):
    root = tmp_path / "faces"
    lay(
        root,
        "ann/1.jpg",
        "ann/2.jpg",
        "bob/1.jpg",
        ".Trash/gone/1.jpg",
        "bob/.ipynb_checkpoints/1-checkpoint.jpg",
    )
    lay(
        root,
        "@eaDir/1.jpg",
        "__MACOSX/ann/._1.jpg",
        "ann/._1.jpg",
        ".hidden/1.jpg",
        "no suffix",
        "bob/odd.dat",
    )
    (root / "bob" / "empty.png").touch()
    for name in ("Thumbs.db", ".DS_Store", "ann/desktop.ini", "notes.txt", "ann/list.csv"):
        (root / name).write_bytes(b"\x00\x01 not a picture")
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "pipe.png")
    (root / "nowhere").symlink_to("missing")
    (root / "loop").symlink_to(root)
    (root / "cy").symlink_to("bob")
    elsewhere = tmp_path / "elsewhere"
    lay(elsewhere, "1.jpg")
    (root / "dee").symlink_to(elsewhere)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "socket"))
    found = open_source(str(root)).listing()
    assert sorted(face.key for face in found.faces) == [
        "ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/empty.png", "bob/odd.dat",
        "cy/1.jpg", "cy/empty.png", "cy/odd.dat", "no suffix", "pipe.png",
    ]  # fmt: skip
    assert {face.label for face in found.faces} == {"ann", "bob", "cy", ""}
    assert others(found) == {
        (".Trash", "system"), ("bob/.ipynb_checkpoints", "system"), ("@eaDir", "system"),
        ("cy/.ipynb_checkpoints", "system"), ("__MACOSX", "system"), ("ann/._1.jpg", "system"),
        (".hidden", "hidden"), ("Thumbs.db", "system"), (".DS_Store", "system"), ("ann/desktop.ini", "system"),
        ("notes.txt", "not a picture"), ("ann/list.csv", "not a picture"), ("pipe", "not a file"),
        ("nowhere", "broken link"), ("loop", "link loop"), ("dee", "link out"), ("socket", "not a file"),
    }  # fmt: skip
    assert "1 links lead to folders outside 'faces'" in found.notes[0] and "links=all" in found.notes[0]
    all_links = {face.key for face in open_source(f"folder:{root},links=all").faces()}
    assert "dee/1.jpg" in all_links
    done = make(root, tmp_path / "s")
    account = done.report.account
    assert account.used == {"file": 7, "folder": 3} and account.refused == {"E_EMPTY": 2, "E_NOTFILE": 1}
    assert total(account.seen) == total(account.used) + total(account.refused) + total(account.skipped)
    assert account.skipped["system"] == 9 and done.identities == 3
    assert Store(tmp_path / "s").report("default").account == account
    lines = (tmp_path / "s/reports/default.quarantine.jsonl").read_text().splitlines()
    assert {(line["key"], line["skipped"]) for line in map(json.loads, lines) if "skipped" in line} == others(
        found
    )


def test_links_cannot_blow_a_walk_up(tmp_path):
    """Twelve folders with links to one another: each is entered by a link once."""
    for first in range(12):
        (tmp_path / f"d{first}").mkdir()
    for first in range(12):
        for second in range(12):
            (tmp_path / f"d{first}" / f"to{second}").symlink_to(tmp_path / f"d{second}")
    lay(tmp_path, "d3/1.jpg")
    found = FolderSource(tmp_path).listing()
    assert total(found.seen) < 12 + 24 * 13 + 3 and 1 <= len(found.faces) <= 2


def test_an_unreadable_folder_is_counted_and_strict_stops(tmp_path, monkeypatch):
    lay(tmp_path / "f", "ann/1.jpg", "bob/1.jpg", "cy/1.jpg")
    real = os.scandir

    def refuse(path="."):
        if str(path).endswith("bob/"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    done = make(tmp_path / "f", tmp_path / "s")
    assert done.identities == 2 and done.report.refused == {"E_READ": 1} and done.report.seen == 3
    with pytest.raises(DataError, match="1 of 3"):
        make(tmp_path / "f", tmp_path / "s2", max_bad=0.0)


def test_a_file_that_vanishes_between_the_listing_and_the_look(tmp_path):
    lay(tmp_path / "f", "ann/1.jpg", "bob/1.jpg")
    ingest = open_ingest(str(tmp_path / "f"))
    (tmp_path / "f/ann/1.jpg").unlink()
    done = make_pairs(ingest, [], store=tmp_path / "s").done
    assert done.rows == 1 and done.report.account.refused == {"E_READ": 1}


def test_nothing_usable_says_why_and_leaves_a_report(tmp_path):
    root = tmp_path / "f"
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"<html>not found</html>")
    (root / "a" / "5.jpg").touch()
    with pytest.raises(DataError, match=r"4 of 5 things: E_FORMAT.*a/1\.jpg.*a/2\.jpg.*b/3\.jpg") as caught:
        make(root, tmp_path / "s")
    assert "b/4.jpg" not in str(caught.value)
    named = re.search(r"all of them stand in (\S+)", caught.value.hint)
    assert named and Path(named[1]).read_text().count("E_FORMAT") == 4
    report = Store(tmp_path / "s").report("default")
    assert report.account.refused == {"E_FORMAT": 4, "E_EMPTY": 1}
    assert (tmp_path / "s/reports/default.quarantine.jsonl").read_text().count("E_FORMAT") == 4


@pytest.mark.parametrize("place", ["/", "//", "/.", "folder:/", "folder:/,identity=parent"])
def test_the_root_of_all_files_is_refused_at_once(place, tmp_path, monkeypatch):
    monkeypatch.setattr(Walk, "_entries", lambda walk, folder: pytest.fail(f"walks {folder}"))
    with pytest.raises(SpecError, match="the root of the whole file system") as caught:
        make(place, tmp_path / "s")
    assert "name the folder" in caught.value.hint


def test_a_folder_of_other_things_says_what_they_are(tmp_path):
    (tmp_path / "f" / "x").mkdir(parents=True)
    for name in ("a.txt", "x/b.md", "x/c.mp4"):
        (tmp_path / "f" / name).write_text("words")
    with pytest.raises(DataError, match=r"3 of 3 things: not a picture.*a\.txt.*x/b\.md.*x/c\.mp4"):
        make(tmp_path / "f", tmp_path / "s")
    assert Store(tmp_path / "s").report("default").account.skipped == {"not a picture": 3}


def test_what_a_view_leaves_out_is_counted(tmp_path):
    lay(
        tmp_path / "f",
        "ann/1.jpg",
        "ann/2.jpg",
        "bob/1.jpg",
        "bob/2.jpg",
        "cy/1.jpg",
        "dee/1.jpg",
        "alone.jpg",
    )
    (tmp_path / "splits.txt").write_text(
        "ann/1.jpg\ttrain\nann/2.jpg\ttrain\nbob/1.jpg\ttrain\nbob/2.jpg\ttrain\ncy/1.jpg\ttrain\ndee/1.jpg\tdev\n"
    )
    view = ViewOptions("part", min_per_id=2, ids=("ann", "cy"), split="train")
    done = make(
        tmp_path / "f", tmp_path / "s", view, ingest=IngestOptions(split_file=tmp_path / "splits.txt")
    )
    assert done.rows == 2 and done.identities == 1
    assert done.report.account.skipped == {"split": 2, "ids": 2, "min per id": 1}
    assert done.report.account.used == {"file": 2, "folder": 4}
    assert done.report.account.told() == (
        "7 files, 4 folders seen; 2 files, 4 folders used; "
        "skipped ids 2; skipped min per id 1; skipped split 2"
    )


def test_identities_below_the_first_folder_are_not_merged_without_a_word(tmp_path):
    lay(
        tmp_path,
        *(f"cam{cam}/00{person}/{shot}.jpg" for cam in (1, 2) for person in (6, 7) for shot in (0, 1)),
    )
    first = open_source(str(tmp_path)).listing()
    assert {face.label for face in first.faces} == {"cam1", "cam2"}
    assert "identity=parent" in first.notes[0] and "cam1/006" in first.notes[0]
    parent = open_source(f"folder:{tmp_path},identity=parent").listing()
    assert {face.label for face in parent.faces} == {"cam1/006", "cam1/007", "cam2/006", "cam2/007"}
    assert not parent.notes
    name = open_source(f"folder:{tmp_path},identity=name").faces()
    assert {face.label for face in name} == {"006", "007"}


@pytest.mark.parametrize(
    "name", [b"caf\xe9", b"a\nb", b"x" * 255, "é".encode(), b" spaced ", b"%41", b"tab\there"]
)
def test_odd_names_are_faces_like_others(tmp_path, name):
    folder = os.fsencode(tmp_path / "f") + b"/" + name
    os.makedirs(folder)
    with open(folder + b"/" + name[:250] + b".jpg", "wb") as handle:
        handle.write(save(picture(1, 112), "JPEG"))
    done = make(tmp_path / "f", tmp_path / "s")
    assert done.rows == 1 and done.identities == 1 and not done.report.refused
