"""Parquet as Hugging Face's ``datasets`` writes it: ``out/data/pairs-00000.parquet``, a row a face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lrfr.core.errors import missing_extra
from lrfr.core.files import make_folder, write_fault
from lrfr.core.progress import Hooks
from lrfr.pairs.export.view_parts import note_of, parts_of
from lrfr.pairs.reading.dataset import PairDataset

FILE_ROWS = 8192
# a row group is what a reader decodes for one image
GROUP_ROWS = 100


def export_parquet(dataset: PairDataset, out: Path, hooks: Hooks) -> int:
    """Write the view; return the number of images.

    Columns are ``image`` (HR), ``image_<variant>`` for every degraded variant, ``key``, ``label`` (a
    ``ClassLabel``; -1 for no identity), ``split``, the attributes, and ``column_<name>`` for every row array.

    Raises:
        EnvironmentFault: pyarrow is missing, or the disk is full.

    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet") from None
    columns = ["image", *(f"image_{part.name}" for part in parts_of(dataset)[1:])]
    schema = _schema(pyarrow, dataset, columns)
    make_folder(out / "data")
    for number, start in enumerate(range(0, len(dataset), FILE_ROWS)):
        path = out / "data" / f"pairs-{number:05d}.parquet"
        stop = min(len(dataset), start + FILE_ROWS)
        try:
            with pyarrow.parquet.ParquetWriter(path, schema) as writer:
                for first in range(start, stop, GROUP_ROWS):
                    rows = [_row(dataset, columns, at) for at in range(first, min(stop, first + GROUP_ROWS))]
                    writer.write_table(pyarrow.Table.from_pylist(rows, schema), GROUP_ROWS)
                    hooks.progress(first + len(rows), len(dataset), phase="parquet")
        except OSError as error:
            raise write_fault(error, path, 0) from error
    return len(dataset) * len(columns)


def _row(dataset: PairDataset, columns: list[str], position: int) -> dict[str, object]:
    note, row = note_of(dataset, position), int(dataset.rows[position])
    images: dict[str, object] = {}
    for column, part in zip(columns, parts_of(dataset), strict=True):
        suffix, data = part.file(row)
        images[column] = {"bytes": data, "path": f"{row:09d}{suffix}"}
    known = dict.fromkeys(dataset.attribute_names) | note.attributes
    label = int(dataset.labels[position])
    # text of another coding is no text of Parquet: such keys are kept as bytes
    key = dataset.key(position)
    arrays = {f"column_{name}": column[position].tolist() for name, column in dataset.row_arrays.items()}
    return {**known, **images, **arrays, "key": key, "label": label, "split": note.split}


def _schema(pyarrow: Any, dataset: PairDataset, columns: list[str]) -> Any:
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    attributes = [(name, pyarrow.int8()) for name in dataset.attribute_names]
    plain = all(_is_text(dataset.key(position)) for position in range(len(dataset)))
    key = pyarrow.string() if plain else pyarrow.binary()
    others = [("key", key), ("label", pyarrow.int64()), ("split", pyarrow.string()), *attributes]
    names = list(dataset.label_names)
    arrays = {f"column_{name}": column for name, column in dataset.row_arrays.items()}
    kinds = {name: pyarrow.from_numpy_dtype(array.dtype) for name, array in arrays.items()}
    shaped = [
        (name, pyarrow.list_(kind, arrays[name].shape[1]) if len(arrays[name].shape) > 1 else kind)
        for name, kind in kinds.items()
    ]
    features: dict[str, dict[str, object]] = {column: {"_type": "Image"} for column in columns}
    features |= {name: {"dtype": str(kind), "_type": "Value"} for name, kind in others}
    for name, array in arrays.items():
        value: dict[str, object] = {"dtype": array.dtype.name, "_type": "Value"}
        width = {"feature": value, "length": array.shape[-1], "_type": "Sequence"}
        features[name] = width if len(array.shape) > 1 else value
    features["label"] = {"names": names, "_type": "ClassLabel"}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.schema([*((column, image) for column in columns), *others, *shaped], metadata=told)


def _is_text(key: bytes) -> bool:
    try:
        key.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
