"""Lists drawn by hashes of names: balanced, disjoint, hard where asked, the same in any order, stable."""

import csv
import hashlib
import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from click.testing import CliRunner

from lrfr.cli.main import cli
from lrfr.core.errors import DataError, SpecError
from lrfr.eval.pairs.face_table import face_table, table_of_source, table_of_view
from lrfr.eval.pairs.hash_draw import Deck, hashes, stirred
from lrfr.eval.pairs.list_files import gallery_texts, pairs_text, write_gallery, write_pairs
from lrfr.eval.pairs.made_lists import GalleryPlan, PairPlan, make_gallery, make_pair_list
from lrfr.eval.protocols.identify import run_lists
from lrfr.eval.protocols.pair_lists import read_pairs_tsv
from lrfr.eval.settings import Settings, Task
from tests.eval.world import color_embed, identity_picture, save
from tests.pairs.toy import ToySource, build


@dataclass(frozen=True)
class Crowd(ToySource):
    """People of whom some have one image or no name, in any order; ``Odd`` is unknown of every fifth face."""

    shuffle: int = 0
    lone: int = 0
    nameless: int = 0

    def faces(self):
        kept = []
        for number, face in enumerate(super().faces()):
            person, image = face.place
            if person < self.lone and image:
                continue
            face = replace(face, label="") if self.lone <= person < self.lone + self.nameless else face
            kept.append(replace(face, attributes={}) if number % 5 == 0 else face)
        random.Random(self.shuffle).shuffle(kept)
        return kept


def lines(made):
    return list(made.rows())


def test_a_list_is_balanced_disjoint_and_true():
    faces = table_of_source(Crowd(ids=150, per_id=5, lone=10, nameless=10))
    made = make_pair_list(faces, PairPlan(pairs=1000))
    assert not made.notes
    person_of = {face.key: face.label for face in Crowd(ids=150, per_id=5, lone=10, nameless=10).faces()}
    people_of_fold = {}
    for a, b, same, fold, id_a, id_b in lines(made):
        assert (person_of[a], person_of[b]) == (id_a, id_b) and id_a and id_b
        assert a != b and (same == "1") == (id_a == id_b)
        people_of_fold.setdefault(fold, set()).update((id_a, id_b))
    assert Counter((fold, same) for _, _, same, fold, *_ in lines(made)) == {
        (str(fold), same): 50 for fold in range(10) for same in "01"
    }
    assert len({frozenset(row[:2]) for row in lines(made)}) == 1000
    assert all(not a & b for a, b in itertools.combinations(people_of_fold.values(), 2))


def test_every_person_gives_a_genuine_pair_before_one_gives_the_next():
    made = make_pair_list(table_of_source(ToySource(200, 6)), PairPlan(pairs=300, folds=2))
    of = Counter(row[4] for row in lines(made) if row[2] == "1")
    assert set(of.values()) <= {1, 2}
    few = make_pair_list(table_of_source(ToySource(300, 6)), PairPlan(pairs=200, folds=2))
    assert set(Counter(row[4] for row in lines(few) if row[2] == "1").values()) == {1}


def _hash(text):
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _stir(value, *salt):
    x = value ^ int.from_bytes(hashlib.blake2b(repr(salt).encode(), digest_size=8).digest(), "little")
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> shift)) * factor % 2**64
    return x ^ (x >> 31)


def test_a_round_is_what_plain_python_makes_of_its_rule():
    keys = [f"{person}/{image}" for person in range(7) for image in range(4)]
    person = np.repeat(np.arange(7), 4)
    key_hash, name_hash = ([_hash(text.encode()) for text in texts] for texts in (keys, map(str, range(7))))
    deck = Deck(
        np.arange(28),
        person,
        hashes([key.encode() for key in keys]),
        np.array(name_hash, np.uint64)[person],
        3,
    )
    assert stirred(deck.face_hash, 3, "x").tolist() == [_stir(value, 3, "x") for value in key_hash]

    def images(who, *salt):
        return sorted(range(4 * who, 4 * who + 4), key=lambda face: _stir(key_hash[face], 3, *salt))

    first, second, _ = deck.genuine(5)
    assert list(zip(first, second, strict=True)) == [tuple(images(who, "genuine", 5)[:2]) for who in range(7)]
    ring = sorted(range(7), key=lambda who: _stir(name_hash[who], 3, "ring", 5))
    expected = []
    for who in range(7):
        start = _stir(name_hash[who], 3, "from", 5)
        after = [other for other in ring if _stir(name_hash[other], 3, "ring", 5) >= start]
        way = [*after, *(other for other in ring if other not in after)]
        other = next(other for other in way if other != who)
        expected.append((images(who, "left", 5)[0], images(other, "right", 5)[0]))
    left, right, _ = deck.impostor(5)
    assert list(zip(left, right, strict=True)) == expected


def test_the_order_of_the_faces_decides_nothing_and_the_seed_all():
    texts = {
        pairs_text(make_pair_list(table_of_source(Crowd(ids=80, shuffle=seed)), PairPlan(pairs=400)))
        for seed in range(4)
    }
    assert len(texts) == 1
    other = pairs_text(make_pair_list(table_of_source(Crowd(ids=80)), PairPlan(pairs=400, seed=1)))
    assert other not in texts
    lists = [gallery_texts(make_gallery(table_of_source(Crowd(ids=20, shuffle=seed)))) for seed in (0, 1)]
    assert lists[0] == lists[1]


def test_a_list_changes_little_when_a_tenth_comes():
    before = make_pair_list(table_of_source(ToySource(200, 5)), PairPlan(pairs=1000))
    for more in (ToySource(220, 5), ToySource(200, 6)):
        after = make_pair_list(table_of_source(more), PairPlan(pairs=1000))
        fold_before, fold_after = ({row[4]: row[3] for row in lines(made)} for made in (before, after))
        assert all(fold_after.get(who, fold) == fold for who, fold in fold_before.items())
        stay = len(set(lines(before)) & set(lines(after))) / 1000
        assert stay > 0.6


@pytest.mark.parametrize("hard", [("Odd",), ("Odd", "Odd")])
def test_hard_impostors_agree_where_it_is_known(hard):
    faces = table_of_source(Crowd(ids=150, per_id=5))
    made = make_pair_list(faces, PairPlan(pairs=1000, hard=hard))
    odd = faces.column("Odd")
    left, right = odd[made.left[~made.same]], odd[made.right[~made.same]]
    assert (left == right).all() and (left >= 0).all() and set(left) == {0, 1}
    assert made.same.sum() == (~made.same).sum() == 500
    with pytest.raises(SpecError, match=r"no attribute 'Odds'.*did you mean 'Odd'"):
        make_pair_list(faces, PairPlan(hard=("Odds",)))


def test_few_people_give_what_they_can_and_say_so():
    made = make_pair_list(table_of_source(ToySource(8, 3)))
    assert "8 identities are few: dealt in turn into 4 folds" in made.notes[0]
    # 2 people of 3 images a fold: 6 genuine pairs, of 9 impostors as many
    assert Counter((row[3], row[2]) for row in lines(made)) == {(f, s): 6 for f in "0123" for s in "01"}
    for source in (ToySource(3, 5), Crowd(ids=6, lone=5)):
        with pytest.raises(DataError, match="too few for folds that share nobody"):
            make_pair_list(table_of_source(source))
    with pytest.raises(DataError, match=r"none of 16 faces .* has an identity"):
        make_pair_list(table_of_source(Crowd(ids=2, nameless=2)))


def test_gallery_probes_and_distractors():
    faces = table_of_source(Crowd(ids=30, per_id=5, lone=4, nameless=3))
    made = make_gallery(faces, GalleryPlan(per_id=2))
    named = {key for key, who in zip(faces.keys, faces.person, strict=True) if who >= 0}
    parts = [dict(made.rows(part)) for part in ("gallery", "probe", "distractor")]
    assert set().union(*parts) == named and sum(map(len, parts)) == len(named)
    gallery, probe, distractor = parts
    assert set(Counter(gallery.values()).values()) == {2} and set(gallery.values()) == set(probe.values())
    assert set(distractor.values()) == {f"id{number:03d}" for number in range(4)}
    open_set = make_gallery(faces, GalleryPlan(strangers=0.3))
    strangers = {who for _, who in open_set.rows("distractor")}
    assert len(strangers) > 4 and not strangers & {who for _, who in open_set.rows("gallery")}
    with pytest.raises(DataError, match="more than 5 images"):
        make_gallery(faces, GalleryPlan(per_id=5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: PairPlan(pairs=19),
        lambda: PairPlan(folds=1),
        lambda: GalleryPlan(per_id=0),
        lambda: GalleryPlan(strangers=1.0),
    ],
)
def test_plans_that_make_no_list_are_refused(make):
    with pytest.raises(SpecError):
        make()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    for person, image in itertools.product(range(8), range(3)):
        save(folder / f"per son{person}" / f"{image}.png", identity_picture(person, image))
    return folder


def test_files_are_read_back_as_they_were_made(pictures, tmp_path):
    faces = table_of_source(f"folder:{pictures}")
    made = make_pair_list(faces, PairPlan(pairs=40, folds=4))
    path = write_pairs(made, tmp_path / "deep" / "pairs.tsv")
    found = read_pairs_tsv(path, pictures)
    read = [
        (str(found.images[a].relative_to(pictures)), str(found.images[b].relative_to(pictures)), same, fold)
        for a, b, same, fold in zip(found.left, found.right, found.same, found.fold, strict=True)
    ]
    assert read == [(a, b, same == "1", int(fold)) for a, b, same, fold, *_ in lines(made)]
    assert found.identity is not None
    head, *rest = path.read_text().splitlines()
    assert json.loads(head.removeprefix("# lrfr pairs "))["seed"] == 0
    assert [tuple(row) for row in csv.reader(rest[1:], delimiter="\t")] == lines(made)
    folder = write_gallery(make_gallery(faces, GalleryPlan(strangers=0.4)), tmp_path / "lists")
    results = run_lists(f"{folder},root={pictures}", Task(color_embed, Settings(sizes=(24,), replicates=0)))
    assert (
        results[0].counts["n_gallery"] + results[0].counts["n_probe"] + results[0].counts["n_distractor"]
        == 24
    )
    write_gallery(make_gallery(faces), folder)  # nobody is a distractor now
    assert not (folder / "distractor.tsv").exists()


def test_a_view_gives_the_faces_that_it_shows(tmp_path):
    build(tmp_path / "store", Crowd(lone=3, nameless=2))
    of_view = table_of_view(tmp_path / "store")
    of_source = table_of_source(Crowd(lone=3, nameless=2))
    assert (of_view.keys, of_view.people) == (of_source.keys, of_source.people)
    assert np.array_equal(of_view.person, of_source.person)
    assert np.array_equal(of_view.attributes, of_source.attributes)
    assert lines(make_pair_list(of_view, PairPlan(200))) == lines(make_pair_list(of_source, PairPlan(200)))


def test_a_place_is_a_view_or_a_source_and_not_both(tmp_path, monkeypatch):
    build(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    assert face_table("default").origin == face_table("view:default").origin == "view default"
    (tmp_path / "default").mkdir()
    with pytest.raises(SpecError, match="is a view of 'store' and a path"):
        face_table("default")
    with pytest.raises(SpecError, match="a view has its hold-out already"):
        face_table("view:default", holdout=0.2)
    with pytest.raises(SpecError, match=r"it has none; --holdout 0.2 makes it"):
        face_table("synthetic:ids=3,per_id=2", split="test")
    test = face_table("synthetic:ids=40,per_id=2", split="test", holdout=0.2)
    assert 0 < len(test.people) < 40


def test_the_commands_write_lists_and_say_what_comes_next(pictures, tmp_path):
    def told(*words):
        done = CliRunner().invoke(cli, ["make-list", *words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["result"]

    target = tmp_path / "p.tsv"
    found = told("pairs", str(pictures), "--pairs", "20", "--folds", "2", "--out", str(target))
    assert found["pairs"] == len(target.read_text().splitlines()) - 2 == 20
    assert found["next"] == f"lrfr eval RUN --benchmark pairs-tsv --data {target},root={pictures}"
    found = told("gallery", str(pictures), "--out", str(tmp_path / "g"))
    assert (found["gallery"], found["probe"], found["distractor"]) == (8, 16, 0)
