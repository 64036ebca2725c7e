"""Reading: the right pixels, an order that is a pure function of (seed, epoch), exact resume, and safe
sharing of files.
"""

import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
import torch

from lrfr.core.errors import SpecError
from lrfr.core.image import decode, encode_jpeg
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.format.disk.lmdb_files import REGISTRY, Registry
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.reading.order import epoch_order
from lrfr.pairs.store import Store
from tests.pairs.toy import SPEC, ToySource, build, ingest


def test_batches_hold_the_pixels_that_the_source_and_spec_give(store):
    """Independent path: read the source, encode, decode, degrade and resize image by image, with no store
    between.
    """
    from PIL import Image

    dataset, source = PairDataset(store), ToySource()
    pipeline = Pipeline(parse_spec(SPEC))
    batch = dataset.batch(np.arange(len(dataset)), epoch=0)
    for position in range(0, len(dataset), 7):
        key = dataset.key(position).decode()
        person, number = int(key[2:5]), int(key.split("/")[1])
        hr = decode(encode_jpeg(source.read((person, number)), 95))
        lr = pipeline.run([key.encode()], [hr], 0)[0].image
        up = np.asarray(Image.fromarray(lr).resize((16, 16), Image.Resampling.BICUBIC))
        assert np.array_equal(batch.hr_bchw[position].permute(1, 2, 0).numpy(), hr)
        assert np.abs(batch.lr_bchw[position].permute(1, 2, 0).numpy().astype(int) - up).max() <= 1
        assert batch.size_px_b[position] == lr.shape[0]
        assert dataset.label_names[batch.label_b[position]] == f"id{person:03d}"
        assert batch.attributes_ba[position, 0] == person % 2


def test_float_range_and_types(store):
    batch = PairDataset(store).batch(np.arange(8), 0)
    assert batch.hr_bchw.dtype == batch.lr_bchw.dtype == torch.uint8
    assert batch.label_b.dtype == batch.size_px_b.dtype == batch.row_b.dtype == torch.int64
    assert batch.attributes_ba.dtype == torch.int8
    real = batch.as_float()
    assert torch.allclose(real.hr_bchw, (batch.hr_bchw.float() / 255 - 0.5) / 0.5, atol=1e-6)
    assert real.to("cpu").lr_bchw.min() >= -1


def test_a_view_without_variants_shows_hr_twice(folder):
    make_pairs(ingest(), [], store=folder / "s")
    batch = PairDataset(folder / "s").batch(np.arange(4), 0)
    assert torch.equal(batch.hr_bchw, batch.lr_bchw)
    assert batch.size_px_b.tolist() == [16] * 4


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000, 4097, 9000])
def test_order_is_a_permutation_and_a_pure_function(count):
    order = epoch_order(count, seed=3, epoch=5)
    assert np.array_equal(np.sort(order), np.arange(count))
    assert np.array_equal(order, epoch_order(count, 3, 5))
    if count > 60:
        assert not np.array_equal(order, epoch_order(count, 3, 6))
        assert not np.array_equal(order, epoch_order(count, 4, 5))


def test_order_reads_blocks_together():
    """Within a window of 4,096 rows only 64 units of 64 rows are touched."""
    order = epoch_order(100_000, 0, 0)
    windows = [len(set((order[start : start + 4096] // 64).tolist())) for start in range(0, 90_000, 4096)]
    assert max(windows) <= 66


def test_identities_per_batch_are_as_mixed_as_a_full_shuffle():
    """400 identities x 50 images, listed by identity: at least 105 distinct ones per batch of 128 on average,
    never below 90.
    """
    from lrfr.pairs.format.rows import row_key

    keys = sorted((row_key(0, b"id%03d/%02d" % (i, k)), i) for i in range(400) for k in range(50))
    labels = np.array([label for _, label in keys])
    order = epoch_order(len(labels), 1, 0)
    distinct = [
        len(set(labels[order[start : start + 128]].tolist())) for start in range(0, len(labels) - 127, 128)
    ]
    assert np.mean(distinct) >= 105
    assert min(distinct) >= 90


def batches(loader, epoch, start=0):
    return [(batch.row_b.tolist(), batch.lr_bchw.numpy().tobytes()) for batch in loader.iterate(epoch, start)]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_change_nothing(store, threads):
    dataset = PairDataset(store)
    assert batches(PairLoader(dataset, 20, seed=1, threads=threads), 2) == batches(
        PairLoader(dataset, 20, seed=1, threads=0), 2
    )


@pytest.mark.parametrize("start", [0, 1, 5, 8])
def test_resume_goes_on_exactly(store, start):
    loader = PairLoader(PairDataset(store), 20, seed=1)
    assert loader.batches_per_epoch == 9
    assert batches(loader, 4, start) == batches(loader, 4)[start:]


@pytest.mark.parametrize("world", [2, 3])
def test_world_size_changes_nothing_at_the_same_global_batch(store, world):
    dataset = PairDataset(store)
    alone = PairLoader(dataset, 24, seed=2)
    ranks = [PairLoader(dataset, 24 // world, seed=2, rank=rank, world_size=world) for rank in range(world)]
    together = zip(*(rank.iterate(1, 3) for rank in ranks), strict=True)
    for whole, parts in zip(alone.iterate(1, 3), together, strict=True):
        assert whole.row_b.tolist() == [row for part in parts for row in part.row_b.tolist()]
        assert torch.equal(whole.lr_bchw, torch.cat([part.lr_bchw for part in parts]))


def test_an_epoch_shows_every_row_once(store):
    loader = PairLoader(PairDataset(store), 20, seed=1, drop_last=False)
    rows = [row for batch in loader.iterate(0) for row in batch.row_b.tolist()]
    assert sorted(rows) == list(range(192))


def test_two_specs_share_one_base_and_mix_by_weight(folder):
    store = Store(folder / "s")
    specs = [parse_spec(SPEC.replace("choice: [5, 7]", f"choice: [{size}]")) for size in (5, 8)]
    first = make_pairs(ingest(), specs[:1], store=store, view=ViewOptions("one"))
    second = make_pairs(ingest(), specs, store=store, view=ViewOptions("two", (1.0, 3.0)))
    assert (first.done.hr_written, second.done.hr_written) == (192, 0)
    assert second.done.lr_written == 192
    sizes = PairDataset(store.root, "two").batch(np.arange(192), 0).size_px_b
    assert abs(int((sizes == 8).sum()) - 144) <= 18  # three standard deviations
    again = make_pairs(ingest(), specs, store=store, view=ViewOptions("three", (1.0, 3.0)))
    assert again.done.lr_written == 0


def test_filters_and_splits(folder):
    from tests.pairs.toy import WithSplits

    source = WithSplits(
        ToySource(),
        {
            f"id{i:03d}/{k}": "dev" if i < 4 else "train"
            for i in range(24)
            for k in range(8)
            if k < 7 or i % 2
        },
    )
    store = Store(folder / "s")
    make_pairs(ingest(source), [], store=store, view=ViewOptions("eight", min_per_id=8, split="train"))
    dataset = PairDataset(store.root, "eight")
    assert dataset.num_classes == 10
    assert set(dataset.labels.tolist()) == set(range(10))
    make_pairs(ingest(source), [], store=store, view=ViewOptions("some", ids=("id001", "id006")))
    assert PairDataset(store.root, "some").label_names == ("id001", "id006")
    assert len(PairDataset(store.root, "some", split="dev")) == 8
    with pytest.raises(SpecError, match=r"did you mean 'train'"):
        PairDataset(store.root, "eight", split="trian")
    with pytest.raises(SpecError, match="there is no store here"):
        PairDataset(store.root / "base")
    with pytest.raises(SpecError, match=r"no view 'eigth'.*did you mean 'eight'"):
        PairDataset(store.root, "eigth")


def _read_in_child(dataset, queue):
    queue.put(dataset.batch(np.arange(8), 0).hr_bchw.numpy().tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_an_open_dataset_works_in_child_processes(store, method):
    dataset = PairDataset(store)
    expected = dataset.batch(np.arange(8), 0).hr_bchw.numpy().tobytes()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(dataset, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join()
    assert dataset.batch(np.arange(8), 0).hr_bchw.numpy().tobytes() == expected


def test_same_file_twice_and_by_hard_link(store, folder):
    one, two = PairDataset(store), PairDataset(store)
    assert torch.equal(one.batch(np.arange(4), 0).hr_bchw, two.batch(np.arange(4), 0).hr_bchw)
    linked = folder / "linked"
    for path in store.rglob("*"):
        if path.is_file() and path.name != ".lock":
            target = linked / path.relative_to(store)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    assert torch.equal(one.batch(np.arange(4), 0).hr_bchw, PairDataset(linked).batch(np.arange(4), 0).hr_bchw)


def test_pickled_dataset_carries_no_open_file(store):
    dataset = PairDataset(store)
    dataset.batch(np.arange(4), 0)
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again.batch(np.arange(4), 0).hr_bchw, dataset.batch(np.arange(4), 0).hr_bchw)


def test_many_threads_and_few_open_files(store):
    """More shards than may be open, read from eight threads at once."""
    from lrfr.pairs.format import reader

    dataset = PairDataset(store)
    expected = dataset.batch(np.arange(192), 0)
    REGISTRY.clear()
    original, reader.REGISTRY = reader.REGISTRY, Registry(limit=2)
    faults = []

    def work(seed):
        order = np.random.default_rng(seed).permutation(192)
        for start in range(0, 192, 16):
            part = order[start : start + 16]
            if not torch.equal(dataset.batch(part, 0).hr_bchw, expected.hr_bchw[part]):
                faults.append(seed)

    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        reader.REGISTRY.clear()
        reader.REGISTRY = original
    assert not faults


def test_upsampled_stores_keep_the_native_size(folder):
    spec = parse_spec(SPEC.replace("lr: native", "lr: upsampled"))
    make_pairs(ingest(), [spec], store=folder / "s")
    build(folder / "n")
    one, two = (PairDataset(folder / name).batch(np.arange(64), 0) for name in "sn")
    assert torch.equal(one.size_px_b, two.size_px_b)
    assert torch.equal(one.lr_bchw, two.lr_bchw)
