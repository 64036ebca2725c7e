"""Writing a base: HR once, with its row table, quarantine report and manifest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfr.core.errors import DataError
from lrfr.core.image import REASONS, REMARKS
from lrfr.pairs.executors.dispatch import Runner
from lrfr.core.files import canonical, check_space, make_folder, read_sealed, seal, sha256_hex, write_atomic
from lrfr.pairs.build.plan import BasePlan, Scanned, check_keys, make_plan
from lrfr.pairs.build.scan import Ingest, scan
from lrfr.pairs.format.shard import FORMAT, LAYOUT, ShardPlace, committed, is_whole
from lrfr.pairs.sources.base import Face
from lrfr.pairs.store import Store, pack_rows
from lrfr.pairs.build.tasks import HrTask

HR_BYTES = 6200


@dataclass(frozen=True)
class Planned:
    """A plan with the faces that were refused or remarked upon on the way."""

    plan: BasePlan
    quarantine: bytes
    refused: dict[str, int]
    flagged: dict[str, int]
    seen: int


def plan_base(store: Store, ingest: Ingest, runner: Runner, changed: frozenset[str] = frozenset()) -> Planned:
    """List, scan and plan a source.

    Args:
        store: where the scan cache lies.
        ingest: the source and how it is taken in.
        runner: how to scan.
        changed: keys whose bytes changed after they were scanned; they are refused.

    Raises:
        SpecError: duplicate keys.
        DataError: nothing usable.

    """
    faces = ingest.faces()
    check_keys(faces)
    found = scan(ingest, faces, store.root, runner)
    found = [Scanned(code="E_CHANGED") if face.key in changed else item for face, item in zip(faces, found, strict=True)]
    return Planned(make_plan(faces, found, ingest.options), _quarantine(faces, found), *_counts(found), len(faces))


def _quarantine(faces: Sequence[Face], found: Sequence[Scanned]) -> bytes:
    """Return one sorted JSON line per refused or remarked face."""
    lines = []
    for face, item in zip(faces, found, strict=True):
        if item.code:
            lines.append(canonical({"key": face.key, "code": item.code, "reason": REASONS[item.code], "detail": item.detail}))
        lines += [canonical({"key": face.key, "flag": flag, "remark": REMARKS[flag]}) for flag in item.flags]
    return b"".join(sorted(lines))


def _counts(found: Sequence[Scanned]) -> tuple[dict[str, int], dict[str, int]]:
    refused: dict[str, int] = {}
    flagged: dict[str, int] = {}
    for item in found:
        if item.code:
            refused[item.code] = refused.get(item.code, 0) + 1
        for flag in item.flags:
            flagged[flag] = flagged.get(flag, 0) + 1
    return refused, flagged


def check_bad(planned: Planned, max_bad: float | None) -> None:
    """Refuse to go on when more faces were refused than allowed.

    Args:
        planned: the plan.
        max_bad: a share below 1, or a count from 1 on; None allows any number; 0 allows none.

    Raises:
        DataError: over the limit; says how many and why.

    """
    count = sum(planned.refused.values())
    allowed = float("inf") if max_bad is None else (max_bad * planned.seen if max_bad < 1 else max_bad)
    if count > allowed:
        reasons = ", ".join(f"{code} {number}" for code, number in sorted(planned.refused.items()))
        raise DataError(f"{count} of {planned.seen} faces were refused ({reasons})", hint="raise --max-bad, or see lrfr make-pairs --plan")


def write_base(store: Store, ingest: Ingest, planned: Planned, runner: Runner) -> dict[str, Any]:
    """Write (or find) the base of a plan and return its manifest; ``changed`` lists keys whose bytes moved
    under us.

    Returns:
        ``{"manifest": ..., "written": images}`` or ``{"changed": [keys]}``.

    """
    plan = planned.plan
    folder = store.base(plan.base_id)
    places = hr_places(store, plan)
    if (folder / "manifest.json").exists() and is_whole(store.base_manifest(plan.base_id), places):
        return {"manifest": store.base_manifest(plan.base_id), "written": 0}
    make_folder(folder)
    check_space(folder, len(plan.faces) * HR_BYTES // 2)
    files = {**pack_rows(plan.rows), "quarantine.jsonl": planned.quarantine}
    for name, data in files.items():
        if not (folder / name).exists() or sha256_hex((folder / name).read_bytes()) != sha256_hex(data):
            write_atomic(folder / name, data, store.tmp)
    done = [place for place in places if committed(place)]
    tasks = [hr_task(store, ingest, plan, place, runner.scratch) for place in places if place not in done]
    before = sum(place.stop - place.start for place in done)
    images = sum(task.place.stop - task.place.start for task in tasks)
    reports = runner.run(tasks, images * ingest.source.cost_ms / 1e3, "HR", before, len(plan.faces))
    changed = [plan.faces[row].key for report in reports for row in report.changed]
    if changed:
        shutil.rmtree(folder, ignore_errors=True)
        return {"changed": changed}
    manifest = base_manifest(ingest, planned, places, {name: sha256_hex(data) for name, data in files.items()})
    write_atomic(folder / "manifest.json", seal(manifest), store.tmp)
    return {"manifest": store.base_manifest(plan.base_id), "written": images}


def hr_places(store: Store, plan: BasePlan) -> list[ShardPlace]:
    """Return where every HR shard of a plan goes."""
    folder = store.base(plan.base_id)
    return [ShardPlace(folder, name, plan.base_id, start, stop, plan.block_rows) for name, start, stop in plan.shards()]


def hr_task(store: Store, ingest: Ingest, plan: BasePlan, place: ShardPlace, scratch: Path | None) -> HrTask:
    """Return the task that writes one HR shard."""
    rows = range(place.start, place.stop)
    marks = ingest.marks([plan.faces[row] for row in rows])
    places = tuple(plan.faces[row].place for row in rows)
    digests = plan.rows.digests[rows.start : rows.stop].tobytes()
    return HrTask(place, store.tmp, scratch, ingest.source, places, digests, plan.options.prepare, marks)


def base_manifest(ingest: Ingest, planned: Planned, places: Sequence[ShardPlace], files: dict[str, str]) -> dict[str, Any]:
    """Return the manifest of a finished base (nothing in it depends on when, where or by whom it was
    written).
    """
    plan = planned.plan
    return {
        "format": FORMAT,
        "layout": LAYOUT,
        "kind": "base",
        "id": plan.base_id,
        "content": plan.content_id,
        "rows": len(plan.faces),
        "identities": len(plan.rows.label_names),
        "attributes": list(plan.rows.attribute_names),
        "shard_rows": plan.shard_rows,
        "block_rows": plan.block_rows,
        "permutation_seed": plan.options.seed,
        "prepare": plan.options.prepare.describe(),
        "source": ingest.source.describe(),
        "refused": planned.refused,
        "flagged": planned.flagged,
        "files": files,
        "shards": shard_list(places),
    }


def shard_list(places: Sequence[ShardPlace]) -> list[dict[str, Any]]:
    """Return the manifest's list of committed shards, each with the sha256 of its sidecar."""
    listed = []
    for place in places:
        data = place.sidecar.read_bytes()
        sidecar = read_sealed(place.sidecar)
        kept = {name: sidecar[name] for name in ("shard", "start", "rows", "bytes", "sha256", "records")}
        listed.append({**kept, "sidecar": sha256_hex(data)})
    return listed
