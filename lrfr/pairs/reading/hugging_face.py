"""A view as a ``datasets.Dataset`` of Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfr.core.errors import missing_extra
from lrfr.core.files import digest_of
from lrfr.core.image import encode_png
from lrfr.core.machine import quiet_libraries

if TYPE_CHECKING:
    import datasets

    from lrfr.pairs.reading.dataset import PairDataset

SPAN_ROWS = 512
READ_ROWS = 64
# raised when the same view gives other rows
REVISION = 1


def to_hf(
    dataset: PairDataset, *, streaming: bool = False, cache_dir: Path | str | None = None
) -> datasets.Dataset | datasets.IterableDataset:
    """Return a view as it is in the dataset's epoch; see :meth:`PairDataset.to_hf`."""
    quiet_libraries()
    try:
        import datasets
    except ImportError:
        raise missing_extra("datasets", "huggingface") from None
    spans = [(start, min(len(dataset), start + SPAN_ROWS)) for start in range(0, len(dataset), SPAN_ROWS)]
    given = {"dataset": dataset, "epoch": dataset.epoch, "spans": spans}
    features = features_of(dataset)
    if streaming:
        return datasets.IterableDataset.from_generator(hf_rows, features, gen_kwargs=given)
    columns = {name: dataset.column(name).producer for name in dataset.column_names}
    shown = [REVISION, dataset.digest, len(dataset), dataset.epoch, columns]
    # by the view's id: hashing the generator's arguments, as is usual there, would pickle all rows
    return datasets.Dataset.from_generator(
        hf_rows,
        features,
        cache_dir=None if cache_dir is None else str(cache_dir),
        gen_kwargs=given,
        fingerprint=digest_of(["lrfr", *shown])[:16],
    )


def features_of(dataset: PairDataset) -> datasets.Features:
    """Return the types of the rows: images, the identity as a class, whatever else an item has."""
    from datasets import ClassLabel, Features, Image, Value
    from datasets import Sequence as Series

    kinds: dict[str, Any] = {
        "hr": Image(),
        "lr": Image(),
        "size_px": Value("int64"),
        "label": ClassLabel(names=[_text(name) for name in dataset.label_names]),
        "row": Value("int64"),
        "key": Value("string"),
    }
    if dataset.attribute_names:
        kinds["attributes"] = {_text(name): Value("int8") for name in dataset.attribute_names}
    for name in dataset.column_names:
        array = dataset.column(name)
        value = Value(array.dtype.name)
        kinds[name] = Series(value, length=array.shape[1]) if len(array.shape) > 1 else value
    return Features(kinds)


def hf_rows(dataset: PairDataset, epoch: int, spans: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of some spans of positions; HR as its JPEG in the store, LR as PNG."""
    attributes = [_text(name) for name in dataset.attribute_names]
    for start, stop in spans:
        for first in range(start, stop, READ_ROWS):
            positions = np.arange(first, min(stop, first + READ_ROWS))
            batch = dataset.batch(positions, epoch)
            lr_bhwc = batch.lr_bchw.permute(0, 2, 3, 1).numpy()
            for index, position in enumerate(positions.tolist()):
                row: dict[str, Any] = {
                    "hr": {"bytes": dataset.hr_bytes(position), "path": None},
                    "lr": {"bytes": encode_png(lr_bhwc[index]), "path": None},
                    "size_px": int(batch.size_px_b[index]),
                    "label": int(batch.label_b[index]),
                    "row": int(batch.row_b[index]),
                    "key": dataset.key(position).decode("utf-8", "backslashreplace"),
                }
                if attributes:
                    known = batch.attributes_ba[index].tolist()
                    row["attributes"] = dict(zip(attributes, known, strict=True))
                yield row | {name: column[index].numpy() for name, column in batch.columns.items()}


def _text(name: str) -> str:
    """Return a name as UTF-8 can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
