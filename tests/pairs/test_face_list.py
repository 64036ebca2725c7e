"""Faces in columns against faces as objects, in plain Python."""

import random

import numpy as np
import pytest

from lrfr.pairs.build.look.distinct import distinct
from lrfr.pairs.build.look.scan_table import Scanned
from lrfr.pairs.build.plan import BaseOptions, make_plan
from lrfr.pairs.sources.base import Face, FaceList, Listing, in_key_order

KEYS = ["a/1", "é", "a/0", "caf\udce9", "", "日本", "b\\1", "a/10", "x" * 300, "a"]
PLACES = {
    "keys": lambda n, key: key,
    "bytes of keys": lambda n, key: key.encode("utf-8", "surrogateescape"),
    "numbers": lambda n, key: n * 10**9,
    "tuples": lambda n, key: ("a.tar", n * 512, 3 - n),
    "nothing": lambda n, key: None,
    "texts": lambda n, key: f"{n}.png",
    "nested": lambda n, key: ("f", (n, n), [n]),
    "numbers beyond": lambda n, key: 2**62 * n - 2**63,
    "keys and others": lambda n, key: key if n % 3 else (n, "b"),
    "bytes and others": lambda n, key: key.encode("utf-8", "surrogateescape") if n % 3 else b"z",
    "mixed": lambda n, key: [n, "x", ("t", n), ("t", n, n), (n, "t"), 1.5, None, ("t",)][n % 8],
    "a tuple and others": lambda n, key: [("t", n), n, ("t", 2**70), None, ("t", "t"), (n, n)][n % 6],
    "empty tuples": lambda n, key: (),
}
ATTRIBUTES = {
    "none": lambda n: {},
    "all": lambda n: {"male": n % 2, "hat": 1},
    "some": lambda n: [{}, {"male": 1}, {"hat": 0, "male": 0}, {}][n % 4],
    "odd values": lambda n: [{"male": 1}, {"male": -1}, {"hat": 100}, {}][n % 4],
}


def faces_of(places, attributes):
    return [
        Face(
            key,
            ["", "ann", "bob", "ann"][n % 4],
            places(n, key),
            attributes(n),
            ["", "train"][n % 2],
            *(("E_LABEL", f"line {n}") if n % 5 == 4 else ("", "")),
        )
        for n, key in enumerate(KEYS)
    ]


@pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES.keys())
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES.keys())
def test_a_list_in_columns_is_the_list(places, attributes):
    plain = faces_of(places, attributes)
    held = FaceList(plain)
    assert list(held) == plain == held and len(held) == len(plain)
    assert [held[n] for n in range(-len(plain), len(plain))] == plain + plain
    assert held[2:5] == plain[2:5] and held[::-1] == plain[::-1] and not FaceList()
    assert held.places(range(len(plain))) == [face.place for face in plain]
    assert [type(place) for place in held.places([3, 1])] == [type(plain[n].place) for n in (3, 1)]
    assert held.faults == {n: (face.fault, face.detail) for n, face in enumerate(plain) if face.fault}
    rows = random.Random(1).choices(range(len(plain)), k=25)
    taken = held.take(np.array(rows))
    assert taken == [plain[n] for n in rows]
    # neither learns what the other is given
    more = Face("new", "cy", 7, {"beard": 1}, "dev", "E_KEY")
    taken += [more, plain[0]]
    assert taken[-2:] == [more, plain[0]] and held == plain
    held.append(more)
    assert held == [*plain, more] and taken[:25] == [plain[n] for n in rows]


def test_the_columns_of_many_are_those_of_few():
    """Faces are put into columns in lots; where a lot ends, and what is odd in one, changes nothing."""
    source = random.Random(5)
    plain = []
    for lot in range(4):
        kinds = source.sample(list(PLACES.values()), 2) if lot else [PLACES["tuples"]]
        for n in range(1024 - (lot == 2)):
            place = source.choice(kinds[: 1 + (n > 900)])(n, f"{lot}/{n}")
            some = ATTRIBUTES["some" if lot > 1 else "none"](n)
            plain.append(Face(f"{lot}/{n}", str(source.randrange(30)), place, some))
    held = FaceList()
    for face in plain:
        held.append(face)
    assert held == plain and held.take(np.arange(900, 3100)) == plain[900:3100]
    with pytest.raises(IndexError):
        held[len(plain)]


def test_half_a_surrogate_pair_is_spelled_with_backslashes():
    held = FaceList([Face("a\ud800", "", 1), Face("caf\udce9", "", 2), Face("b", "", 3)])
    assert [face.key for face in held] == ["a\\ud800", "caf\udce9", "b"]


def test_columns_tell_what_the_faces_tell():
    plain = faces_of(PLACES["keys"], ATTRIBUTES["some"])
    for held, expected in ((FaceList(plain), plain), (FaceList(plain).take(np.arange(3, 9)), plain[3:9])):
        for (numbers, names), told in ((held.labels(), "label"), (held.splits(), "split")):
            assert [names[number] for number in numbers] == [getattr(face, told) for face in expected]
        table, names = held.attributes()
        assert names == tuple(sorted({name for face in expected for name in face.attributes}))
        assert table.tolist() == [[face.attributes.get(name, -1) for name in names] for face in expected]
    changed = FaceList(plain).with_splits(np.arange(len(plain)) % 2, ["x", "y"])
    assert [face.split for face in changed] == ["x", "y"] * 5
    refused = FaceList(plain).refused({0: "E_KEY", 4: "E_KEY"})
    assert (refused[0].fault, refused[4].fault, refused[4].detail) == ("E_KEY", "E_KEY", "line 4")
    assert Listing((plain[0],)).faces == [plain[0]] and isinstance(Listing(()).faces, FaceList)


def test_the_order_of_keys_is_that_of_their_bytes():
    some = [Face(key, "", n) for n, key in enumerate(KEYS)]
    for faces in (some, [face for face in some if len(face.key) < 99], [*some[:3], Face("a\0", ""), *some]):
        expected = sorted(faces, key=lambda face: face.key_bytes)
        assert in_key_order(faces) == expected


def test_distinct_faces_as_told_one_by_one():
    source = random.Random(0)
    for _ in range(30):
        faces = [
            Face(source.choice("abcdefgh") * 2, source.choice(["x", "y", "z\0"]), source.choice([1, 2]))
            for _ in range(source.randrange(14))
        ]
        kept, repeated = distinct(faces)
        whole = [
            Face(face.key, "", face.place, fault="E_LABEL", detail="a NUL in a name")
            if "\0" in face.label
            else face
            for face in faces
        ]
        first = {face.key: face for face in reversed(whole)}
        clash = {face.key for face in whole if first[face.key] != face}
        left = [face for n, face in enumerate(whole) if first[face.key] != face or whole.index(face) == n]
        assert [(face.key, face.label, face.fault) for face in kept] == [
            (face.key, face.label, "E_KEY" if face.key in clash else face.fault) for face in left
        ]
        assert len(repeated) + len(kept) == len(faces)


def test_names_that_no_row_has_are_in_no_row_table():
    """A face that is refused gives the base no label, split or attribute."""
    faces = [Face("1", "b", 1, {"hat": 1}, "train"), Face("2", "a", 2, {"cap": 1}, "dev"), Face("3", "", 3)]
    plan = make_plan(
        faces, [Scanned("00" * 32, 1), Scanned(code="E_READ"), Scanned("11" * 32, 2)], BaseOptions()
    )
    rows = plan.rows
    assert (rows.label_names, rows.split_names, rows.attribute_names) == (("b",), ("", "train"), ("hat",))
    of_key = {face.key: n for n, face in enumerate(plan.faces)}
    assert [rows.labels[of_key[key]] for key in "13"] == [0, -1]
    assert [rows.key(row).decode() for row in range(2)] == [face.key for face in plan.faces]
    assert [rows.splits[of_key[key]] for key in "13"] == [1, 0]
    assert [rows.attributes[of_key[key], 0] for key in "13"] == [1, -1]
