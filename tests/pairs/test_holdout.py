"""A hold-out is a property of names: no identity in both splits, and none ever changes its side."""

import hashlib
import json
import random
import unicodedata
from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner

from lrfr.cli.main import cli
from lrfr.core.errors import SpecError
from lrfr.core.lists import is_held_out
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.estimate import estimate
from lrfr.pairs.build.ingest import IngestOptions, hold_out, open_ingest
from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
from lrfr.pairs.care.compact import compact
from lrfr.pairs.care.view_summary import summarize
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.reading.dataset import PairDataset
from tests.pairs.toy import SPEC, ToySource, WithSplits, ingest

SERIAL = Runner("serial")


@dataclass(frozen=True)
class Shuffled(ToySource):
    """The faces in another order, those of some identities without a label."""

    seed: int = 0
    unlabelled: int = 0

    def faces(self):
        faces = super().faces()
        random.Random(self.seed).shuffle(faces)
        strangers = {f"id{number:03d}" for number in range(self.unlabelled)}
        return [replace(face, label="") if face.label in strangers else face for face in faces]


def sides(source, share=0.2):
    return {face.key: face.split for face in hold_out(ingest(source), share).faces()}


def made(folder, source, *, options=None, **view):
    asked = ViewOptions(**view)
    return make_pairs(
        ingest(source), parse_spec(SPEC), store=folder / "s", view=asked, options=options, runner=SERIAL
    )


def by_hand(name, share=0.2, kind=b"identity"):
    keyed = hashlib.blake2b(name.encode(), key=b"lrfr hold-out 24", person=kind, digest_size=8)
    return int(keyed.hexdigest(), 16) / 2**64 < share


def test_the_side_is_the_hash_of_the_name_computed_by_hand():
    source = Shuffled(ids=40, per_id=3, unlabelled=5)
    for face in hold_out(ingest(source), 0.2).faces():
        out = by_hand(face.label) if face.label else by_hand(face.key, kind=b"key")
        assert face.split == ("test" if out else "train")


def test_no_identity_is_on_both_sides_and_about_the_share_is_held_out():
    names = [f"person {number}" for number in range(20_000)]
    for share in (0.05, 0.2, 0.5):
        found = sum(is_held_out(name, share) for name in names) / len(names)
        assert abs(found - share) < 4 * (share * (1 - share) / len(names)) ** 0.5
    held = hold_out(ingest(ToySource(60, 4)), 0.3).faces()
    split_of = {}
    assert all(split_of.setdefault(face.label, face.split) == face.split for face in held)
    assert set(split_of.values()) == {"train", "test"}


def test_nobody_changes_sides_when_a_tenth_of_faces_and_people_comes_or_goes():
    small, large = sides(ToySource(60, 10)), sides(Shuffled(66, 11, seed=5))
    assert {key: large[key] for key in small} == small


def test_a_greater_share_keeps_who_is_held_out():
    few, many = sides(ToySource(60, 1), 0.1), sides(ToySource(60, 1), 0.4)
    assert {key for key, side in few.items() if side == "test"} < {
        key for key, side in many.items() if side == "test"
    }


def test_the_unicode_form_of_a_name_plays_no_part():
    names = [f"Zoë Müller {number}" for number in range(200)]
    assert [is_held_out(unicodedata.normalize("NFD", name), 0.5) for name in names] == [
        is_held_out(unicodedata.normalize("NFC", name), 0.5) for name in names
    ]


def test_a_view_keeps_the_training_part_and_the_test_part_is_read_by_its_name(folder):
    view = made(folder, ToySource(), holdout=0.2)
    people = {f"id{number:03d}" for number in range(24)}
    out = {name for name in people if by_hand(name)}
    train, test = PairDataset(folder / "s"), PairDataset(folder / "s", split="test")
    assert set(train.label_names) == people - out and set(test.label_names) == out
    counts = {"train": (8 * len(people - out), len(people - out)), "test": (8 * len(out), len(out))}
    assert {name: (part.rows, part.identities) for name, part in view.done.splits.items()} == counts
    account = view.done.report.account
    assert account.skipped == {"split": 8 * len(out)} and account.used["face"] == view.done.rows
    # it is the id of a view that keeps just these rows
    assert test.digest == made(folder, ToySource(), name="t", holdout=0.2, split="test").id
    assert view.filter.split == "train" and view.holdout == 0.2


def test_a_store_without_a_hold_out_is_as_it_was(folder):
    view = made(folder, ToySource())
    assert view.filter.split == "" and not view.done.splits
    assert b"holdout" not in (folder / "s" / "views" / "default.json").read_bytes()


def test_a_view_that_grows_keeps_its_hold_out_and_is_that_of_one_go(folder):
    made(folder, ToySource(24), holdout=0.2)
    more = MakeOptions(extend="default")
    grown = make_pairs(ingest(ToySource(30, 9)), store=folder / "s", options=more, runner=SERIAL)
    at_once = made(folder, ToySource(30, 9), name="once", holdout=0.2)
    assert grown.id == at_once.id and grown.holdout == 0.2
    assert grown.done.splits == at_once.done.splits
    assert compact(StoreFiles(folder / "s"), "default").view.holdout == 0.2
    with pytest.raises(SpecError, match=r"'default' holds out 0\.2 .* not 0.3"):
        made(folder, ToySource(31), options=more, holdout=0.3)


def test_a_view_without_hold_out_is_not_given_one_later(folder):
    made(folder, ToySource())
    with pytest.raises(SpecError, match=r"holds out 0 of its identities, not 0\.2"):
        made(folder, ToySource(30), options=MakeOptions(extend="default"), holdout=0.2)


def test_filters_and_hold_out_go_together(folder):
    names = tuple(f"id{number:03d}" for number in range(16))
    view = made(folder, ToySource(), holdout=0.2, ids=names, min_per_id=8)
    assert set(PairDataset(folder / "s").label_names) == {name for name in names if not by_hand(name)}
    assert set(PairDataset(folder / "s", split="test").label_names) == set(filter(by_hand, names))
    assert sum(part.identities for part in view.done.splits.values()) == 16


def test_splits_that_are_there_are_not_cut_through():
    keys = [face.key for face in ToySource().faces()]
    for name, count in (("dev", 2), ("test", 1)):
        with pytest.raises(SpecError, match=rf"a split already \({name} {count}\)"):
            sides(WithSplits(ToySource(), dict.fromkeys(keys[:count], name)))
    assert sides(WithSplits(ToySource(), dict.fromkeys(keys, "train"))) == sides(ToySource())


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(SpecError, match="a hold-out of"):
        ViewOptions(holdout=share)


def test_who_is_excluded_is_on_no_side(folder):
    options = IngestOptions(size_px=16, exclude_ids=("id003",), color="rgb")
    view = make_pairs(
        open_ingest(ToySource(), options),
        parse_spec(SPEC),
        store=folder / "s",
        view=ViewOptions(holdout=0.2),
        runner=SERIAL,
    )
    assert sum(part.rows for part in view.done.splits.values()) == 184
    assert view.done.report.account.skipped["excluded"] == 8


def test_too_few_identities_are_said():
    few = hold_out(ingest(ToySource(2, 3)), 0.01)
    assert any("2 identities are too few to hold 0.01" in warning for warning in few.warnings)


def test_the_summary_the_plan_and_the_command_say_it(folder):
    made(folder, ToySource(), holdout=0.2)
    out = sum(by_hand(f"id{number:03d}") for number in range(24))
    summary = summarize(StoreFiles(folder / "s"), "default")
    assert summary.splits["test"].identities == out and summary.splits["train"].rows == summary.rows
    planned = estimate(
        StoreFiles(folder / "p"), ingest(), [parse_spec(SPEC)], SERIAL, view=ViewOptions(holdout=0.2)
    )
    assert planned.rows == 192
    line = ["make-pairs", "--source", "synthetic:ids=12,per_id=2", "--holdout", "0.25", "--hr-only"]
    told = CliRunner().invoke(cli, [*line, "--store", str(folder / "c"), "--executor", "serial", "--json"])
    result = json.loads(told.stdout)["result"]
    assert result["splits"]["train"]["rows"] == result["rows"]
    assert sum(part["rows"] for part in result["splits"].values()) == 24
    assert result["account"]["skipped"] == {"split": result["splits"]["test"]["rows"]}
