"""The parts of a view, HR and every degraded variant, and the bytes of a face in each."""

from __future__ import annotations

from dataclasses import dataclass

from lrfr.core.image import encode_png
from lrfr.pairs.format.reader import ShardSet
from lrfr.pairs.format.records import JPEG, PNG, RAW, ZSTD
from lrfr.pairs.reading.dataset import PairDataset

_SUFFIX = {JPEG: ".jpg", PNG: ".png", RAW: ".png", ZSTD: ".png"}


@dataclass(frozen=True)
class Part:
    """HR (``hr``) or one degraded variant (``fskd.v0``) of a view."""

    name: str
    shards: ShardSet

    def file(self, row: int) -> tuple[str, bytes]:
        """Return (suffix, bytes) of a row; what is stored raw or in the store's own code becomes PNG, all
        else leaves as it lies in the store.
        """
        record = self.shards.record(row)
        own = record.codec in {RAW, ZSTD}
        data = encode_png(record.pixels()) if own else bytes(record.payload)
        return _SUFFIX.get(record.codec, ".webp"), data


@dataclass(frozen=True)
class FaceNote:
    """What an export says of a face besides its pixels.

    Attributes:
        key: its name in the source.
        label: its identity, "" for none.
        split: its split, "" for none.
        attributes: those that are known.

    """

    key: str
    label: str
    split: str
    attributes: dict[str, int]


def note_of(dataset: PairDataset, position: int) -> FaceNote:
    """Return what is known of a face."""
    number = int(dataset.labels[position])
    values = zip(dataset.attribute_names, dataset.attributes[position].tolist(), strict=True)
    return FaceNote(
        dataset.key(position).decode("utf-8", "surrogateescape"),
        dataset.label_names[number] if number >= 0 else "",
        dataset.split(position),
        {name: value for name, value in values if value >= 0},
    )


def parts_of(dataset: PairDataset) -> list[Part]:
    """Return HR and every variant of a view; equal names get the first digits of their ids."""
    variants = dataset.view.variants
    names = [f"{variant.spec}.v{variant.variant}" for variant in variants]
    if len(set(names)) < len(names):
        names = [f"{name}-{variant.spec_digest[:6]}" for name, variant in zip(names, variants, strict=True)]
    return [Part("hr", dataset.hr), *map(Part, names, dataset.lr)]
