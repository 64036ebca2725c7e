"""What make-pairs would do: counts, bytes and time, from a small trial in memory; nothing is written."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.core.image import encode_png
from lrfr.pairs.build.hr import plan_base
from lrfr.pairs.build.make import Variant, variant_places, wanted_variants
from lrfr.pairs.executors.dispatch import Runner
from lrfr.core.files import make_folder, write_atomic
from lrfr.pairs.build.plan import BasePlan
from lrfr.pairs.format.records import JPEG, decode_payload
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.store import Store
from lrfr.pairs.build.tasks import RAW_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrfr.degrade.spec.model import Spec

TRIAL = 32
_RECORD_BYTES = 28


def estimate(store: Store, ingest: Ingest, specs: Sequence[Spec], runner: Runner, variants: int | None) -> dict[str, Any]:
    """Plan everything, try it on a few faces, and scale up.

    Returns:
        ``estimate``: rows of part, images to write, MB and minutes on one core; ``rows``, ``identities``,
            ``refused``, ``flagged``.

    """
    # without the scan cache nothing at all is written
    planned = plan_base(store, replace(ingest, cached=False), runner)
    plan, count = planned.plan, len(planned.plan.faces)
    images, hr_bytes, hr_seconds = _try_hr(ingest, plan)
    there = (store.base(plan.base_id) / "manifest.json").exists()
    rows = [_row("HR", 0 if there else count, hr_bytes, hr_seconds)]
    base = {"rows": count, "content": plan.content_id}
    for variant in wanted_variants(specs, None, variants, False):
        rows.append(_lr_row(store, base, variant, plan, images))
    return {
        "estimate": rows,
        "base": plan.base_id,
        "rows": count,
        "identities": len(plan.rows.label_names),
        "refused": planned.refused,
        "flagged": planned.flagged,
    }


def _row(part: str, images: int, bytes_each: float, seconds_each: float) -> dict[str, Any]:
    return {"part": part, "images": images, "MB": round(images * bytes_each / 1e6, 2), "minutes": round(images * seconds_each / 60, 2)}


def _try_hr(ingest: Ingest, plan: BasePlan) -> tuple[list[NDArray[np.uint8]], float, float]:
    faces = plan.faces[:TRIAL]
    marks = ingest.marks(faces) or (None,) * len(faces)
    start = time.perf_counter()
    payloads = [ingest.options.prepare.jpeg(ingest.source.read(face.place), mark) for face, mark in zip(faces, marks, strict=True)]
    seconds = (time.perf_counter() - start) / len(faces)
    return (
        [decode_payload(payload, JPEG, 0, 0) for payload in payloads],
        float(np.mean([len(payload) + _RECORD_BYTES for payload in payloads])),
        seconds,
    )


def _lr_row(store: Store, base: dict[str, Any], variant: Variant, plan: BasePlan, images: list[NDArray[np.uint8]]) -> dict[str, Any]:
    from lrfr.degrade.pipeline import Pipeline

    pipeline = Pipeline(variant.spec)
    keys = [plan.rows.key(row) for row in range(len(images))]
    pipeline.run(keys[:1], images[:1], variant.number)  # what is loaded once does not count
    start = time.perf_counter()
    done = pipeline.run(keys, images, variant.number)
    seconds = (time.perf_counter() - start) / len(images)
    action, _, _ = variant_places(store, base, variant, pipeline.cost_ms)
    there = (store.lr(action) / "manifest.json").exists()
    sizes = [item.image.nbytes if item.image[..., 0].size <= RAW_PIXELS else len(encode_png(item.image)) for item in done]
    return _row(f"{variant.spec.name}.v{variant.number}", 0 if there else base["rows"], float(np.mean(sizes)) + _RECORD_BYTES, seconds)


def contact_sheet(ingest: Ingest, specs: Sequence[Spec], path: Path, faces: int = 8) -> None:
    """Write a PNG: a row per face, HR first and then one column a spec, enlarged to the HR size by pixel
    repetition.

    Raises:
        SpecError: the file would not be a PNG.

    """
    from lrfr.degrade.pipeline import Pipeline

    if path.suffix.lower() != ".png":
        raise SpecError("a contact sheet is a PNG", file=str(path))
    listed = ingest.faces()
    picked = [listed[index] for index in np.linspace(0, len(listed) - 1, min(faces, len(listed))).astype(int).tolist()]
    marks = ingest.marks(picked) or (None,) * len(picked)
    images = [ingest.options.prepare.pixels(ingest.source.read(face.place), mark) for face, mark in zip(picked, marks, strict=True)]
    columns = [images]
    for spec in specs:
        done = Pipeline(spec).run([face.key_bytes for face in picked], images, 0)
        columns.append([_repeat(item.image, ingest.options.prepare.size_px) for item in done])
    sheet = np.concatenate([np.concatenate(column, axis=0) for column in columns], axis=1)
    make_folder(path.parent)
    write_atomic(path, encode_png(np.ascontiguousarray(sheet)), path.parent)


def _repeat(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Enlarge by pixel repetition, so that the native pixels can be seen."""
    rows = np.arange(size_px) * image.shape[0] // size_px
    columns = np.arange(size_px) * image.shape[1] // size_px
    return np.asarray(image[rows][:, columns])
