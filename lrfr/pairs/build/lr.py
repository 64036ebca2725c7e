"""Writing a degraded variant of a base: which shards, by which tasks, with which manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.files import canonical, check_space, make_folder, write_atomic
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import Spec, parse_spec
from lrfr.pairs.build.plan import variant_identity
from lrfr.pairs.build.tasks import LrTask
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.manifests import LR_CODEC, BaseManifest, Form, Up, VariantManifest
from lrfr.pairs.format.shard import ShardPlace, committed, is_whole, listed
from lrfr.pairs.format.shard_layout import LR_BLOCK_ROWS, lr_row_bytes, shard_spans
from lrfr.pairs.format.store_files import StoreFiles

# a small LR image and its part of a page
LR_BYTES = 512


@dataclass(frozen=True)
class Variant:
    """One degraded variant to write: a spec and the number of the draw."""

    spec: Spec
    number: int
    weight: float
    traces: bool = False

    @property
    def up(self) -> Up:
        """How its images are brought to the network's input size."""
        up = self.spec.store.up
        return Up(up.size_px, up.filter, up.antialias)

    @property
    def form(self) -> Form:
        """How its pixels are stored."""
        lr = self.spec.store.lr
        return Form(lr, self.up if lr == "upsampled" else None, self.traces)

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.spec.name}.v{self.number}"


def wanted_variants(
    specs: Sequence[Spec], weights: Sequence[float] | None, variants: int | None, traces: bool
) -> list[Variant]:
    """Return the variants of all specs; a spec's weight is shared by its draws.

    Raises:
        SpecError: weights do not fit the specs.

    """
    shares = list(weights) if weights is not None else [1.0] * len(specs)
    if len(shares) != len(specs) or any(not 0 < share < float("inf") for share in shares):
        raise SpecError(f"{len(shares)} weights for {len(specs)} specs", hint="one positive weight a --spec")
    wanted = []
    for spec, share in zip(specs, shares, strict=True):
        count = variants or spec.variants
        wanted += [Variant(spec, number, share / count, traces) for number in range(count)]
    return wanted


def variant_id(content: str, variant: Variant) -> str:
    """Return the id of a variant of a base's content."""
    return variant_identity(content, variant.spec.pixel_digest, variant.number, variant.form, LR_CODEC)


def lr_places(store: StoreFiles, base: BaseManifest, variant: Variant) -> list[ShardPlace]:
    """Return where every shard of a variant goes."""
    key = variant_id(base.content, variant)
    spans = shard_spans("lr", base.rows, lr_row_bytes(variant.spec.image.size_px))
    return [ShardPlace(store.lr(key), name, key, start, stop, LR_BLOCK_ROWS) for name, start, stop in spans]


def write_variant(
    store: StoreFiles, base: BaseManifest, variant: Variant, runner: Runner
) -> tuple[VariantManifest, int]:
    """Write (or find) one degraded variant; return its manifest and how many images were degraded for it."""
    key = variant_id(base.content, variant)
    folder = store.lr(key)
    if (folder / "manifest.json").exists():
        found = store.lr_manifest(key)
        if is_whole(folder, found.shards):
            return found, 0
    pipeline = Pipeline(variant.spec)
    make_folder(folder)
    check_space(folder, base.rows * LR_BYTES)
    places = lr_places(store, base, variant)
    missing = [place for place in places if not committed(place)]
    tasks = [lr_task(store, base, variant, place, runner.scratch) for place in missing]
    images = sum(place.stop - place.start for place in missing)
    # a spec that costs nothing still decodes HR and encodes LR
    seconds = images * max(0.1, pipeline.cost_ms) / 1e3
    runner.run(tasks, seconds, variant.name, base.rows - images, base.rows)
    manifest = lr_manifest(base, variant, places, portable=pipeline.portable)
    write_atomic(folder / "manifest.json", manifest.seal(), store.tmp)
    return store.lr_manifest(key), images


def lr_task(
    store: StoreFiles, base: BaseManifest, variant: Variant, place: ShardPlace, scratch: Path | None
) -> LrTask:
    """Return the task that writes one LR shard."""
    return LrTask(
        place=place,
        tmp=store.tmp,
        scratch=scratch,
        base=store.base(base.id),
        base_digest=base.sealed,
        spec=variant.spec.canonical(),
        variant=variant.number,
        traces=variant.traces,
    )


def lr_manifest(
    base: BaseManifest, variant: Variant, places: Sequence[ShardPlace], *, portable: bool
) -> VariantManifest:
    """Return the manifest of a variant whose shards are all committed."""
    return VariantManifest(
        id=places[0].store_id,
        content=base.content,
        rows=base.rows,
        block_rows=LR_BLOCK_ROWS,
        spec=pixel_spec(variant.spec),
        pixel_digest=variant.spec.pixel_digest,
        portable=portable,
        variant=variant.number,
        form=variant.form,
        codec=LR_CODEC,
        shards=listed(places),
    )


def pixel_spec(spec: Spec) -> Mapping[str, object]:
    """Return the part of a spec that decides the pixels (a loadable spec but for its ``store``; another name
    or count changes nothing in it).
    """
    full = spec.as_json()
    return {key: full[key] for key in ("version", "seed", "image", "pipeline")}


def variant_of(manifest: VariantManifest) -> Variant:
    """Return the variant that a manifest describes, with a weight of no account (and, where it is stored at
    its native size, the default way up).

    Raises:
        SpecError: the spec in it is none that this version reads.

    """
    store: dict[str, object] = {"lr": manifest.form.lr}
    if manifest.form.up:
        up = manifest.form.up
        store["up"] = {"size": up.size_px, "filter": up.filter, "antialias": up.antialias}
    spec = {**manifest.spec, "store": store}
    return Variant(
        parse_spec(canonical(spec), "the stored spec"), manifest.variant, 1.0, manifest.form.traces
    )
