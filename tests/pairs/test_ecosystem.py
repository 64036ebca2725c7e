"""A view in the libraries that people read with: samplers and subsets of torch, torchdata, Lightning, accelerate
and Hugging Face datasets, each with the real library.
"""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Subset, WeightedRandomSampler, random_split

from lrfr.pairs.format.pair_batch import collate
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.store import Store
from tests.pairs.toy import ToySource, build


@pytest.fixture
def mixed(folder):
    build(folder / "mixed", variants=3)
    return PairDataset(folder / "mixed")


def lr_of(dataset, rows, epoch):
    return dataset.batch(np.asarray(rows), epoch).lr_bchw


def test_parts_and_unions_of_datasets(mixed, folder):
    """Subsets read whole batches through ``__getitems__``, unions item by item; both see the epoch."""
    mixed.set_epoch(2)
    subset = Subset(mixed, [5, -1, 100])
    batch = next(iter(DataLoader(subset, 3, collate_fn=collate)))
    assert batch.row_b.tolist() == [5, 191, 100]
    assert torch.equal(batch.lr_bchw, lr_of(mixed, [5, 191, 100], 2))
    with pytest.raises(IndexError, match="position 192 of 192"):
        list(DataLoader(Subset(mixed, [192]), 1))
    parts = random_split(mixed, [0.75, 0.25], torch.Generator().manual_seed(0))
    rows = [
        row
        for part in parts
        for batch in DataLoader(part, 20, collate_fn=collate)
        for row in batch.row_b.tolist()
    ]
    assert sorted(rows) == list(range(192))
    build(folder / "other", source=ToySource(ids=3, salt=1))
    both = ConcatDataset([mixed, PairDataset(folder / "other")])
    items = [item for batch in DataLoader(both, 50, collate_fn=list) for item in batch]
    assert [item["row"] for item in items] == [*range(192), *range(24)]
    assert torch.equal(torch.stack([item["lr"] for item in items[:192]]), lr_of(mixed, range(192), 2))


def test_a_weighted_sampler(mixed):
    """Weights by identity, drawn with replacement."""
    weights = np.where(mixed.labels < 3, 1.0, 0.0)
    sampler = WeightedRandomSampler(weights.tolist(), 400, generator=torch.Generator().manual_seed(1))
    labels = torch.cat(
        [batch.label_b for batch in DataLoader(mixed, 50, sampler=sampler, collate_fn=collate)]
    )
    assert len(labels) == 400 and set(labels.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_dataloader_goes_on_in_the_middle_of_an_epoch(mixed, workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def loader():
        generator = torch.Generator().manual_seed(3)
        return stateful.StatefulDataLoader(
            mixed, 16, shuffle=True, num_workers=workers, collate_fn=collate, generator=generator
        )

    mixed.set_epoch(4)
    whole = loader()
    reading = iter(whole)
    for _ in range(5):
        next(reading)
    state = whole.state_dict()
    rest = [(batch.row_b.tolist(), batch.lr_bchw) for batch in reading]
    again = loader()
    again.load_state_dict(state)
    found = [(batch.row_b.tolist(), batch.lr_bchw) for batch in again]
    assert len(rest) == 7 and [rows for rows, _ in found] == [rows for rows, _ in rest]
    assert all(torch.equal(left, right) for (_, left), (_, right) in zip(found, rest, strict=True))
    assert all(torch.equal(lr, lr_of(mixed, rows, 4)) for rows, lr in found)


def lightning():
    return pytest.importorskip("pytorch_lightning")


def module_of(pl, seen):
    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 24)

        def training_step(self, batch, _):
            seen.append((self.current_epoch, batch.row_b.tolist(), batch.lr_bchw.cpu()))
            pooled = batch.as_float().lr_bchw.mean((2, 3))
            return nn.functional.cross_entropy(self.net(pooled), batch.label_b)

        def on_train_epoch_start(self):
            self.trainer.datamodule.dataset.set_epoch(self.current_epoch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    return Module()


def data_of(pl, store, make):
    class Pairs(pl.LightningDataModule):
        def setup(self, stage):
            self.dataset = PairDataset(store)

        def train_dataloader(self):
            return make(self.dataset)

    return Pairs()


def trainer(pl, folder, **options):
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(folder),
        **{"enable_checkpointing": False, **options},
    )


MAKERS = {
    "workers": lambda dataset: DataLoader(
        dataset, 48, shuffle=True, collate_fn=collate, num_workers=1, persistent_workers=True
    ),
    "pair loader": lambda dataset: PairLoader(dataset, 48, seed=3),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAKERS)
def test_a_lightning_trainer_sees_new_variants_in_every_epoch(mixed, folder, name):
    pl, seen = lightning(), []
    trainer(pl, folder, max_epochs=3).fit(module_of(pl, seen), data_of(pl, folder / "mixed", MAKERS[name]))
    assert [epoch for epoch, *_ in seen] == [0] * 4 + [1] * 4 + [2] * 4
    assert sorted(row for epoch, rows, _ in seen if epoch == 1 for row in rows) == list(range(192))
    assert all(torch.equal(lr, lr_of(mixed, rows, epoch)) for epoch, rows, lr in seen)
    if name == "pair loader":
        expected = PairLoader(mixed, 48, seed=3)
        assert [rows for _, rows, _ in seen[4:8]] == [batch.row_b.tolist() for batch in expected.iterate(1)]


@pytest.mark.filterwarnings("ignore")
def test_a_lightning_run_goes_on_where_its_checkpoint_was_taken(mixed, folder):
    """Lightning keeps the loader's own state in its checkpoint, in the middle of an epoch, too."""
    pl, whole, first, rest = lightning(), [], [], []
    make = MAKERS["pair loader"]
    trainer(pl, folder, max_epochs=3).fit(module_of(pl, whole), data_of(pl, folder / "mixed", make))
    keep = pl.callbacks.ModelCheckpoint(folder / "kept", every_n_train_steps=6, save_top_k=-1)
    broken = trainer(pl, folder, max_steps=7, callbacks=[keep], enable_checkpointing=True)
    broken.fit(module_of(pl, first), data_of(pl, folder / "mixed", make))
    (kept,) = (folder / "kept").glob("*.ckpt")
    trainer(pl, folder, max_epochs=3).fit(
        module_of(pl, rest), data_of(pl, folder / "mixed", make), ckpt_path=str(kept), weights_only=False
    )
    rows = [[rows for _, rows, _ in seen] for seen in (whole, first, rest)]
    assert len(rows[0]) == 12 and rows[1] == rows[0][:7] and rows[2] == rows[0][6:]


def test_accelerate_shares_batches_out(mixed):
    accelerate = pytest.importorskip("accelerate")
    loader = accelerate.Accelerator(cpu=True).prepare(DataLoader(mixed, 32, shuffle=False))
    batches = list(loader)
    assert torch.equal(torch.cat([batch["row"] for batch in batches]), torch.arange(192))
    assert torch.equal(batches[1]["lr"], lr_of(mixed, range(32, 64), 0))


@pytest.fixture
def hugging_face(folder, monkeypatch):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    return datasets


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_hugging_face_rows_are_the_items(mixed, folder, hugging_face):
    mixed.set_epoch(3)
    Store(folder / "mixed").write_column("default", "good", np.arange(192.0), producer="q")
    Store(folder / "mixed").write_column("default", "teacher", np.ones((192, 4), np.float32), producer="t")
    mixed = mixed.with_columns("good", "teacher")
    found = mixed.to_hf(cache_dir=folder / "hf")
    assert len(found) == 192 and isinstance(found.features["hr"], hugging_face.Image)
    assert found.features["label"].names == list(mixed.label_names)
    for position in (0, 77, 191):
        row, item = found[position], mixed[position]
        assert torch.equal(pixels(row["lr"]), item["lr"])
        assert (pixels(row["hr"]).int() - item["hr"].int()).abs().max() <= 2  # another JPEG decoder
        same = ("size_px", "label", "row", "key")
        assert [row[name] for name in same] == [item[name] for name in same]
        assert row["attributes"] == {"Odd": int(item["attributes"][0])}
        assert row["good"] == position and row["teacher"] == [1.0] * 4
    raw = found.cast_column("hr", hugging_face.Image(decode=False))[5]["hr"]["bytes"]
    assert raw == mixed.hr_bytes(5) and Image.open(io.BytesIO(raw)).format == "JPEG"


def test_hugging_face_formats_maps_and_disks(mixed, folder, hugging_face):
    found = mixed.to_hf(cache_dir=folder / "hf")
    tensors = found.with_format("torch")[:4]
    assert torch.equal(torch.stack(list(tensors["lr"])), lr_of(mixed, range(4), 0))
    assert torch.equal(tensors["label"], torch.from_numpy(mixed.labels[:4]))
    mapped = found.map(lambda row: {"low": row["size_px"] < 6}, keep_in_memory=True)
    assert sum(mapped["low"]) == int((mixed.batch(np.arange(192), 0).size_px_b < 6).sum())
    found.save_to_disk(folder / "disk")
    found.to_parquet(folder / "pairs.parquet")
    for again in (
        hugging_face.load_from_disk(str(folder / "disk")),
        hugging_face.Dataset.from_parquet(str(folder / "pairs.parquet"), cache_dir=str(folder / "hf")),
    ):
        assert again.features == found.features
        assert torch.equal(pixels(again[9]["lr"]), mixed[9]["lr"])
    loader = DataLoader(found.with_format("torch"), 32, num_workers=1)
    assert torch.equal(torch.cat([batch["row"] for batch in loader]), torch.arange(192))


def test_another_epoch_or_view_is_another_hugging_face_dataset(mixed, folder, hugging_face):
    """The cache is found again by what is shown, and only by that."""
    first, again = (mixed.to_hf(cache_dir=folder / "hf") for _ in range(2))
    mixed.set_epoch(1)
    other = mixed.to_hf(cache_dir=folder / "hf")
    assert first._fingerprint == again._fingerprint != other._fingerprint
    assert first.cache_files == again.cache_files != other.cache_files
    assert torch.equal(pixels(other[3]["lr"]), lr_of(mixed, [3], 1)[0])


def test_a_stream_is_read_when_it_is_asked_for(mixed, folder, hugging_face):
    stream = mixed.to_hf(streaming=True)
    assert isinstance(stream, hugging_face.IterableDataset)
    first = next(iter(stream))
    assert torch.equal(pixels(first["lr"]), mixed[0]["lr"]) and first["key"] == mixed[0]["key"]
    assert [row["row"] for row in stream] == list(range(192))
    assert not list((folder / "cache").rglob("*.arrow"))


def test_without_the_library_the_extra_is_named(mixed, monkeypatch):
    import sys

    from lrfr.core.errors import EnvironmentFault

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(EnvironmentFault, match=r"lrfr\[huggingface\]"):
        mixed.to_hf()


def test_no_library_warns_about_what_it_is_given(mixed):
    """Read-only memory, shared storage, worker seeds: nothing is said on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for batch in DataLoader(mixed, 64, num_workers=1):
            batch["hr"] += 1
