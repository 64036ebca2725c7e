"""What the hunt has found: each stays a case by hand."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from lrfr import load_spec
from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import encode_png
from lrfr.experiment.steps.fitting.fit_here import FitWishes, check_asked
from lrfr.pairs.align.photo_task import PhotoRow
from lrfr.pairs.sources.table import open_source
from lrfr.train.checkpoint import Checkpoint
from lrfr.train.weights.foreign.names.shards import read_index
from lrfr.train.weights.load_nets import _check_classes
from lrfr.train.weights.model_identity import ModelIdentity
from tests.hunt.kept_samples import ALIGN

LONG = "a" * 300


def test_a_member_without_a_name_is_counted(tmp_path):
    face = encode_png(np.zeros((112, 112, 3), np.uint8))
    info = zipfile.ZipInfo("x")
    info.filename = ""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("ann/1.png", face)
        archive.writestr(info, face)
    listing = open_source(str(tmp_path / "a.zip")).listing()
    assert [f.key for f in listing.faces if not f.fault] == ["ann/1"]
    assert [other.why for other in listing.others] == ["E_NAME"] and listing.seen == {"member": 2}


@pytest.mark.parametrize(
    "value", ["inf", "1.5", None, True, [1.0], float("inf"), float("nan"), 2**70 * 1e300]
)
@pytest.mark.parametrize("place", ["points", "score", "residual_px", "remarks"])
def test_a_row_of_an_alignment_holds_finite_numbers(place, value):
    row = json.loads(json.dumps(ALIGN[1]))
    assert PhotoRow.from_json(row).crops[0].score == 0.5
    made = {"points": [1.5] * 9 + [value], "remarks": [{"code": "small", "value": value}]}
    row["crops"][0][place] = made.get(place, value)
    with pytest.raises(TypeError):
        PhotoRow.from_json(row)


def test_a_number_of_classes_is_one_that_a_checkpoint_may_have(tmp_path):
    identity, empty = ModelIdentity("baseline", {}), Checkpoint({}, {}, {}, {}, {})
    for count in (0, 7, 2**20):
        _check_classes(replace(identity, num_classes=count), empty, tmp_path)
    for count in (-1, 2**20 + 1, 2**62):
        with pytest.raises(DataError, match=f"damaged: {count} classes"):
            _check_classes(replace(identity, num_classes=count), empty, tmp_path)


def test_names_that_no_file_can_have_are_missing_files(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": f"{LONG}.safetensors"}}))
    with pytest.raises(DataError, match="a part is missing"):
        read_index(index)
    for weights in (LONG, f"{LONG}/b.safetensors"):
        with pytest.raises(SpecError, match="no style weights"):
            load_spec(f"version: 1\npipeline:\n  - {{op: style, weights: {weights}}}\n")
    for place in (f"recordio:{LONG}", f"folder:{LONG}", f"zip:{LONG}"):
        with pytest.raises(SpecError, match="expected the path of a source"):
            open_source(place)
    with pytest.raises(SpecError, match="expected the path of a recognizer"):
        check_asked("synthetic:ids=60", tmp_path / "camera.yaml", FitWishes(teacher=LONG))
