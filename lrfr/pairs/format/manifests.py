"""What a store writes down about itself: one frozen dataclass for each kind of file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from lrfr.pairs.format.sealed import STRICT, Manifest

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**48)]
Positive = Annotated[int, Field(ge=1, le=2**48)]
Side = Annotated[int, Field(ge=1, le=1 << 16)]
Text = Annotated[str, Field(max_length=4096)]
ShardName = Annotated[str, Field(pattern=r"^(hr|lr)-[0-9]{5,9}$")]
RowFile = Annotated[str, Field(pattern=r"^([a-z_]{3,20}\.npy|rows\.npz)$")]
Seed = Annotated[int, Field(ge=0, lt=2**64)]


@dataclass(frozen=True)
class FaceFinder:
    """What found the landmarks by which rows are cut, and which faces it was to take.

    Attributes:
        detector: its name.
        revision: of its code.
        weights_sha256: digest of its weights; "" where it has none.
        chooser: revision of the code that chooses among what it found.
        face: which face of a photograph: ``largest``, ``center`` or ``all``.
        on_miss: what became of a photograph without one: ``keep-center`` or ``skip``.

    """

    detector: Text
    revision: Count
    weights_sha256: Text
    chooser: Count
    face: Literal["largest", "center", "all"]
    on_miss: Literal["keep-center", "skip"]

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __str__(self) -> str:
        weights = f" {self.weights_sha256[:12]}" if self.weights_sha256 else ""
        how = f"face {self.face}, on miss {self.on_miss}"
        return f"{self.detector} {self.chooser}.{self.revision}{weights} ({how})"


@dataclass(frozen=True)
class Crop:
    """What decides how every source becomes a crop.

    Attributes:
        size_px: side of the square crop.
        quality: JPEG quality of crops that are encoded anew.
        color: order of the source's channels, found or forced.
        aligned: whether each row is cut by its own five landmarks.
        decoder, cutter, encoder: revisions of the code that does it.
        finder: what found the landmarks; None where they were given, or none are used.

    """

    later: ClassVar[frozenset[str]] = frozenset({"finder"})
    size_px: Side
    quality: Annotated[int, Field(ge=1, le=100)]
    color: Literal["rgb", "bgr"]
    aligned: bool
    decoder: Count
    cutter: Count
    encoder: Count
    finder: FaceFinder | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def told(self) -> dict[str, object]:
        """Return everything by name, what found the landmarks in words."""
        return {**asdict(self), "finder": str(self.finder or "nobody")}


@dataclass(frozen=True)
class Sidecar(Manifest):
    """The commit record of one shard: rows ``[start, start + rows)`` of a store.

    Attributes:
        bytes: of the LMDB file.
        sha256: of the LMDB file.
        records: logical digest over all blocks (xxh3_128).
        same_as_hr: records that keep no pixels, because their HR record has them.

    """

    kind: ClassVar[str] = "shard"
    later: ClassVar[frozenset[str]] = frozenset({"same_as_hr"})
    shard: ShardName
    store: Id
    start: Count
    rows: Positive
    bytes: Positive
    sha256: Sha256
    records: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    same_as_hr: Count = 0
    sealed: Text = field(default="", compare=False)


@dataclass(frozen=True)
class ShardEntry:
    """One committed shard in a manifest: its sidecar's fields and the sha256 of the sidecar file."""

    shard: ShardName
    start: Count
    rows: Positive
    bytes: Positive
    sha256: Sha256
    records: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    sidecar: Sha256

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @property
    def stop(self) -> int:
        """The row behind the last one."""
        return self.start + self.rows


@dataclass(frozen=True)
class Origin:
    """As what the records of a shard are sealed, where that is not the manifest's id and the shard's first
    row: after rows were forgotten, shards that held none of them are taken over as they lie.

    Attributes:
        store: id that seeds their checks.
        start: row number of the first of them; the others follow.

    """

    store: Id
    start: Count

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


Origins = Annotated[tuple[Origin, ...], Field(max_length=1_000_000)]
Shards = Annotated[tuple[ShardEntry, ...], Field(min_length=1, max_length=1_000_000)]


def _without_parts(value: dict[str, object]) -> dict[str, object]:
    """Leave out the empty list of parts that manifests once had: parts are what views are made of."""
    return value if value.get("parts") else {name: item for name, item in value.items() if name != "parts"}


@dataclass(frozen=True)
class BaseManifest(Manifest):
    """A finished base: HR once. Nothing in it depends on when, where, from which folder or by whom it was
    written.

    Attributes:
        id: of the base.
        content: digest of what its degraded variants depend on: crops, keys and row order.
        rows: number of faces.
        identities: number of label names.
        attributes: names of the attribute columns.
        block_rows: records of one LMDB value.
        permutation_seed: of the order of the rows.
        crop: how sources became crops.
        codec: how crops are encoded.
        files: sha256 of the files of the row table (see :mod:`lrfr.pairs.format.row_files`).
        shards: in row order; the layout is theirs and in no id.
        origins: one a shard, or none where all are sealed as this id and their own rows; in no id.

    """

    kind: ClassVar[str] = "base"
    later: ClassVar[frozenset[str]] = frozenset({"origins"})
    id: Id
    content: Sha256
    rows: Positive
    identities: Count
    attributes: tuple[Text, ...]
    block_rows: Annotated[int, Field(ge=1, le=4096)]
    permutation_seed: Seed
    crop: Crop
    codec: Literal["jpeg"]
    files: Mapping[RowFile, Sha256]
    shards: Shards
    origins: Origins = ()
    sealed: Text = field(default="", compare=False)

    @classmethod
    def settled(cls, value: dict[str, object]) -> dict[str, object]:
        """Bring a file of before the layout was settled to its final form."""
        return _without_parts(value)


@dataclass(frozen=True)
class Up:
    """How a stored LR image returns to the network's input size."""

    size_px: Side
    filter: Text
    antialias: bool

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Form:
    """How the pixels of a degraded variant are stored.

    Attributes:
        lr: at their native size, or upsampled before they are stored.
        up: how they were upsampled; None for native ones.
        traces: whether every record carries the parameters drawn for it.

    """

    lr: Literal["native", "upsampled"]
    up: Up | None
    traces: bool

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


# how each image is kept: see lrfr.pairs.format.records
LrCodec = Literal["raw-png", "raw-zstd"]
LR_CODEC: LrCodec = "raw-zstd"
# the first lossless codec stands in ids for all: they give the same pixels
LOSSLESS: LrCodec = "raw-png"


@dataclass(frozen=True)
class VariantManifest(Manifest):
    """A finished degraded variant of a base's content.

    Attributes:
        id: of the variant.
        content: of the base it belongs to.
        rows: number of faces.
        block_rows: records of one LMDB value.
        spec: the part of the spec that decides the pixels, as a loadable spec without its ``store``.
        pixel_digest: of that part and the revisions of its ops.
        portable: whether every CPU gives these bytes.
        variant: number of the draw.
        form: how pixels are stored.
        codec: the rule by which each image is kept; lossless, and in no id.
        shards: in row order; the layout is theirs and in no id.
        origins: one a shard, or none where all are sealed as this id and their own rows; in no id.
        same_as_hr: rows whose pixels are the base's and are not stored again.

    """

    kind: ClassVar[str] = "lr"
    later: ClassVar[frozenset[str]] = frozenset({"origins"})
    id: Id
    content: Sha256
    rows: Positive
    block_rows: Annotated[int, Field(ge=1, le=4096)]
    spec: Mapping[str, object]
    pixel_digest: Sha256
    portable: bool
    variant: Count
    form: Form
    codec: LrCodec
    shards: Shards
    same_as_hr: Count = 0
    origins: Origins = ()
    sealed: Text = field(default="", compare=False)

    @classmethod
    def settled(cls, value: dict[str, object]) -> dict[str, object]:
        """Bring a file of before the layout was settled to its final form."""
        return _without_parts(value)


def shard_origins(manifest: BaseManifest | VariantManifest) -> tuple[Origin, ...]:
    """Return as what the records of every shard are sealed."""
    return manifest.origins or tuple(Origin(manifest.id, shard.start) for shard in manifest.shards)
