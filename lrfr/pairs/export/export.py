"""Taking pairs out of a store: identity folders, WebDataset tar archives, or an insightface ``.bin`` of
verification pairs.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from lrfr.core.errors import DataError, EnvironmentFault
from lrfr.core.files import make_folder, sha256_hex
from lrfr.core.image import encode_png
from lrfr.core.streams import stream
from lrfr.pairs.dataset import PairDataset
from lrfr.pairs.format.reader import ShardSet
from lrfr.pairs.format.records import JPEG, PNG, RAW, Record
from lrfr.pairs.sources.bin_file import write_bin

Progress = Callable[..., None]
_SUFFIX = {JPEG: ".jpg", PNG: ".png", RAW: ".png"}
TAR_ROWS = 8192


@dataclass(frozen=True)
class Item:
    """One exported image: which part (``hr`` or a variant), its identity and key, its file name and bytes."""

    part: str
    label: str
    key: str
    name: str
    data: bytes


def _file_bytes(record: Record) -> tuple[str, bytes]:
    """Return (suffix, bytes); raw pixels become PNG, everything else leaves as it lies in the store."""
    data = encode_png(record.pixels()) if record.codec == RAW else bytes(record.payload)
    return _SUFFIX.get(record.codec, ".webp"), data


def _safe_parts(key: str) -> list[str]:
    """Return a key's folders and name without anything that could leave the output folder or be no file
    name.
    """
    parts = [part for part in PurePosixPath(key.replace("\\", "/")).parts if part not in {"/", "..", "."}]
    cleaned = [
        "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in part)[:120] for part in parts
    ]
    return cleaned or ["_"]


def _items(dataset: PairDataset, position: int) -> Iterator[Item]:
    """Yield HR and every variant of one position."""
    row = int(dataset.rows[position])
    label_number = int(dataset.labels[position])
    label = dataset.label_names[label_number] if label_number >= 0 else ""
    key = dataset.key(position).decode("utf-8", "surrogateescape")
    for part, shards in parts_of(dataset):
        suffix, data = _file_bytes(shards.record(row))
        folder = _safe_parts(label)[-1:] if label else ["_"]
        stem = "_".join(_safe_parts(key)).rsplit(".", 1)[0]
        # short names may clash after cleaning; eight digits of the key's hash keep them apart
        yield Item(
            part,
            label,
            key,
            "/".join([*folder, f"{stem}.{sha256_hex(key.encode('utf-8', 'surrogateescape'))[:8]}{suffix}"]),
            data,
        )


def parts_of(dataset: PairDataset) -> list[tuple[str, ShardSet]]:
    """Return (name, reader) of HR and of every variant of a view."""
    names = [f"{variant['spec']}.v{variant['variant']}" for variant in dataset.view["variants"]]
    if len(set(names)) < len(names):
        names = [
            f"{name}-{variant['action'][:6]}"
            for name, variant in zip(names, dataset.view["variants"], strict=True)
        ]
    return [("hr", dataset.hr), *zip(names, dataset.lr, strict=True)]


def export_folders(dataset: PairDataset, out: Path, on_progress: Progress) -> int:
    """Write ``out/<hr or variant>/<identity>/<key>.<suffix>`` and return the number of files."""
    _new_folder(out)
    count = 0
    for position in range(len(dataset)):
        for item in _items(dataset, position):
            path = out / item.part / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.data)
            count += 1
        on_progress(position + 1, len(dataset), phase="folders")
    return count


def export_tar(dataset: PairDataset, out: Path, on_progress: Progress) -> int:
    """Write WebDataset archives ``out/pairs-00000.tar``: per row ``<row>.hr.jpg``, ``<row>.<variant>.png``,
    ``<row>.json``.
    """
    _new_folder(out)
    count = 0
    for index, start in enumerate(range(0, len(dataset), TAR_ROWS)):
        with tarfile.open(out / f"pairs-{index:05d}.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            for position in range(start, min(len(dataset), start + TAR_ROWS)):
                count += _add_sample(archive, dataset, position)
                on_progress(position + 1, len(dataset), phase="tar")
    return count


def _add_sample(archive: tarfile.TarFile, dataset: PairDataset, position: int) -> int:
    items = list(_items(dataset, position))
    stem = f"{int(dataset.rows[position]):09d}"
    for item in items:
        part = item.part.replace(".", "-")
        _add_file(archive, f"{stem}.{part}{os.path.splitext(item.name)[1]}", item.data)
    attributes = dict(zip(dataset.attribute_names, dataset.attributes[position].tolist(), strict=True))
    meta = {
        "key": items[0].key,
        "label": items[0].label,
        "attributes": {name: value for name, value in attributes.items() if value >= 0},
    }
    _add_file(archive, f"{stem}.json", json.dumps(meta, sort_keys=True).encode("ascii"))
    return len(items)


def _add_file(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file with nothing in its header that could differ between runs."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    header.mode = 0o644
    archive.addfile(header, io.BytesIO(data))


def export_bin(dataset: PairDataset, out: Path, part: str, pairs: int, seed: int) -> int:
    """Write a ``.bin`` of ``pairs`` verification pairs, same and different alternating, drawn by ``seed``.

    Raises:
        DataError: the view has no such part, or too few identities or images for pairs.

    """
    shards = dict(parts_of(dataset)).get(part)
    if shards is None:
        raise DataError(
            f"the view has no part '{part}'", hint=", ".join(name for name, _ in parts_of(dataset))
        )
    if out.exists():
        raise EnvironmentFault("the file exists", file=str(out), hint="choose another name")
    images, same = [], []
    for first, second, together in draw_pairs(dataset, pairs, seed):
        images += [_file_bytes(shards.record(int(dataset.rows[position])))[1] for position in (first, second)]
        same.append(together)
    write_bin(out, images, same)
    return len(images)


def draw_pairs(dataset: PairDataset, count: int, seed: int) -> list[tuple[int, int, bool]]:
    """Draw (position, position, same person) pairs, same and different alternating, without repeating a
    pair.
    """
    members = {label: np.flatnonzero(dataset.labels == label) for label in range(dataset.num_classes)}
    several = [label for label, found in members.items() if len(found) > 1]
    if len(several) < 1 or len(members) < 2:
        raise DataError("pairs need two identities, one of them with two images")
    source = stream(seed, dataset.digest.encode(), 0, "pairs")
    pairs: list[tuple[int, int, bool]] = []
    seen: set[tuple[int, int]] = set()
    for slot in range(50 * count):
        together = len(pairs) % 2 == 0
        labels = several if together else list(members)
        a = labels[int(source.u(4 * slot) * len(labels))]
        b = a if together else labels[int(source.u(4 * slot + 1) * len(labels))]
        first = int(members[a][int(source.u(4 * slot + 2) * len(members[a]))])
        second = int(members[b][int(source.u(4 * slot + 3) * len(members[b]))])
        pair = (min(first, second), max(first, second))
        if first != second and (a == b) == together and pair not in seen:
            seen.add(pair)
            pairs.append((first, second, together))
        if len(pairs) == count:
            return pairs
    raise DataError(f"the view has fewer than {count} different pairs", hint=f"{len(pairs)} were found")


def _new_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EnvironmentFault("the output folder is not empty", file=str(out), hint="choose another --out")
    make_folder(out)
