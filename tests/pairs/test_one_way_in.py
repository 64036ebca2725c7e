"""``lrfr degrade``, ``degrade_images`` and a store make the same LR of the same file."""

import json

import numpy as np
import pytest
from PIL import Image

from lrfr.degrade.spec.model import load_spec
from lrfr.degrade.transforms import degrade_images
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.folder import FolderSource
from tests.core.odd_pictures import XMP
from tests.pairs.zoo import exif, picture, save

SPEC = """version: 1
name: one
image: {size: 32}
pipeline:
- {op: gaussian_blur, sigma: 0.8}
"""


@pytest.fixture
def files(tmp_path):
    """Faces in files of several kinds, by key, and whether a store keeps their bytes."""
    rgb, large = Image.fromarray(picture(1, 32)), Image.fromarray(picture(2, 50))
    kept = {
        "a/plain.jpg": save(rgb, "JPEG"),
        "a/progressive.jpg": save(rgb, "JPEG", progressive=True),
        "b/gray.jpg": save(rgb.convert("L"), "JPEG"),
        "b/upright.jpg": save(rgb, "JPEG", exif=exif(1)),
    }
    recoded = {
        "c/turned.jpg": save(rgb, "JPEG", exif=exif(6)),
        "c/by xmp.jpg": save(rgb, "JPEG", xmp=XMP % 3),
        "c/cmyk.jpg": save(rgb.convert("CMYK"), "JPEG"),
        "d/large.jpg": save(large, "JPEG"),
        "d/lossless.png": save(rgb, "PNG"),
        "d/deep.pgm": b"P5 32 32 4095\n" + (picture(3, 32)[..., 0].astype(">u2") * 16).tobytes(),
    }
    for name, data in (kept | recoded).items():
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "one.yaml").write_text(SPEC)
    return {**dict.fromkeys(kept, True), **dict.fromkeys(recoded, False)}


def test_command_library_and_store_agree(lrfr, tmp_path, folder, files):
    root = tmp_path / "faces"
    code, out, error = lrfr("degrade", str(root), "--spec", "one.yaml", "--out", "out", "--json")
    assert code == 0, error
    assert json.loads(out)["result"]["recoded"] == sum(not kept for kept in files.values())
    source = Ingest(FolderSource(root), BaseOptions(Prepare(size_px=32)))
    made = make_pairs(source, [load_spec(tmp_path / "one.yaml")], store=folder / "store")
    dataset = PairDataset(folder / "store", made.name)
    batch = dataset.batch(np.arange(len(dataset)), 0)
    stored = dict(
        zip([dataset.key(row).decode() for row in range(len(dataset))], batch.lr_bchw.numpy(), strict=True)
    )
    assert stored.keys() == files.keys()
    for key, kept in files.items():
        (by_library,) = degrade_images([root / key], str(tmp_path / "one.yaml"), keys=[key])
        by_command = np.asarray(Image.open((tmp_path / "out" / key).with_suffix(".v0.png")))
        np.testing.assert_array_equal(by_command, by_library, err_msg=key)
        if kept:
            np.testing.assert_array_equal(stored[key].transpose(1, 2, 0), by_library, err_msg=key)


def test_the_preview_says_where_a_store_differs(lrfr, files):
    code, _, error = lrfr("degrade", "faces", "--spec", "one.yaml", "--out", "out", "--preview")
    assert code == 0 and "6 of 10 faces are no JPEG of 32 px" in error
