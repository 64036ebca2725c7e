"""Specs that can be run, and where two of them differ."""

import inspect
import re

import pytest

from lrfr.core.errors import SpecError
from lrfr.degrade.inspect.spec_check import Difference, check_specs, compare, differences
from lrfr.degrade.ops.table import OPS


def test_differences_go_into_mappings_and_lists_of_mappings_only():
    one = {"a": {"b": 1, "c": [1, 2]}, "steps": [{"op": "x"}, {"op": "y"}], "same": 3}
    other = {"a": {"b": 2, "c": [1, 3]}, "steps": [{"op": "x"}], "same": 3, "new": True}
    assert list(differences(one, other)) == [
        Difference("a.b", 1, 2),
        Difference("a.c", [1, 2], [1, 3]),
        Difference("steps[1]", {"op": "y"}, None),
        Difference("new", None, True),
    ]


def test_a_preset_is_itself():
    found = compare("fskd", "fskd-paper")
    assert found.same_pixels and not found.differences


def test_good_and_bad_specs_are_told_apart():
    found, faults = check_specs(["fskd", "no-such-spec"], ())
    assert [item.spec for item in found] == ["fskd-paper"] and len(found[0].digest) == 64
    assert [fault.exit_code for fault in faults] == [2]


def test_a_checked_spec_says_which_quality_components_it_lowers():
    text = "version: 1\npipeline: [{op: gaussian_blur, sigma: 1}, {op: jpeg, quality: 40}, {op: jpeg, quality: 9}]"
    (found,), faults = check_specs([text])
    assert not faults and found.lowers == (OPS["gaussian_blur"].iso, OPS["jpeg"].iso)


ALBUMENTATION = (
    "version: 1\nname: a\npipeline:\n  - {{op: albumentations, id: a, transform: {}, params: {{{}}}}}\n"
)


@pytest.mark.parametrize(
    ("transform", "params"),
    [
        ("Crop", ""),
        ("MaskDropout", ""),
        ("Mosaic", ""),
        ("RandomCropNearBBox", ""),
        ("BBoxSafeRandomCrop", ""),
        ("FromFloat", ""),
        ("TextImage", "font_path: /etc/passwd"),
        ("TextImage", "font_path: /dev/zero"),
        ("Lambda", ""),
    ],
)
def test_a_spec_is_tried_on_a_face(transform, params, tmp_path):
    """What wants masks, boxes, larger pictures or a file that is none is an error of the spec, before any run."""
    (tmp_path / "a.yaml").write_text(ALBUMENTATION.format(transform, params))
    found, faults = check_specs([str(tmp_path / "a.yaml")])
    assert not found and len(faults) == 1
    assert transform in str(faults[0]) and isinstance(faults[0], SpecError)


def test_no_run_begins_with_a_spec_that_cannot_take_a_face(tmp_path):
    from lrfr.pairs.build.make import make_pairs

    (tmp_path / "a.yaml").write_text(ALBUMENTATION.format("Crop", ""))
    with pytest.raises(SpecError, match="Crop cannot take a face"):
        make_pairs("synthetic:ids=2,per_id=2", tmp_path / "a.yaml", store=tmp_path / "store")
    assert not list((tmp_path / "store").glob("base/*"))


def test_no_transform_that_a_spec_may_name_reads_a_file_or_calls_what_it_is_given():
    import albumentations

    from lrfr.degrade.ops.albumentation import _REFUSED

    kinds = [getattr(albumentations, name) for name in set(dir(albumentations)) - _REFUSED]
    image = albumentations.ImageOnlyTransform | albumentations.DualTransform
    words = {
        word
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, image)
        for word in inspect.signature(kind.__init__).parameters
    }
    assert len(words) > 50
    assert not [word for word in words if re.search(r"path|file|url|_fn|func|reference", word)]
