"""Files and folders that are whole or absent, also after a power cut."""

from lrfr.core import files


def test_the_entry_of_every_new_folder_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_folder", lambda folder: synced.append(folder.relative_to(tmp_path)))
    files.make_folder(tmp_path / "store" / "base" / "id")
    files.make_folder(tmp_path / "store" / "base" / "id")
    assert [path.as_posix() for path in synced] == [".", "store", "store/base"]
