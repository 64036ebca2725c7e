"""Writing a degraded variant of a base: which shards, by which tasks, with which manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.files import canonical, check_space, make_folder, write_atomic
from lrfr.core.files.inside import refuse_link
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import Spec, parse_spec
from lrfr.pairs.build.plan import variant_identity
from lrfr.pairs.build.tasks import Draw, LrTask, Spooled
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.manifests import LR_CODEC, BaseManifest, Form, LrCodec, Sidecar, Up, VariantManifest
from lrfr.pairs.format.shard import ShardPlace, committed, is_whole, listed
from lrfr.pairs.format.shard_layout import LR_BLOCK_ROWS, lr_row_bytes, shard_spans
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import VariantRef, View

# a small LR image and its part of a page
LR_BYTES = 512
# variants of one task: each holds some pages in memory; and what a kill may lose, where ops are slow
MAX_TOGETHER = 16
MAX_TASK_MS = 60_000
# of all variants of a face that are made as it is looked at: what a kill of the scan may lose, and what is in
# vain where the store turns out to hold them
MAX_AT_ONCE_MS = 1.0


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


@dataclass(frozen=True)
class Wanted:
    """A degraded variant with what the view says of it."""

    variant: Variant
    ref: VariantRef


def wanted_of(variant: Variant) -> Wanted:
    """Return a variant as a new view takes it."""
    spec = variant.spec
    said = (variant.weight, spec.name, spec.digest, variant.number, variant.up, spec.license)
    return Wanted(variant, VariantRef(*said))


def wanted_by(store: StoreFiles, view: View) -> list[Wanted]:
    """Return the variants of a view that is there, as it takes them.

    Raises:
        SpecError: a stored spec is none that this version reads.

    """
    return [
        Wanted(variant_of(store.lr_manifest(key), ref.spec), ref)
        for key, ref in zip(view.parts[0].lr, view.variants, strict=True)
    ]


def variant_id(content: str, variant: Variant) -> str:
    """Return the id of a variant of a base's content."""
    return variant_identity(content, variant.spec.pixel_digest, variant.number, variant.form)


def lr_places(store: StoreFiles, base: BaseManifest, variant: Variant) -> list[ShardPlace]:
    """Return where every shard of a variant goes."""
    key = variant_id(base.content, variant)
    spans = shard_spans("lr", base.rows, lr_row_bytes(variant.spec.image.size_px))
    return [ShardPlace(store.lr(key), name, key, start, stop, LR_BLOCK_ROWS) for name, start, stop in spans]


@dataclass(frozen=True)
class WrittenVariant:
    """A variant that is there and how many images were degraded for it."""

    manifest: VariantManifest
    written: int


def draw_of(variant: Variant, codec: LrCodec = LR_CODEC) -> Draw:
    """Return how a task makes a variant."""
    return Draw(variant.spec.canonical(), variant.number, variant.traces, codec)


def cheap_draws(variants: Sequence[Variant]) -> tuple[Draw, ...]:
    """Return the variants that are made as a face is looked at: all, or none where they take long."""
    cost = sum(_milliseconds(Pipeline(variant.spec)) for variant in variants)
    return tuple(map(draw_of, variants)) if cost <= MAX_AT_ONCE_MS else ()


def _milliseconds(pipeline: Pipeline) -> float:
    # a spec that costs nothing still decodes HR and encodes LR
    return max(0.1, pipeline.cost_ms)


def write_variants(
    store: StoreFiles,
    base: BaseManifest,
    variants: Sequence[Variant],
    runner: Runner,
    spooled: Spooled | None = None,
) -> list[WrittenVariant]:
    """Write (or find) degraded variants of one base.

    Shards of the same rows are made by one task, which decodes HR once for all of them; no variant waits for
    another. What the scan made already is taken from ``spooled``.
    """
    written = [0] * len(variants)
    found = [_whole(store, variant_id(base.content, variant)) for variant in variants]
    open_ones = [index for index, manifest in enumerate(found) if manifest is None]
    if not open_ones:
        return [WrittenVariant(manifest, 0) for manifest in found if manifest]
    planned = {index: _plan(store, base, variants[index]) for index in open_ones}
    check_space(store.root, base.rows * LR_BYTES * len(planned))
    for index, item in planned.items():
        written[index] = sum(place.stop - place.start for place in item.missing)
    tasks = _tasks(store, base, list(planned.values()), runner.scratch)
    tasks = [spooled.of(base.id, task) for task in tasks] if spooled else tasks
    seconds = sum(written[index] * item.milliseconds for index, item in planned.items()) / 1e3
    total, images = base.rows * len(planned), sum(written)
    phase = variants[open_ones[0]].name if len(planned) == 1 else f"{len(planned)} variants"
    runner.run(tasks, seconds, phase, total - images, total)
    for item in planned.values():
        manifest = lr_manifest(base, item.variant, item.places, portable=item.portable)
        write_atomic(item.places[0].folder / "manifest.json", manifest.seal(), store.tmp)
    keys = [variant_id(base.content, variant) for variant in variants]
    return [WrittenVariant(store.lr_manifest(key), count) for key, count in zip(keys, written, strict=True)]


def _whole(store: StoreFiles, key: str) -> VariantManifest | None:
    """Return the manifest of a variant that is there."""
    if not (store.lr(key) / "manifest.json").exists():
        return None
    found = store.lr_manifest(key)
    return found if is_whole(store.lr(key), found.shards) else None


@dataclass(frozen=True)
class _Planned:
    """A variant that is not whole: where all its shards go, those it lacks, and what an image costs."""

    variant: Variant
    portable: bool
    milliseconds: float
    places: tuple[ShardPlace, ...]
    missing: tuple[ShardPlace, ...]


def _plan(store: StoreFiles, base: BaseManifest, variant: Variant) -> _Planned:
    pipeline, places = Pipeline(variant.spec), lr_places(store, base, variant)
    make_folder(places[0].folder)
    refuse_link(places[0].folder)
    missing = tuple(place for place in places if not committed(place))
    return _Planned(variant, pipeline.portable, _milliseconds(pipeline), tuple(places), missing)


def _tasks(
    store: StoreFiles, base: BaseManifest, planned: Sequence[_Planned], scratch: Path | None
) -> list[LrTask]:
    """Return tasks that together write every missing shard, in row order."""
    spans: dict[int, list[tuple[_Planned, ShardPlace]]] = {}
    for item in planned:
        for place in item.missing:
            spans.setdefault(place.start, []).append((item, place))
    tasks = []
    for start in sorted(spans):
        group: list[tuple[_Planned, ShardPlace]] = []
        for item, place in spans[start]:
            rows = place.stop - place.start
            long = rows * sum(other.milliseconds for other, _ in [*group, (item, place)]) > MAX_TASK_MS
            if group and (long or len(group) == MAX_TOGETHER):
                tasks.append(_together(store, base, group, scratch))
                group = []
            group.append((item, place))
        tasks.append(_together(store, base, group, scratch))
    return tasks


def _together(
    store: StoreFiles, base: BaseManifest, group: Sequence[tuple[_Planned, ShardPlace]], scratch: Path | None
) -> LrTask:
    return lr_task(store, base, [(item.variant, place) for item, place in group], scratch)


def lr_task(
    store: StoreFiles,
    base: BaseManifest,
    shards: Sequence[tuple[Variant, ShardPlace]],
    scratch: Path | None,
    codec: LrCodec = LR_CODEC,
) -> LrTask:
    """Return the task that writes shards of the same rows of some variants."""
    draws = tuple(draw_of(variant, codec) for variant, _ in shards)
    places = tuple(place for _, place in shards)
    return LrTask(places, draws, store.tmp, scratch, store.base(base.id), base.sealed)


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
        same_as_hr=sum(Sidecar.read(place.sidecar).same_as_hr for place in places),
    )


def pixel_spec(spec: Spec) -> Mapping[str, object]:
    """Return the part of a spec that decides the pixels (a loadable spec but for its ``store``; another name
    or count changes nothing in it).
    """
    full = spec.as_json()
    return {key: full[key] for key in ("version", "seed", "image", "pipeline")}


def variant_of(manifest: VariantManifest, name: str = "unnamed") -> Variant:
    """Return the variant that a manifest describes, its spec under a name, with a weight of no account (and,
    where it is stored at its native size, the default way up).

    Raises:
        SpecError: the spec in it is none that this version reads.

    """
    store: dict[str, object] = {"lr": manifest.form.lr}
    if manifest.form.up:
        up = manifest.form.up
        store["up"] = {"size": up.size_px, "filter": up.filter, "antialias": up.antialias}
    spec = {**manifest.spec, "name": name, "store": store}
    return Variant(
        parse_spec(canonical(spec), "the stored spec"), manifest.variant, 1.0, manifest.form.traces
    )
