"""A view in torch's own DataLoader: every start method, fresh variants in every epoch, the same pixels as the
batch engine; and the loader's state.
"""

import pickle
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, default_collate

from lrfr.core.errors import SpecError
from lrfr.pairs.format.pair_batch import Batch, collate
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from tests.pairs.toy import build

TENSORS = [item.name for item in fields(Batch) if item.name != "columns"]
SHAPES = {"hr": (3, 16, 16), "lr": (3, 16, 16), "attributes": (1,)}


@pytest.fixture
def mixed(folder):
    """A store whose view draws one of three variants for every row and epoch."""
    build(folder / "mixed", variants=3)
    return PairDataset(folder / "mixed")


def same(left: Batch, right: Batch) -> bool:
    pairs = [(getattr(left, name), getattr(right, name)) for name in TENSORS]
    pairs += [
        (left.columns[name], right.columns[name]) for name in left.columns.keys() | right.columns.keys()
    ]
    return all(torch.equal(*pair) for pair in pairs)


def test_an_item_is_what_its_description_says(mixed):
    item, batch = mixed[5], mixed.batch(np.array([5]), 0)
    assert list(item) == ["hr", "lr", "size_px", "label", "attributes", "row", "key"]
    for name, shape in SHAPES.items():
        assert tuple(item[name].shape) == shape
    assert (item["hr"].dtype, item["lr"].dtype) == (torch.uint8, torch.uint8)
    assert item["attributes"].dtype == torch.int8
    assert torch.equal(item["hr"], batch.hr_bchw[0]) and torch.equal(item["lr"], batch.lr_bchw[0])
    assert (item["size_px"], item["label"], item["row"]) == (
        int(batch.size_px_b[0]),
        int(batch.label_b[0]),
        int(batch.row_b[0]),
    )
    assert item["key"].encode() == mixed.key(5)
    assert mixed.label_names[item["label"]] == item["key"].split("/")[0]


def test_positions_are_those_of_a_list(mixed):
    count = len(mixed)
    assert mixed[-1]["row"] == mixed[count - 1]["row"] == mixed[np.int64(count - 1)]["row"]
    assert mixed[torch.tensor(3)]["row"] == mixed[np.uint8(3)]["row"] == 3
    for position in (count, -count - 1, np.int64(count)):
        for read in (
            lambda at: mixed[at],
            lambda at: mixed.__getitems__([0, at]),
            lambda at: mixed.batch([at], 0),
        ):
            with pytest.raises(IndexError, match=f"position {position} of {count}"):
                read(position)
    for position in (1.0, "1", None, (1, 2)):
        with pytest.raises(SpecError):
            mixed[position]
    with pytest.raises(SpecError, match="whole numbers"):
        mixed.batch(np.array([0.0]), 0)
    assert [item["row"] for item in mixed[5:-180:3]] == list(range(count))[5:-180:3]
    assert mixed[7:7] == [] and len(mixed.batch([], 0)) == 0
    assert same(mixed.batch([-1, -192], 3), mixed.batch([count - 1, 0], 3))  # draws go by the place, too
    assert [item["row"] for item in mixed] == list(range(count))


@pytest.mark.parametrize(
    ("workers", "start"), [(0, None), (2, "fork"), (2, "spawn"), (2, "forkserver")], ids=str
)
def test_a_plain_dataloader_reads_the_pixels_of_the_engine(mixed, workers, start):
    mixed.set_epoch(4)
    loader = DataLoader(mixed, 50, num_workers=workers, multiprocessing_context=start, collate_fn=collate)
    batches = list(loader)
    assert [len(batch) for batch in batches] == [50, 50, 50, 42]
    for number, batch in enumerate(batches):
        assert same(batch, mixed.batch(np.arange(50 * number, 50 * number + len(batch)), 4))
        assert batch.hr_bchw.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_own_collate_works_too(mixed, workers):
    batch = next(iter(DataLoader(mixed, 12, num_workers=workers)))
    expected = collate([mixed[position] for position in range(12)])
    assert torch.equal(batch["hr"], expected.hr_bchw) and torch.equal(batch["lr"], expected.lr_bchw)
    assert torch.equal(batch["label"], expected.label_b) and torch.equal(batch["row"], expected.row_b)
    assert torch.equal(batch["size_px"], expected.size_px_b)
    assert torch.equal(batch["attributes"], expected.attributes_ba)
    assert batch["key"] == [mixed.key(position).decode() for position in range(12)]
    assert list(default_collate([mixed[0]])) == list(mixed[0])


@pytest.mark.parametrize(("start", "persistent"), [("fork", False), ("fork", True), ("spawn", True)])
def test_a_new_epoch_reaches_the_workers(mixed, start, persistent):
    """With persistent workers the processes of the first epoch read the later ones."""
    loader = DataLoader(
        mixed,
        96,
        num_workers=2,
        multiprocessing_context=start,
        persistent_workers=persistent,
        collate_fn=collate,
    )
    seen = set()
    for epoch in (0, 1, 2, 3, 7):
        mixed.set_epoch(epoch)
        pixels = torch.cat([batch.lr_bchw for batch in loader])
        assert torch.equal(pixels, mixed.batch(np.arange(len(mixed)), epoch).lr_bchw)
        seen.add(pixels.numpy().tobytes())
    assert len(seen) > 2


def test_a_pickled_dataset_is_at_the_epoch_of_its_original(mixed):
    mixed.set_epoch(3)
    again = pickle.loads(pickle.dumps(mixed))
    assert again.epoch == 3 and torch.equal(again[9]["lr"], mixed[9]["lr"])
    mixed.set_epoch(4)
    assert again.epoch == 3


def test_pinned_batches_are_batches(mixed):
    """Without a GPU torch pins nothing and says so; what comes out is the same."""
    loader = DataLoader(mixed, 64, pin_memory=True, collate_fn=collate)
    with pytest.warns(UserWarning, match="pin_memory") if not torch.cuda.is_available() else _nothing():
        first = next(iter(loader))
    assert isinstance(first, Batch) and same(first, mixed.batch(np.arange(64), 0))
    if torch.cuda.is_available():
        assert all(getattr(first, name).is_pinned() for name in TENSORS)
        assert first.to("cuda").hr_bchw.device.type == "cuda"


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_a_distributed_sampler_shares_the_rows_out(mixed):
    rows = []
    for rank in range(3):
        sampler = DistributedSampler(mixed, num_replicas=3, rank=rank, seed=5)
        sampler.set_epoch(2)
        loader = DataLoader(mixed, 16, sampler=sampler, collate_fn=collate)
        rows += [row for batch in loader for row in batch.row_b.tolist()]
    assert sorted(rows) == list(range(len(mixed)))


def test_a_split_is_read_alone(folder):
    from lrfr.pairs.build.make import make_pairs
    from tests.pairs.toy import ToySource, WithSplits, ingest

    parts = {face.key: "dev" if face.label < "id006" else "train" for face in ToySource().faces()}
    make_pairs(ingest(WithSplits(ToySource(), parts)), store=folder / "s")
    dev, train = (PairDataset(folder / "s", "default", split) for split in ("dev", "train"))
    assert (len(dev), len(train)) == (48, 144)
    assert {item["key"].split("/")[0] for item in dev} == {f"id{number:03d}" for number in range(6)}
    with pytest.raises(SpecError, match="did you mean 'train'"):
        PairDataset(folder / "s", "default", "trian")


def rows_of(batches):
    return [(batch.row_b.tolist(), batch.lr_bchw.numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("taken", [0, 1, 5, 8, 9])
def test_a_loader_goes_on_where_its_state_was_taken(mixed, threads, taken):
    """Whatever was read ahead: the batches before and behind the state are those of an unbroken run."""
    whole = PairLoader(mixed, 20, seed=1)
    expected = rows_of(whole) + rows_of(whole)
    broken = PairLoader(mixed, 20, seed=1, threads=threads)
    reading = iter(broken)
    first = rows_of(next(reading) for _ in range(taken))
    state = broken.state_dict()
    fresh = PairLoader(mixed, 20, seed=1, threads=2)
    fresh.load_state_dict(state)
    rest = rows_of(fresh)
    assert first + rest + rows_of(fresh) == expected


def test_epochs_follow_one_another_and_can_be_named(mixed):
    loader = PairLoader(mixed, 24, seed=1)
    assert len(loader) == len(list(loader)) == 8
    assert loader.epoch == 1
    second = rows_of(loader)
    assert second == rows_of(loader.iterate(1)) and loader.epoch == 2
    loader.set_epoch(1)
    assert rows_of(loader) == second


def test_a_loop_that_counts_batches_sees_every_epoch(mixed):
    """Trainers take ``len(loader)`` batches and never learn that there is no further one."""
    loader = PairLoader(mixed, 24, seed=1)
    for epoch in (0, 1, 2):
        reading = iter(loader)
        assert rows_of(next(reading) for _ in range(len(loader))) == rows_of(loader.iterate(epoch))
    loader.set_epoch(2)  # once more, as it was named
    assert rows_of(loader) == rows_of(loader.iterate(2)) and loader.epoch == 3


def test_a_usual_loop_resumes(mixed):
    """``set_epoch`` of the epoch that was loaded keeps the place in it."""
    loader = PairLoader(mixed, 24, seed=1)
    loader.set_epoch(3)
    next(iter(loader))
    again = PairLoader(mixed, 24, seed=1)
    again.load_state_dict(loader.state_dict())
    again.set_epoch(3)
    assert rows_of(again) == rows_of(loader.iterate(3, 1))


def test_the_state_does_not_depend_on_the_world(mixed):
    ranks = [PairLoader(mixed, 8, seed=2, rank=rank, world_size=3) for rank in range(3)]
    readers = [iter(rank) for rank in ranks]
    for _ in range(4):
        for reader in readers:
            next(reader)
    assert len({tuple(rank.state_dict().items()) for rank in ranks}) == 1
    alone = PairLoader(mixed, 24, seed=2)
    alone.load_state_dict(ranks[1].state_dict())
    assert rows_of(alone) == rows_of(PairLoader(mixed, 24, seed=2).iterate(0, 4))


@pytest.mark.parametrize(
    ("change", "name"),
    [({"seed": 2}, "seed"), ({"batch_size": 10}, "global_batch"), ({"shuffle": False}, "shuffle")],
)
def test_the_state_of_another_order_is_refused(mixed, change, name):
    state = PairLoader(mixed, 20, seed=1).state_dict()
    with pytest.raises(SpecError, match=name):
        PairLoader(mixed, **{"batch_size": 20, "seed": 1, **change}).load_state_dict(state)
    with pytest.raises(SpecError, match="no place"):
        PairLoader(mixed, 20, seed=1).load_state_dict({**state, "batch": -1})


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("world", [1, 3])
def test_the_length_is_what_comes(mixed, drop, world):
    for batch_size in (1, 50, 64, 100, 192):
        for rank in range(world):
            loader = PairLoader(mixed, batch_size, rank=rank, world_size=world, drop_last=drop)
            assert len(loader) == len(list(loader))
