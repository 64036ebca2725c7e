"""The source of mixed pictures: each is what its key says, whatever the order of discovery, and never of two
splits.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from lrfr.core.errors import SpecError
from lrfr.core.lists import is_held_out
from lrfr.core.streams import stream
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.base import Face, Source
from lrfr.pairs.sources.listed.mixup import MixupSource
from lrfr.pairs.sources.table import open_source


class Toy(Source):
    """Twelve pictures of one color each, half of them of a split ``dev``, in any order."""

    kind = "toy"

    def __init__(self, order=range(12), dev=True):
        self.order, self.dev = list(order), dev

    def faces(self):
        return [
            Face(
                f"t{n:02d}",
                f"p{n // 2}",
                n,
                split="dev" if self.dev and n % 2 else "",
                fault="E_READ" if n == 4 else "",
            )
            for n in self.order
        ]

    def read(self, place):
        return np.full((30 + place, 30, 3), (place * 20, 255 - place, 7), np.uint8)


def test_a_mix_is_what_its_key_says():
    source = MixupSource((Toy(),), 60, seed=3, size=16)
    listing = source.listing()
    faces, mixes = listing.faces[:12], listing.faces[12:]
    assert [source.read(face.place).shape for face in faces][:2] == [(30, 30, 3), (31, 30, 3)]
    assert listing.seen["mixed face"] == len(mixes) == len({face.key for face in mixes}) > 40
    for mix in mixes:
        share, first, second = re.fullmatch(r"mixup/(\d+)/t(\d+)\+t(\d+)", mix.key).groups()
        a, b, share = int(first), int(second), int(share) / 1000
        assert a != b and 4 not in (a, b) and a % 2 == b % 2  # no refused face, no two splits
        assert mix.split == ("dev" if a % 2 else "") and mix.label == "" and 0.5 <= share <= 1
        wanted = share * np.array([a * 20, 255 - a, 7]) + (1 - share) * np.array([b * 20, 255 - b, 7])
        pixels = source.read(mix.place)
        assert pixels.shape == (16, 16, 3) and np.abs(pixels.reshape(-1, 3) - wanted).max() <= 0.5 + 1e-9


def test_mixes_do_not_depend_on_the_order_of_discovery():
    keys = [
        {face.key for face in MixupSource((Toy(order),), 30).listing().faces}
        for order in (range(12), range(11, -1, -1))
    ]
    assert keys[0] == keys[1]
    assert keys[0] != {face.key for face in MixupSource((Toy(),), 30, seed=1).listing().faces}


def test_identities_may_be_kept_out_of_all_mixes(tmp_path):
    (tmp_path / "hidden.txt").write_text("p000001\n\np000002\n")
    text = f"mixup:count=80,seed=2,without={tmp_path}/hidden.txt,of=synthetic:ids=5,per_id=2,seed=1"
    faces = open_source(text).listing().faces
    assert {face.label for face in faces[:10]} == {f"p{n:06d}" for n in range(5)}
    assert all("p000001" not in face.key and "p000002" not in face.key for face in faces[10:])
    faces = open_source("mixup:count=80,holdout=0.5,of=synthetic:ids=8,per_id=2,seed=1").listing().faces
    people = {label: is_held_out(label, 0.5) for label in {face.label for face in faces[:16]}}
    shown = {word for face in faces[16:] for word in re.findall(r"p\d{6}", face.key)}
    assert shown == {label for label, held in people.items() if not held} and len(shown) < 8


def test_a_store_of_mixes_has_their_pictures_and_is_the_same_again(tmp_path):
    text = "mixup:count=6,seed=1,of=synthetic:ids=2,per_id=2,seed=0|synthetic:ids=1,per_id=2,seed=9"
    view = make_pairs(text, "maug-paper", store=tmp_path / "store")
    again = make_pairs(text, "maug-paper", store=tmp_path / "store")
    assert view.id == again.id and again.done.hr_written == 0 and view.done.rows == 12
    source, dataset = open_source(text), PairDataset(tmp_path / "store")
    places = {face.key: face.place for face in source.listing().faces}
    assert dataset.labels.min() == -1 and (dataset.labels < 0).sum() == 6
    for row in range(12):
        stored = dataset[row]["hr"].permute(1, 2, 0).numpy().astype(int)
        assert np.abs(stored - source.read(places[dataset.key(row).decode()])).mean() < 6  # JPEG
    mix = next(face for face in source.listing().faces if face.place[4])
    other = replace(mix, place=(*mix.place[:4], mix.place[4] - 1))
    assert source.fingerprint(mix.place) != source.fingerprint(other.place) is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mixup:of=synthetic", "how many"),
        ("mixup:count=4", "no sources"),
        ("mixup:count=0,of=synthetic", "whole number from 1"),
        ("mixup:cuont=4,of=synthetic", "no 'cuont'"),
        ("mixup:count=4,of=synthetic:ids=1,per_id=1", "two faces"),
        ("mixup:count=4,of=mixup:count=4,of=synthetic:ids=2", "no mixes"),
    ],
)
def test_what_cannot_be_mixed_is_said(text, words):
    with pytest.raises(SpecError, match=words):
        open_source(text).listing()


def test_mixes_are_those_of_a_loop_over_single_draws():
    source = MixupSource((Toy(),), 4000, seed=5)
    listing = source.listing()
    groups = {"": [n for n in range(0, 12, 2) if n != 4], "dev": list(range(1, 12, 2))}
    order, wanted = groups[""] + groups["dev"], {}
    for a, b, s in stream(5, b"mixup", 0, "pairs").generator().random((4000, 3)).tolist():
        at = int(a * len(order))
        split = "dev" if at >= len(groups[""]) else ""
        rows = groups[split]
        here = rows.index(order[at])
        other = rows[(here + 1 + int(b * (len(rows) - 1))) % len(rows)]
        wanted[f"mixup/{round(1000 * (0.5 + 0.5 * s))}/t{order[at]:02d}+t{other:02d}"] = split
    assert [(face.key, face.split) for face in listing.faces[12:]] == list(wanted.items())
    assert len(wanted) < 4000 and f"mixup: {len(wanted)} mixes of 4000" in listing.notes[-1]


@pytest.mark.parametrize(
    "text, words",
    [
        ("count=3,count=4,of=synthetic:ids=2", "'count' stands there twice"),
        ("count=9,holdout=0.99,of=synthetic:ids=3", "besides those held out"),
    ],
)
def test_what_is_said_twice_or_holds_all_out_is_refused(text, words):
    with pytest.raises(SpecError, match=words):
        open_source(f"mixup:{text}").listing()
