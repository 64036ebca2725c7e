"""Every method with parents that fit and parents that do not: one line, and options that do make them fit."""

import re

import pytest

from lrfr.core.errors import SpecError
from lrfr.train.checkpoint import Checkpoint, model_tensors, save
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.network_check import check_networks

MAPS = "maps of 16x28, 32x14, 64x7, 128x4 and 64x56, 64x28, 128x14, 128x7"
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
     {"width": FITS, "headless": ("no teacher_head", []), "classes": ("8 classes in the view and 5", [])}),
    ("fskd", {"contrast_weight": 1}, "teacher", "baseline",
     {"width": (MAPS, CONNECTED), "size": ("embedding sizes 128 and 256", []), "headless": FITS}),
    ("waveresnet", {}, "teacher", "baseline",
     {"width": (MAPS, []), "size": FITS, "headless": ("no teacher_head", []),
      "classes": ("8 classes in the view and 5", [])}),
    ("btnet-branch", {}, "trunk", "btnet-trunk",
     {"size": (LAYERS, []), "headless": ("there is no head", []), "classes": FITS}),
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
