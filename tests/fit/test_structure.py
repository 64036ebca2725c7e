"""What mean spectra tell of how small pictures became crops."""

from dataclasses import replace

import pytest

from lrfr.degrade.ops.misalign import FILTERS
from lrfr.fit.look.container_marks import Container
from lrfr.fit.look.crop_files import Crops
from lrfr.fit.look.enlargement import WayUp
from lrfr.fit.structure_scan import Scan, Structure
from tests.fit.cameras import person, seen

FILE = Container("jpeg", 92, True, "444")
PLAIN = Structure(((58, 1.0),), "spectrum", "bicubic", True, WayUp("bicubic", True, 112), FILE)
CUTS = {cut: replace(PLAIN, warped=True, cut=cut) for cut in FILTERS}


@pytest.mark.parametrize("name", ["plain", *FILTERS])
def test_how_a_small_picture_became_a_crop_is_told_by_its_spectrum(name):
    known = {"plain": PLAIN, **CUTS}
    steps = str([dict(step) for step in known[name].spec().as_json()["pipeline"]])
    crops = tuple(seen(24, steps=steps))
    scan = Scan(Crops(("",) * 24, crops, FILE, 112, (), {}), [person(100 + k) for k in range(24)])
    assert min(known, key=lambda one: scan._distance(known[one])) == name


def test_a_cut_stands_after_the_small_picture_in_every_spec_of_a_camera():
    steps = CUTS["cubic"].spec().as_json()["pipeline"]
    assert [step["op"] for step in steps] == ["down", "jpeg", "misalign", "jpeg"]
    assert steps[2]["filter"] == "cubic" and steps[2]["size"] == 112
