"""make-pairs: from a source and specs to a base, degraded variants and a view; what exists already is found,
not redone.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrfr.core.errors import DataError, SpecError
from lrfr.pairs.build.hr import check_bad, plan_base, shard_list, write_base
from lrfr.pairs.executors.base import refuse_while_imported
from lrfr.pairs.executors.dispatch import Runner
from lrfr.core.files import check_space, make_folder, seal, sweep, write_atomic
from lrfr.core.lock import store_lock
from lrfr.pairs.build.plan import LR_BLOCK_ROWS, action_identity, rows_per_shard, shard_spans
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.format.shard import FORMAT, LAYOUT, ShardPlace, committed, is_whole
from lrfr.pairs.store import Store
from lrfr.pairs.build.tasks import LrTask
from lrfr.pairs.views import make_view, select_rows

if TYPE_CHECKING:
    from lrfr.degrade.spec.model import Spec

MAX_ROUNDS = 20


@dataclass(frozen=True)
class ViewOptions:
    """What a view keeps and how it mixes.

    Attributes:
        name: of the view.
        weights: one per spec; None weighs all alike.
        min_per_id: keep identities with at least this many rows.
        ids: keep these identities.
        split: keep this split.

    """

    name: str = "default"
    weights: tuple[float, ...] | None = None
    min_per_id: int = 0
    ids: tuple[str, ...] | None = None
    split: str = ""


@dataclass(frozen=True)
class Variant:
    """One degraded variant to write: a spec and the number of the draw."""

    spec: Spec
    number: int
    weight: float
    traces: bool = False

    @property
    def form(self) -> dict[str, Any]:
        """How its pixels are stored."""
        up = self.spec.store.up.model_dump(by_alias=True) if self.spec.store.lr == "upsampled" else None
        return {"lr": self.spec.store.lr, "up": up, "traces": self.traces}


@dataclass
class Outcome:
    """What one make-pairs did."""

    view: dict[str, Any]
    base: dict[str, Any]
    actions: list[dict[str, Any]] = field(default_factory=list)
    hr_written: int = 0
    lr_written: int = 0


def make_pairs(
    store: Store,
    ingest: Ingest,
    specs: Sequence[Spec],
    *,
    view: ViewOptions | None = None,
    runner: Runner | None = None,
    variants: int | None = None,
    traces: bool = False,
    max_bad: float | None = None,
) -> Outcome:
    """Write or find everything a view needs, then write the view.

    Args:
        store: where.
        ingest: the source, and how HR is cut, stored and permuted.
        specs: the degradations; none makes a view of HR alone.
        view: name, weights and row filter.
        runner: executor, workers, progress and stop.
        variants: how many draws of every spec; None takes each spec's own number.
        traces: whether every LR record carries the parameters drawn for it.
        max_bad: see :func:`lrfr.pairs.build.hr.check_bad`.

    Raises:
        SpecError, DataError, LockedError, EnvironmentFault: see docs/store.md.
        Stopped: the user asked to stop; finished shards are kept.

    """
    refuse_while_imported()
    view, runner = view or ViewOptions(), runner or Runner()
    store.view_path(view.name)
    wanted = wanted_variants(specs, view.weights, variants, traces)
    size_px = ingest.options.prepare.size_px
    for variant in wanted:
        if variant.spec.image.size_px != size_px:
            raise SpecError(f"spec '{variant.spec.name}' is for {variant.spec.image.size_px} px images, the base has {size_px} px")
    with store_lock(store.root), runner.session():
        make_folder(store.tmp)
        sweep(store.tmp)
        started = time.time()
        done, written = _base_rounds(store, ingest, runner, max_bad)
        select_rows(store.rows(done["id"]), {"min_per_id": view.min_per_id, "ids": view.ids, "split": view.split})
        outcome = Outcome({}, done, hr_written=written)
        for variant in wanted:
            manifest, count = write_variant(store, done, variant, runner)
            outcome.actions.append(manifest)
            outcome.lr_written += count
        outcome.view = _write_view(store, done, wanted, outcome.actions, view)
        sweep(store.tmp)
        _log(store, started, outcome)
    return outcome


def wanted_variants(specs: Sequence[Spec], weights: Sequence[float] | None, variants: int | None, traces: bool) -> list[Variant]:
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


def _base_rounds(store: Store, ingest: Ingest, runner: Runner, max_bad: float | None) -> tuple[dict[str, Any], int]:
    """Plan and write the base; files that change under us are refused and the rest is planned again."""
    changed: frozenset[str] = frozenset()
    for _ in range(MAX_ROUNDS):
        planned = plan_base(store, ingest, runner, changed)
        check_bad(planned, max_bad)
        report = write_base(store, ingest, planned, runner)
        if "changed" not in report:
            return report["manifest"], report["written"]
        changed = changed | frozenset(report["changed"])
    raise DataError(f"{len(changed)} source files keep changing", hint="run again when nothing writes to the source")


def variant_places(store: Store, base: dict[str, Any], variant: Variant, cost_ms: float) -> tuple[str, list[ShardPlace], int]:
    """Return (action id, shard places, rows per shard) of a variant of a base."""
    shard_rows = rows_per_shard(base["rows"], cost_ms)
    action = action_identity(base["content"], variant.spec.pixel_digest, variant.number, variant.form, shard_rows)
    spans = shard_spans("lr", base["rows"], shard_rows)
    return action, [ShardPlace(store.lr(action), name, action, start, stop, LR_BLOCK_ROWS) for name, start, stop in spans], shard_rows


def write_variant(store: Store, base: dict[str, Any], variant: Variant, runner: Runner) -> tuple[dict[str, Any], int]:
    """Write (or find) one degraded variant; return its manifest and how many images were degraded for it."""
    from lrfr.degrade.pipeline import Pipeline

    pipeline = Pipeline(variant.spec)
    action, places, shard_rows = variant_places(store, base, variant, pipeline.cost_ms)
    folder = store.lr(action)
    if (folder / "manifest.json").exists() and is_whole(store.lr_manifest(action), places):
        return store.lr_manifest(action), 0
    make_folder(folder)
    check_space(folder, base["rows"] * 512)
    done = [place for place in places if committed(place)]
    tasks = [lr_task(store, base, variant, place, runner.scratch) for place in places if place not in done]
    images = sum(task.place.stop - task.place.start for task in tasks)
    label = f"{variant.spec.name}.v{variant.number}"
    runner.run(tasks, images * max(0.1, pipeline.cost_ms) / 1e3, label, base["rows"] - images, base["rows"])
    manifest = lr_manifest(base, variant, places, shard_rows=shard_rows, portable=pipeline.portable)
    write_atomic(folder / "manifest.json", seal(manifest), store.tmp)
    return store.lr_manifest(action), images


def lr_task(store: Store, base: dict[str, Any], variant: Variant, place: ShardPlace, scratch: Path | None) -> LrTask:
    """Return the task that writes one LR shard."""
    return LrTask(
        place=place,
        tmp=store.tmp,
        scratch=scratch,
        base=store.base(base["id"]),
        base_digest=base["digest"],
        spec=variant.spec.canonical(),
        variant=variant.number,
        upsampled=variant.spec.store.lr == "upsampled",
        traces=variant.traces,
    )


def lr_manifest(base: dict[str, Any], variant: Variant, places: Sequence[ShardPlace], *, shard_rows: int, portable: bool) -> dict[str, Any]:
    """Return the manifest of a finished LR store."""
    return {
        "format": FORMAT,
        "layout": LAYOUT,
        "kind": "lr",
        "id": places[0].store_id,
        "content": base["content"],
        "rows": base["rows"],
        "shard_rows": shard_rows,
        "block_rows": LR_BLOCK_ROWS,
        "spec": pixel_spec(variant.spec),
        "pixel_digest": variant.spec.pixel_digest,
        "portable": portable,
        "variant": variant.number,
        "form": variant.form,
        "shards": shard_list(places),
    }


def pixel_spec(spec: Spec) -> dict[str, Any]:
    """Return the part of a spec that decides the pixels (a loadable spec; another name or count changes
    nothing in it).
    """
    full = spec.as_json()
    return {key: full[key] for key in ("version", "seed", "image", "pipeline")}


def _write_view(
    store: Store, base: dict[str, Any], wanted: Sequence[Variant], actions: Sequence[dict[str, Any]], options: ViewOptions
) -> dict[str, Any]:
    listed = [
        {
            "action": manifest["id"],
            "weight": variant.weight,
            "spec": variant.spec.name,
            "spec_digest": variant.spec.digest,
            "variant": variant.number,
            "up": variant.spec.store.up.model_dump(by_alias=True),
            **({"license": variant.spec.as_json()["license"]} if variant.spec.as_json().get("license") else {}),
        }
        for variant, manifest in zip(wanted, actions, strict=True)
    ]
    view = make_view(options.name, base["id"], listed, min_per_id=options.min_per_id, ids=options.ids, split=options.split)
    path = store.view_path(options.name)
    data = seal(view)
    if not path.exists() or path.read_bytes() != data:
        make_folder(path.parent)
        write_atomic(path, data, store.tmp)
    return view


def _log(store: Store, started: float, outcome: Outcome) -> None:
    """Append what may differ between equal runs: time, host, command line, versions. Nothing reads it back
    into an id.
    """
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "host": platform.node(),
        "command": sys.argv,
        "python": platform.python_version(),
        "versions": _versions(),
        "view": outcome.view["name"],
        "hr_written": outcome.hr_written,
        "lr_written": outcome.lr_written,
    }
    with (store.root / "run.log").open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(entry) + "\n")


@functools.cache
def _versions() -> dict[str, str]:
    names = ("lrfr", "numpy", "opencv-python-headless", "pillow", "torch", "lmdb", "albumentations", "ray")
    return {name: version(name) for name in names}
