"""A kept listing is what listing anew gives, and is given only while every file behind it is as it was."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from lrfr.pairs.build.ingest import IngestOptions, open_ingest
from lrfr.pairs.build.look.listing_cache import ListingCache
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.sources.base import Face, Listing, Source
from lrfr.pairs.sources.listing.face_blob import pack_faces, unpack_faces
from lrfr.pairs.sources.listing.face_list import FaceList
from lrfr.pairs.sources.packed import members
from lrfr.pairs.sources.packed.archive import TarSource
from lrfr.pairs.sources.table import open_source
from lrfr.pairs.store import Store
from tests.pairs.test_archives import IMAGES, tar_bytes, write
from tests.pairs.test_round_trips import MAKERS, RGB

FILES = [(f"id{n % 2}/{n}.jpg", data) for n, data in enumerate(IMAGES)]


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Files that were written a moment ago count as old: which do is shown in test_scan."""
    monkeypatch.setattr("lrfr.pairs.build.look.scan_cache.TICK_NS", -1_000_000_000)


@pytest.fixture
def listings(monkeypatch):
    """Count how often an archive is listed."""
    seen, real = [], TarSource.listing
    monkeypatch.setattr(TarSource, "listing", lambda self: seen.append(self.path) or real(self))
    return seen


def once(source, folder):
    kept = ListingCache(folder, source)
    found = kept.listing()
    kept.save()
    return found, kept.notes


def same(left: Listing, right: Listing) -> bool:
    told = [
        (item.unit, item.seen, item.used, item.others, item.notes, item.left_out) for item in (left, right)
    ]
    columns = [
        [*(part.tobytes() for part in item.faces.key_columns()), item.faces.attributes()[1]]
        for item in (left, right)
    ]
    return left.faces == right.faces and told[0] == told[1] and columns[0] == columns[1]


PACKED = {"tar", "zipped", "rec", "mdb", "parquet", "arrow"}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_kept_listing_is_that_of_the_source(tmp_path, make):
    (tmp_path / "in").mkdir()
    source = open_source(str(make(tmp_path / "in")))
    first, _ = once(source, tmp_path / "c")
    second, notes = once(source, tmp_path / "c")
    assert same(first, second) and same(first, source.listing()) and not notes
    assert (make.__name__ in PACKED) == any((tmp_path / "c").glob("listing-*"))
    for face, other in zip(first.faces, second.faces, strict=True):
        assert type(face.place) is type(other.place)
        assert source.read(face.place) is not None


def test_odd_faces_come_back():
    faces = FaceList(
        [
            Face("a\udcff", "x", ("s", 1, 2), {"Old": 1}, "dev"),
            Face("b", "", ("t", 2**40, 3), {"Old": 300, "Bald": 0}),
            Face("c", "x", b"\xff\0", {}, "dev", "E_LABEL", "told"),
            Face("d", "y", ("s", 1, 2), {"Bald": 1}),
        ]
    )
    header, blobs = pack_faces(faces)
    back = unpack_faces(header, [memoryview(data) for data in blobs])
    assert list(back) == list(faces) and back.faults == faces.faults and len(FaceList(back)) == 4
    for cut in range(len(blobs)):
        short = [memoryview(data[:-8] if number == cut else data) for number, data in enumerate(blobs)]
        if len(blobs[cut]):
            with pytest.raises((ValueError, IndexError)):
                unpack_faces(header, short)


@pytest.mark.parametrize("form", ["file", "folder", "pattern"])
def test_any_change_of_an_archive_is_noticed(tmp_path, listings, form):
    path = write(tmp_path / "in" / "s-0.tar", FILES)
    place = {"file": path, "folder": path.parent, "pattern": f"tar:{path.parent}/s-*.tar"}[form]
    source = open_source(str(place))
    once(source, tmp_path / "c")
    assert (
        once(source, tmp_path / "c")[0].faces == once(source, tmp_path / "c")[0].faces and len(listings) == 1
    )
    stamp = path.stat()
    changes = [
        lambda: path.write_bytes(tar_bytes([(name.replace("id1", "id7"), data) for name, data in FILES])),
        lambda: os.utime(path),
        lambda: (shutil.copy2(path, f"{path}.new"), os.replace(f"{path}.new", path)),
    ]
    if form != "file":
        changes.append(lambda: shutil.copy2(path, path.with_name("s-1.tar")))
    if form == "folder":
        changes.append(lambda: (path.parent / "notes.txt").write_text("x"))
    for number, change in enumerate(changes, 2):
        change()
        if number == 2:
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as a copy with times kept leaves it
        found, _ = once(source, tmp_path / "c")
        assert len(listings) == number and same(found, open_source(str(place)).listing())
        listings.pop()
        once(source, tmp_path / "c")
        assert len(listings) == number
    if form == "folder":
        (path.parent / "link.tar").symlink_to(path)
        for _ in range(2):
            once(source, tmp_path / "c")
        assert len(listings) == number + 2  # what a link leads to is not watched


def test_what_is_too_young_or_could_not_be_read_is_not_kept(tmp_path, listings, monkeypatch):
    path = write(tmp_path / "x.tar", FILES)
    path.write_bytes(path.read_bytes()[:-9000])
    for _ in range(2):
        assert any(
            other.why == "E_TRUNCATED" for other in once(open_source(str(path)), tmp_path / "c")[0].others
        )
    write(path, FILES)
    monkeypatch.setattr("lrfr.pairs.build.look.scan_cache.TICK_NS", 10**15)
    for _ in range(2):
        once(open_source(str(path)), tmp_path / "c")
    assert len(listings) == 4 and not (tmp_path / "c").exists()


def test_damage_costs_a_listing_and_a_word(tmp_path, listings):
    path = write(tmp_path / "x.tar", FILES)
    source = open_source(str(path))
    whole, _ = once(source, tmp_path / "c")
    (kept,) = (tmp_path / "c").glob("listing-*")
    data = kept.read_bytes()
    torn = [b"", data[:30], data[:-1], data + b"x", b"\0" * len(data)]
    torn += [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in (0, 8, 40, 44, 90, len(data) - 1)]
    for number, bad in enumerate(torn, 2):
        kept.write_bytes(bad)
        found, notes = once(source, tmp_path / "c")
        assert same(found, whole) and len(listings) == number and "damaged" in notes[0]
        assert kept.read_bytes() == data


def test_the_same_command_again_reads_no_archive(tmp_path, monkeypatch):
    """Neither its headers nor an image: with every read broken it says what it said."""
    for make in ("tar", "zip"):
        path = tmp_path / f"x.{make}"
        if make == "tar":
            write(path, FILES)
        else:
            import zipfile

            with zipfile.ZipFile(path, "w") as archive:
                for name, data in FILES:
                    archive.writestr(name, data)
        store = tmp_path / make
        first = make_pairs(str(path), [], store=store)
        with monkeypatch.context() as patched:

            def broken(*_: object) -> bytes:
                raise AssertionError("read")

            for name in ("_tar_members", "_zip_members", "read_member"):
                patched.setattr(members, name, broken)
            patched.setattr("lrfr.pairs.sources.packed.archive.read_member", broken)
            again = make_pairs(str(path), [], store=store)
        assert (again.id, again.done.hr_written, again.done.report) == (first.id, 0, first.done.report)
        assert again.done.warnings == first.done.warnings


def test_a_first_look_is_kept_for_folders_too(tmp_path, monkeypatch):
    for name, data in FILES:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data[:-2] + b"\xff\xd9")
    reads, real = [], type(open_source(str(tmp_path / "in"))).read
    monkeypatch.setattr(
        "lrfr.pairs.sources.folder.FilesSource.read",
        lambda self, place: reads.append(place) or real(self, place),
    )

    def warnings(options=None):
        ingest = open_ingest(str(tmp_path / "in"), options, tmp_path / "c")
        ingest.kept.save()
        return ingest.warnings

    told = warnings()
    assert reads
    reads.clear()
    assert warnings() == told and not reads
    (tmp_path / "in" / FILES[0][0]).write_bytes(FILES[1][1])
    assert warnings() == told and reads
    (kept,) = (tmp_path / "c").glob("looks-*")
    kept.write_bytes(kept.read_bytes().replace(b"[", b"{", 1))
    assert "damaged" in warnings()[-1] and warnings() == told


def test_names_that_are_not_wanted_stand_in_no_cache(tmp_path):
    path = write(tmp_path / "x.tar", FILES)
    taken = MakeOptions(ingest=IngestOptions(color="rgb", exclude_ids=("id1",)))
    make_pairs(str(path), [], store=tmp_path / "s", options=taken)

    def naming():
        files = [found for found in (tmp_path / "s").rglob("*") if found.is_file()]
        return [found for found in files if b"id1" in found.read_bytes()]

    assert not naming()
    make_pairs(str(path), [], store=tmp_path / "t", options=RGB)
    (tmp_path / "t").rename(tmp_path / "s2")
    shutil.rmtree(tmp_path / "s")
    (tmp_path / "s2").rename(tmp_path / "s")
    assert any("listing-" in found.name for found in naming())
    Store(tmp_path / "s").forget(ids=["id1"])
    assert not naming()
    make_pairs(str(path), [], store=tmp_path / "s", options=RGB)
    assert not naming()


@dataclass(frozen=True)
class Own(Source):
    """A source of another package, which says nothing about its files."""

    path: Path
    kind = "own"

    def faces(self):
        return [Face(self.path.read_text(), "x")]


def test_a_source_that_names_no_files_is_always_listed(tmp_path):
    (tmp_path / "a").write_text("one")
    for text in ("one", "two"):
        (tmp_path / "a").write_text(text)
        assert once(Own(tmp_path / "a"), tmp_path / "c")[0].faces[0].key == text
