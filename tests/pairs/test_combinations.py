"""Kinds of sources for every executor (Ray, test_ray.py); every way of reading gives the same batches."""

import io
import struct
import tarfile

import pytest
import torch
from torch.utils.data import DataLoader

from lrfr.core.image import encode_jpeg
from lrfr.pairs.format.pair_batch import collate
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.sources.packed.recordio import MAGIC
from tests.pairs.toy import build
from tests.pairs.zoo import picture

SPEC = """
version: 1
name: small
image: {size: 112}
pipeline:
  - {op: down, id: d1, size: {choice: [7, 14]}, filter: bicubic, antialias: true}
  - {op: gaussian_noise, id: n1, sigma: 4}
store: {lr: native, up: {size: 112, filter: bicubic, antialias: true}}
"""
PEOPLE, EACH = 9, 8  # more than one shard of 64 rows


def faces():
    """(person, number, JPEG) of every face."""
    for person in range(PEOPLE):
        for number in range(EACH):
            yield person, number, encode_jpeg(picture(100 * person + number, 112), 95)


def folder_source(root):
    for person, number, data in faces():
        path = root / f"p{person}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return f"folder:{root}"


def tar_source(root):
    root.mkdir()
    with tarfile.open(root / "faces.tar", "w") as archive:
        for person, number, data in faces():
            header = tarfile.TarInfo(f"p{person}/{number}.jpg")
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return f"tar:{root / 'faces.tar'}"


def recordio_source(root):
    root.mkdir()
    packed = b""
    for index, (person, _, data) in enumerate(faces()):
        payload = struct.pack("<IfQQ", 0, float(person), index, 0) + data
        packed += struct.pack("<II", MAGIC, len(payload)) + payload + b"\0" * (-len(payload) % 4)
    (root / "train.rec").write_bytes(packed)
    return f"recordio:{root / 'train.rec'}"


def synthetic_source(root):
    return f"synthetic:ids={PEOPLE},per_id={EACH},seed=3"


SOURCES = {
    "folder": folder_source,
    "tar": tar_source,
    "recordio": recordio_source,
    "synthetic": synthetic_source,
}


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_gives_the_batches_of_the_pair_loader(folder, start, workers):
    """Positions from the pair loader's order, through torch's loader and back: equal to the last byte, also
    from the middle of an epoch on.
    """
    build(folder / "s", variants=2)
    dataset = PairDataset(folder / "s")
    ours = PairLoader(dataset, 20, seed=4, threads=2)
    ours.set_epoch(2)
    reading = iter(ours)
    for _ in range(3):
        next(reading)
    again = PairLoader(dataset, 20, seed=4, threads=0)
    again.load_state_dict(ours.state_dict())
    dataset.set_epoch(2)
    theirs = DataLoader(
        dataset,
        batch_sampler=[item.tolist() for item in ours.positions(2)[3:]],
        num_workers=workers,
        multiprocessing_context=start if workers else None,
        collate_fn=collate,
    )
    count = 0
    for left, middle, right in zip(reading, again, theirs, strict=True):
        assert torch.equal(left.row_b, right.row_b) and torch.equal(left.lr_bchw, right.lr_bchw)
        assert torch.equal(left.hr_bchw, right.hr_bchw) and torch.equal(middle.lr_bchw, right.lr_bchw)
        count += 1
    assert count == len(ours) - 3
