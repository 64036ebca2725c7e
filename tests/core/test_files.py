"""Files and folders that are whole or absent, also after a power cut."""

import os
import re
from pathlib import Path

import pytest

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import inside, leftovers, stats_below
from lrfr.core.files import writing as files
from lrfr.pairs.format.manifests import BaseManifest


def test_the_entry_of_every_new_folder_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_folder", lambda folder: synced.append(folder.relative_to(tmp_path)))
    files.make_folder(tmp_path / "store" / "base" / "id")
    files.make_folder(tmp_path / "store" / "base" / "id")
    assert [path.as_posix() for path in synced] == [".", "store", "store/base"]


def test_clearing_out_removes_links_and_not_what_they_lead_to(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_text("kept")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "base" / "folder").mkdir()
    (tmp_path / "base" / "folder" / "file").write_text("x")
    paths = [*sorted((tmp_path / "base").iterdir()), tmp_path / "base" / "gone"]
    inside.clear_out(paths, tmp_path / "tmp")
    assert list((tmp_path / "base").iterdir()) == list((tmp_path / "tmp").iterdir()) == []
    assert (tmp_path / "outside" / "a").read_text() == "kept"


def test_nothing_half_removed_looks_whole(tmp_path, monkeypatch):
    """Of a folder of columns no manifest outlives a file that it names, and none behind a link goes."""
    (tmp_path / "outside").mkdir()
    folders = [tmp_path / "columns", tmp_path / "columns" / "a", tmp_path / "columns" / "b" / "c"]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in (tmp_path / "outside", *folders):
        (folder / "manifest.json").write_text("{}")
    (tmp_path / "columns" / "link").symlink_to(tmp_path / "outside")

    def stopped(path):
        assert not [item for item in path.rglob("*") if item.name == "manifest.json" and item.is_file()]
        raise KeyboardInterrupt

    monkeypatch.setattr(inside.shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        inside.remove(tmp_path / "columns")
    assert (tmp_path / "outside" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "/etc", "a\0b", "x" * 300])
def test_no_name_leads_out_of_a_part_of_a_store(name, tmp_path):
    with pytest.raises(SpecError):
        inside.part_of(tmp_path, "base", name)


def test_a_linked_folder_of_a_store_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base").symlink_to("elsewhere")
    with pytest.raises(DataError, match="a link"):
        inside.part_of(tmp_path, "base", "a")
    assert not inside.is_inside(tmp_path / "base" / ".." / ".." / "x", tmp_path / "base")


def test_what_a_killed_process_left_beside_a_result_goes_with_the_next(tmp_path):
    """Names that tell a dead process of this machine go; those of the living, of others and of users stay."""
    host = files.temp_name(tmp_path, "x").name.split(".")[1]
    dead = f"a.json.{host}.999999999.123"
    kept = [
        f"a.json.{host}.{os.getpid()}.5",
        "a.json.elsewhere.999999999.123",
        "a.b.2020.png",
        f"x.{host}.12.png",
        "a.json",
    ]
    for name in (dead, *kept):
        (tmp_path / name).write_text("x")
    leftovers.sweep_beside.cache_clear()
    files.write_whole(tmp_path / "a.json", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert (tmp_path / "a.json").read_bytes() == b"new"


def test_what_mends_a_damaged_file_depends_on_the_file(tmp_path):
    (tmp_path / "a.json").write_bytes(files.seal({"a": 1}).replace(b"1", b"2", 1))
    with pytest.raises(DataError) as told:
        files.read_sealed(tmp_path / "a.json")
    assert "store" not in str(told.value.hint)
    with pytest.raises(DataError) as told:
        BaseManifest.read(tmp_path / "a.json")
    assert "lrfr store repair" in str(told.value.hint)


@pytest.mark.parametrize("pid", ["0", "99999999999", "9" * 200])
def test_what_names_a_process_that_cannot_be_is_swept(pid, tmp_path):
    mine = files.temp_name(tmp_path, "x").name.rsplit(".", 2)[0]
    (tmp_path / f"{mine}.{pid}.1").touch()
    assert leftovers.sweep(tmp_path) == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "write", [files.write_whole, lambda path, data: files.write_atomic(path, data, path.parent)]
)
def test_no_file_takes_the_place_of_a_device(write, tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(EnvironmentFault, match="not a regular file"):
        write(tmp_path / "x", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").is_fifo()


def test_many_files_are_asked_from_their_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_bytes(b"123")
    places = ["a/x", str(tmp_path / "a/x"), "a/../a/x", "a/y", "a\0", "n" * 300]
    sizes = [found and found.st_size for found in stats_below(tmp_path, places)]
    assert sizes == [3, 3, 3, None, None, None]
    assert stats_below(tmp_path / "none", ["a/x", str(tmp_path / "a/x")])[0] is None
    assert stats_below(tmp_path / "none", [str(tmp_path / "a/x")])[0].st_size == 3


def test_a_killed_process_leaves_its_folder_to_the_next(tmp_path):
    """Folders of dead owners go; those of the living, of other purposes, and what a link leads to stay."""
    (tmp_path / "outside").mkdir()
    kept = [f"lrfr-x-{os.getpid()}-a", "lrfr-x-y-z", "lrfr-x", "lrfr-y-999999999-a"]
    for name in (*kept, "lrfr-x-999999999-a"):
        (tmp_path / name / "in").mkdir(parents=True)
    (tmp_path / "lrfr-x-999999999-link").symlink_to(tmp_path / "outside")
    with pytest.raises(KeyError), leftovers.scratch("x", tmp_path) as folder:
        assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {*kept, "outside", "lrfr-x-999999999-link", folder.name}
        raise KeyError
    assert not folder.exists()


def test_no_other_folder_for_a_while_is_made():
    """One whose name has no owner stays for ever where the process is killed."""
    root = Path(leftovers.__file__).parents[2]
    found = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if {"mkdtemp(", "TemporaryDirectory("} & set(re.findall(r"\w+\(", path.read_text("utf-8")))
    ]
    assert found == ["core/files/leftovers.py"]
