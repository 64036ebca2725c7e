"""Every method with parents that fit and parents that do not: one line, and options that do make them fit."""

import re
from dataclasses import fields, replace

import pytest

from lrfr.core.errors import SpecError
from lrfr.train.checkpoint import Checkpoint, model_tensors, save
from lrfr.train.methods.base import Wants
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.trial.network_check import check_networks
from lrfr.train.weights.trial.structure import Structure, misfits

MAPS = "maps of 16, 32, 64, 128 and 64, 64, 128, 128 channels"
TWO_MAPS = "maps of 16, 32 and 64, 64 channels"
HEADLESS = "the parent has no head"
LAYERS = "their layers are not the same"
CONNECTED = ["connector=linear", "connector=conv1x1"]
# method, options, role, the parent's method; fault: words (none where it fits), what makes it fit besides the
# parent's own backbone
FITS = None
CASES = [
    ("fskd", {}, "teacher", "baseline",
     {"width": (MAPS, CONNECTED), "size": FITS, "headless": FITS, "classes": FITS}),
    ("fskd", {"distance": "embedding"}, "teacher", "baseline",
     {"width": FITS, "size": ("embedding sizes 128 and 256", CONNECTED), "headless": FITS, "classes": FITS}),
    ("fskd", {"distance": "kl"}, "teacher", "baseline",
     {"width": FITS, "headless": (HEADLESS, []), "classes": ("8 classes in the view and 5", [])}),
    ("fskd", {"contrast_weight": 1}, "teacher", "baseline",
     {"width": (MAPS, CONNECTED), "size": ("embedding sizes 128 and 256", CONNECTED), "headless": FITS}),
    ("waveresnet", {}, "teacher", "baseline",
     {"width": (TWO_MAPS, CONNECTED), "size": FITS, "headless": (HEADLESS, []),
      "classes": ("8 classes in the view and 5", [])}),
    ("btnet-branch", {}, "trunk", "btnet-trunk",
     {"size": (LAYERS, []), "headless": (HEADLESS, []), "classes": FITS}),
    ("octuplet", {}, "init", "baseline", {"width": (LAYERS, []), "headless": FITS, "classes": FITS}),
    ("baseline", {}, "init", "baseline", {"width": (LAYERS, []), "size": (LAYERS, []), "headless": FITS}),
    ("maug", {"backbone": "tiny"}, "init", "baseline", {"width": (LAYERS, []), "classes": FITS}),
    ("qualnet", {"step": 2}, "step1", "qualnet", {"width": (LAYERS, []), "classes": FITS}),
    ("catface", {}, "init", "baseline", {"size": (LAYERS, []), "headless": FITS}),
    ("catface", {"step": 2}, "step1", "catface", {"classes": FITS}),
]  # fmt: skip
PARENTS = {
    "width": ("tiny-mobilefacenet", 8),
    "size": ("tiny-256d", 8),
    "headless": ("tiny", 0),
    "classes": ("tiny", 5),
}
ALL = [(*case[:4], fault, said) for case in CASES for fault, said in case[4].items()]


@pytest.mark.parametrize(
    ("method", "options", "role", "maker", "fault", "said"),
    ALL,
    ids=["-".join([a[0], *map(str, a[1].values()), a[4]]) for a in ALL],
)
def test_a_parent_fits_or_one_line_says_what_would(
    dataset, tmp_path, method, options, role, maker, fault, said
):
    backbone, classes = PARENTS[fault]
    own = load_recipe(maker, "tiny", {"backbone": backbone})
    names = tuple(dataset.attribute_names)
    nets = own.make().build(classes, None, names)
    identity = ModelIdentity(maker, own.options, classes, names)
    save(tmp_path / "p", Checkpoint(identity.as_dict(), model_tensors(nets), {"step": 0}, {}, {}))
    given = {role: tmp_path / "p"}
    if said is FITS:
        check_networks(load_recipe(method, "tiny", options), given, dataset)
        return
    with pytest.raises(SpecError) as caught:
        check_networks(load_recipe(method, "tiny", options), given, dataset)
    text, (words, connectors) = str(caught.value), said
    assert "\n" not in text and len(text) < 600
    assert all(word in text for word in (words, f"{role} {tmp_path / 'p'} ({maker}, {backbone}", method))
    wanted = [*connectors, *([f"backbone={backbone}"] if backbone != "tiny" else [])]
    fitting = re.findall(r"--set (\S+?)(?= or |; )", text)
    assert fitting == wanted, text
    for change in fitting:
        key, value = change.split("=")
        check_networks(load_recipe(method, "tiny", {**options, key: value}), given, dataset)


PLAIN = Structure(8, (1, 2, 3, 4), {"conv1.weight": (1, 3, 3, 3)}, 5, 112)
# what a method wants, what the parent has otherwise, what is said
DIFFERENCES = [
    (Wants(layers=True), {"layers": {"conv1.weight": (2, 3, 3, 3)}}, LAYERS),
    (Wants(maps=4), {"map_channels": (1, 2, 3, 5)}, "maps of 1, 2, 3, 4 and 1, 2, 3, 5 channels"),
    (Wants(maps=2), {"map_channels": (1, 2, 3, 5)}, None),
    (Wants(maps=4), {"map_channels": ()}, None),  # a foreign file says itself that it gives none
    (Wants(embedding=True), {"width": 9}, "embedding sizes 8 and 9"),
    (Wants(head=True), {"classes": None}, HEADLESS),
    (Wants(head=True), {"classes": 6}, None),
    (Wants(classes=True), {"classes": 6}, "5 classes in the view and 6 in the parent's head"),
    (Wants(size=True), {"input_px": 64}, "trained on faces of 64 px, and the view's have 112"),
    (Wants(size=True), {"input_px": None}, None),
]


@pytest.mark.parametrize(("wants", "other", "said"), DIFFERENCES)
def test_structures_are_compared_without_running_anything(wants, other, said):
    words, size_alone = misfits(PLAIN, replace(PLAIN, **other), wants, 5, 112)
    assert (said is None and not words) or (said in words[0] and len(words) == 1)
    assert size_alone is (bool(words) and "input_px" in other)
    everything = Wants(**{item.name: 4 if item.name == "maps" else True for item in fields(Wants)})
    assert misfits(PLAIN, PLAIN, everything, 5, 112) == ([], False)


def test_a_teacher_of_another_size_is_refused_with_two_ways_out(dataset, tmp_path):
    own = load_recipe("baseline", "tiny", {"backbone": "tiny-gap", "input.size_px": 64})
    identity = ModelIdentity("baseline", own.options, 8, ())
    save(
        tmp_path / "p",
        Checkpoint(identity.as_dict(), model_tensors(own.make().build(8)), {"step": 0}, {}, {}),
    )
    student = load_recipe("fskd", "tiny", {"backbone": "tiny-gap"})
    with pytest.raises(SpecError, match=r"trained on faces of 64 px, .* 112 \(lrfr make-pairs --size 64; or"):
        check_networks(student, {"teacher": tmp_path / "p"}, dataset)
