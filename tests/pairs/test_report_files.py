"""The report on a view's sources and its list of refused faces: sealed, and no damage in them holds up what does
not need them.
"""

import json
import shutil

import pytest

from lrfr.core.errors import DataError
from lrfr.core.progress import Hooks
from lrfr.pairs.build.look.report_files import read_list
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.care.verify import verify
from lrfr.pairs.care.view_summary import summarize
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.store import Store
from tests.pairs.faults import Shim, injected
from tests.pairs.zoo import picture, save


@pytest.fixture
def faces(tmp_path):
    """Return three sources: each has faces of a person and one file that is none."""
    for number, name in enumerate("abc"):
        folder = tmp_path / "faces" / name / f"p{name}"
        folder.mkdir(parents=True)
        for image in range(3):
            (folder / f"{image}.jpg").write_bytes(save(picture(10 * number + image, 112), "JPEG"))
        (folder / "bad.png").write_bytes(b"no picture")
    return tmp_path / "faces"


def make(root, source, extend=None, notes=None):
    hooks = Hooks(on_note=notes.append) if notes is not None else None
    options = MakeOptions(extend=extend)
    return make_pairs(str(source), [], store=root, options=options, runner=Runner("serial"), hooks=hooks)


def refused(store):
    return [json.loads(line)["key"] for line in read_list(store, "default").splitlines()]


def damage(path, how):
    data = path.read_bytes()
    path.unlink()
    if how == "flip":
        path.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "a line is gone":
        path.write_bytes(b"".join(data.splitlines(keepends=True)[1:]))


@pytest.mark.parametrize("how", ["flip", "cut", "gone", "a line is gone"])
@pytest.mark.parametrize("which", ["list", "report"])
def test_damage_is_found_told_and_repaired_and_holds_up_no_extension(faces, tmp_path, which, how):
    store = Store(tmp_path / "s")
    make(store.root, faces / "a")
    make(store.root, faces / "b", "default")
    assert refused(store) == ["pa/bad.png", "pb/bad.png"] and verify(store) == []
    path = store.quarantine_path("default") if which == "list" else store.report_path("default")
    if which == "report" and how in ("gone", "a line is gone"):
        pytest.skip("a report that is not there is one of an older store; it is one line")
    damage(path, how)
    assert [finding.file for finding in verify(store)] == [str(path)]
    with pytest.raises(DataError) as caught:
        summarize(store, "default")
    assert caught.value.file == str(path) and "lrfr store repair" in str(caught.value.hint)
    notes = []
    made = make(store.root, faces / "c", "default", notes)
    assert made.done.rows == 9 and any(str(path) in note for note in notes)
    # what is damaged is left out, all else is told
    assert "pc/bad.png" in refused(store) and verify(store) == []
    damage(path, "cut")
    repaired = store.repair()
    assert str(path) in repaired.removed and verify(store) == []
    assert summarize(store, "default").rows == 9


def test_lists_of_older_stores_are_read_as_they_are(faces, tmp_path):
    store = Store(tmp_path / "s")
    make(store.root, faces / "a")
    sealed = store.report("default")
    assert sealed.lists and b'"lists"' in store.report_path("default").read_bytes()
    older = type(sealed)(sealed.source, sealed.refused, sealed.flagged, sealed.seen, sealed.account)
    store.report_path("default").write_bytes(older.seal())
    assert b'"lists"' not in store.report_path("default").read_bytes()
    store.quarantine_path("default").write_bytes(b"")
    assert read_list(store, "default") == b"" and verify(store) == []


def test_failing_at_any_moment_of_an_extension_leaves_no_fault_and_the_same_end(faces, tmp_path):
    whole = Store(tmp_path / "whole")
    make(whole.root, faces / "a")
    make(whole.root, faces / "b", "default")
    make(tmp_path / "first", faces / "a")
    shutil.copytree(tmp_path / "first", tmp_path / "count")
    with injected(Shim(tmp_path / "count")) as shim:
        make(tmp_path / "count", faces / "b", "default")
    assert shim.count > 20
    for n in range(1, shim.count + 1):
        store = Store(tmp_path / f"s{n}")
        shutil.copytree(tmp_path / "first", store.root)
        with injected(Shim(store.root, n, 5)):
            try:
                make(store.root, faces / "b", "default")
            except Exception:
                assert verify(store) == []
        make(store.root, faces / "b", "default")
        for name in ("report_path", "quarantine_path"):
            path = getattr(store, name)("default")
            assert path.read_bytes() == getattr(whole, name)("default").read_bytes(), (n, name)


def test_what_is_forgotten_leaves_a_list_that_is_sealed(faces, tmp_path):
    store = Store(tmp_path / "s")
    make(store.root, faces / "a")
    make(store.root, faces / "b", "default")
    store.forget(ids=["pa"])
    assert refused(store) == ["pb/bad.png"] and verify(store) == []
    assert store.report("default").lists
