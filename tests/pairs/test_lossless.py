"""The lossless code of degraded images, and images that are kept as a reference to HR."""

import json

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lrfr.core.errors import DataError, ImageFault
from lrfr.core.image import decode, encode_png
from lrfr.core.image.lossless import decode_lossless, encode_lossless
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build import lr
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.care.repair import repair
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.export.view_parts import parts_of
from lrfr.pairs.format.manifests import VariantManifest
from lrfr.pairs.format.reader import Folder, ShardSet, open_base
from lrfr.pairs.format.records import PNG, RAW, SAME_AS_HR, ZSTD, lr_record, pack_block, read_block, unpack
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.pairs.toy import SIDE, SPEC, ToySource, build, tree

SOURCE = ToySource(ids=13, per_id=10)
# a third of the images come out as they went in
SAME = SPEC.replace("choice: [5, 7]", "choice: [5, 7, 16]")


class Large(ToySource):
    """Images of 40 x 40 pixels, which are not kept raw."""

    def read(self, place):
        return np.ascontiguousarray(np.tile(super().read(place), (3, 3, 1))[:40, :40])


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_every_image_comes_back(image):
    assert np.array_equal(decode_lossless(encode_lossless(image), *image.shape[:2]), image)


def test_it_is_smaller_than_png_on_what_is_smooth():
    y, x = np.mgrid[:112, :112]
    noise = np.random.default_rng(0).normal(0, 2, (112, 112))
    image = np.stack([90 + y / 2 + x / 3 + noise, 80 + x / 2 + noise, 70 + y / 4 + noise], -1).astype(
        np.uint8
    )
    assert len(encode_lossless(image)) < 0.9 * len(encode_png(image))


@pytest.mark.parametrize("height, width", [(7, 9), (65535, 65535), (0, 0)])
def test_nothing_is_unpacked_into_another_size(height, width):
    huge = zstandard.ZstdCompressor().compress(bytes(3 * 8 * 8))
    with pytest.raises(ImageFault):
        decode_lossless(huge, height, width)
    with pytest.raises(ImageFault):
        decode_lossless(b"no frame", 8, 8)
    with pytest.raises(ImageFault):
        decode_lossless(huge[:-3], 8, 8)


def test_each_image_is_kept_in_the_shortest_way():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    flat, other = np.full((64, 64, 3), 7, np.uint8), np.zeros((64, 64, 3), np.uint8)
    small = noise[:32, :32]
    kept = [lr_record(0, image, other).codec for image in (noise, flat, small, other)]
    assert kept == [RAW, ZSTD, RAW, SAME_AS_HR]
    older = [lr_record(0, image, other, codec="raw-png").codec for image in (noise, flat, small, other)]
    assert older == [PNG, PNG, RAW, PNG]


def test_a_reference_with_a_payload_is_damaged():
    record = lr_record(0, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), b"{}")
    whole = read_block(memoryview(pack_block([record], 1)))
    assert bytes(unpack(whole, 0, 0, 1).tail) == b"{}"
    forged = read_block(memoryview(pack_block([record._replace(payload=b"x")], 1)))
    with pytest.raises(DataError, match="header is damaged"):
        unpack(forged, 0, 0, 1)


def lr_of(root):
    store = Store(root)
    base = open_base(store.base(store.bases()[0]))
    key = store.variants()[0]
    return base, ShardSet([Folder(store.lr(key), store.lr_manifest(key))], "always", base)


def made_anew(base, shards):
    """The variant's pixels, from its spec and the base alone."""
    rows = range(len(base))
    images = list(base.images(rows))
    spec = lr.variant_of(shards.folders[0].manifest).spec
    keys = [base.rows.key(row) for row in rows]
    return images, [
        item.image for item in Pipeline(spec).run(keys, images, shards.folders[0].manifest.variant)
    ]


@pytest.mark.parametrize("traces", [False, True])
def test_images_equal_to_hr_are_stored_once(folder, traces):
    made = build(folder / "s", SOURCE, spec=SAME, traces=traces)
    base, shards = lr_of(folder / "s")
    hr, expected = made_anew(base, shards)
    same = [row for row in range(len(base)) if np.array_equal(hr[row], expected[row])]
    assert 20 < len(same) < 80
    assert made.done.variants[0][0].same_as_hr == len(same)
    rows = range(len(base))
    for found in (shards.images(rows), shards.images(rows, hr), (shards.record(r).pixels() for r in rows)):
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    if traces:
        assert all(json.loads(bytes(shards.record(row).tail))["steps"] for row in same)
    assert not verify(Store(folder / "s"), deep=True)


def test_batches_and_exports_show_the_original(folder):
    build(folder / "s", SOURCE, spec=SAME)
    dataset = PairDataset(folder / "s")
    batch = dataset.batch(np.arange(len(dataset)), 0)
    whole = np.flatnonzero(batch.size_px_b.numpy() == SIDE)
    assert len(whole) and (batch.lr_bchw[whole] == batch.hr_bchw[whole]).all()
    hr, lr_part = parts_of(dataset)
    for row in whole[:3].tolist():
        suffix, data = lr_part.file(row)
        assert (suffix, data) == hr.file(row) and decode(data).shape == (SIDE, SIDE, 3)


def test_references_are_mended_and_need_their_base(folder):
    build(folder / "s", SOURCE, spec=SAME)
    before = tree(folder / "s")
    for shard in (folder / "s" / "lr").rglob("*.mdb"):
        shard.write_bytes(b"\0" * shard.stat().st_size)
    assert repair(Store(folder / "s"), runner=Runner("serial")).left == []
    assert tree(folder / "s") == before
    _, shards = lr_of(folder / "s")
    alone = ShardSet(shards.folders)
    row = next(row for row in range(len(shards)) if shards.record(row).codec not in {RAW, ZSTD})
    with pytest.raises(DataError, match="kept in the base"):
        alone.record(row)


def test_what_was_written_in_png_is_found_read_and_mended(folder, monkeypatch):
    spec = SPEC.replace("choice: [5, 7]", "choice: [5, 40]").replace("size: 16}", "size: 40}", 1)
    spec = spec.replace("up: {size: 16", "up: {size: 40")
    source = Large(ids=13, per_id=10)
    ingest = Ingest(source, BaseOptions(Prepare(size_px=40)))
    with monkeypatch.context() as patch:
        patch.setattr("lrfr.pairs.build.lr.LR_CODEC", "raw-png")
        patch.setattr(lr.lr_task, "__defaults__", ("raw-png",))
        old = make_pairs(ingest, [parse_spec(spec)], store=folder / "s", runner=Runner("serial"))
    manifest = VariantManifest.read(folder / "s" / "lr" / old.done.variants[0][0].id / "manifest.json")
    assert (manifest.codec, manifest.same_as_hr) == ("raw-png", 0)
    new = make_pairs(ingest, [parse_spec(spec)], store=folder / "new", runner=Runner("serial"))
    assert (old.id, old.done.variants[0][0].id) == (new.id, new.done.variants[0][0].id)
    assert new.done.variants[0][0].same_as_hr > 0
    rows = np.arange(130)
    one, other = (PairDataset(folder / name).batch(rows, 0).lr_bchw for name in ("s", "new"))
    assert (one == other).all()
    again = make_pairs(ingest, [parse_spec(spec)], store=folder / "s", runner=Runner("serial"))
    assert again.done.lr_written == 0
    before = tree(folder / "s")
    next((folder / "s" / "lr").rglob("*.mdb")).write_bytes(b"")
    assert repair(Store(folder / "s"), runner=Runner("serial")).left == []
    assert tree(folder / "s") == before
