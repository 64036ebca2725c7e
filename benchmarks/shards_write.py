"""What writing a store costs beside the pure operation, and how it grows with worker processes."""

from __future__ import annotations

import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SPECS = {
    side: f"""
version: 1
name: lr{side}
image: {{size: 112}}
pipeline:
  - {{op: down, id: d1, size: {side}, filter: bicubic, antialias: true}}
store: {{lr: native, up: {{size: 112, filter: bicubic, antialias: true}}}}
"""
    for side in (14, 28)
}
SLOW_SPEC = "realesrgan-2"


def cpu(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call, over all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall(work: Callable[[], Any]) -> float:
    """Return the wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def build(source: Path, store: Path, sides: tuple[int, ...], view: str, **runner: Any) -> Any:
    """Run make-pairs."""
    from lrfr.degrade.spec.model import parse_spec
    from lrfr.pairs.build.make import make_pairs
    from lrfr.pairs.build.scan import Ingest
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.sources.folder import FolderSource

    specs = [parse_spec(SPECS[side]) for side in sides]
    return make_pairs(Ingest(FolderSource(source)), specs, store=store, view=view, runner=Runner(**runner))


def writing(source: Path, folder: Path, jpegs: list[bytes], rounds: int) -> dict[str, Any]:
    """What the framework adds to the pure operation (decode and degrade), serial, for a fast and a slow spec;
    a second run of one spec.
    """
    from lrfr.degrade.spec.model import load_spec, parse_spec

    store = folder / "w"
    build(source, store, (), "default", executor="serial")
    found = {
        "fast": overhead(store, parse_spec(SPECS[14]), jpegs, rounds),
        "slow": overhead(store, load_spec(SLOW_SPEC), jpegs[:1024], rounds),
    }
    build(source, store, (14,), "default", executor="serial")
    found["second_run_s"] = round(wall(lambda: build(source, store, (14,), "default", executor="serial")), 3)
    again = build(source, store, (14,), "default", executor="serial")
    return {**found, "second_run_images": again.done.hr_written + again.done.lr_written}


def overhead(root: Path, spec: Any, jpegs: list[bytes], rounds: int) -> dict[str, float]:
    """CPU time of LR shards over that of decoding and degrading the same images, task by task in turn."""
    from lrfr.core.files import make_folder
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.pairs.build.lr import lr_places, lr_task, wanted_variants
    from lrfr.pairs.store import Store

    store, pipeline = Store(root), Pipeline(spec)
    base = store.base_manifest(store.bases()[0])
    variant = wanted_variants([spec], None, None, False)[0]
    places = lr_places(store, base, variant)
    tasks = [lr_task(store, base, [(variant, place)], None) for place in places if place.stop <= len(jpegs)]
    make_folder(places[0].folder)
    rows = store.rows(base.id)

    def operation(task: Any) -> None:
        for start in range(task.places[0].start, task.places[0].stop, 64):
            part = range(start, min(task.places[0].stop, start + 64))
            images = [cv2.imdecode(np.frombuffer(jpegs[row], np.uint8), cv2.IMREAD_COLOR_RGB) for row in part]
            pipeline.run([rows.key(row) for row in part], images)

    tasks[0].run()
    both = [(cpu(lambda task=task: operation(task)), cpu(task.run)) for _ in range(rounds) for task in tasks]
    shutil.rmtree(places[0].folder)
    images = len(tasks[0].places[0].rows)
    return {
        "operation_ms": round(1e3 * statistics.median(pure for pure, _ in both) / images, 3),
        "shard_ms": round(1e3 * statistics.median(whole for _, whole in both) / images, 3),
        "overhead": round(statistics.median(whole / pure for pure, whole in both) - 1, 4),
    }


def scaling(source: Path, folder: Path) -> dict[str, float]:
    """Wall time of one and of two worker processes, and of one and two bare processes that do the same
    degrading and nothing else.

    Two cores that share a machine with others, or one core with two threads, give bare processes less than
    twice the speed too.
    """
    from lrfr.degrade.spec.model import load_spec
    from lrfr.pairs.build.make import make_pairs
    from lrfr.pairs.build.scan import Ingest
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.sources.folder import FolderSource
    from lrfr.pairs.store import Store

    store, ingest, spec = Store(folder / "p"), Ingest(FolderSource(source)), load_spec(SLOW_SPEC)
    images = make_pairs(ingest, store=store).done.stored_rows
    times: dict[str, list[float]] = {}
    for workers in (1, 2, 1, 2, 1, 2):
        shutil.rmtree(folder / "p" / "lr", ignore_errors=True)
        runner = Runner("process", workers=workers)
        times.setdefault(f"{workers}_workers_s", []).append(
            wall(lambda runner=runner: make_pairs(ingest, spec, store=store, runner=runner))
        )
        times.setdefault(f"{workers}_bare_s", []).append(
            wall(lambda workers=workers: bare(images // workers, workers))
        )
    found = {name: round(min(values), 2) for name, values in times.items()}
    speed_up, ideal = found["1_workers_s"] / found["2_workers_s"], found["1_bare_s"] / found["2_bare_s"]
    return {
        **found,
        "speed_up": round(speed_up, 2),
        "bare_speed_up": round(ideal, 2),
        "of_bare": round(speed_up / ideal, 3),
    }


def bare(images: int, processes: int) -> None:
    """Degrade ``images`` noise images in each of some processes at once."""
    context = multiprocessing.get_context("forkserver")
    started = [context.Process(target=_degrade_only, args=(images,)) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()


def _degrade_only(images: int) -> None:
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import load_spec
    from lrfr.pairs.executors.base import prepare_worker

    prepare_worker()
    pipeline = Pipeline(load_spec(SLOW_SPEC))
    faces = list(np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), dtype=np.uint8))
    for start in range(0, images, 64):
        pipeline.run([b"%d" % index for index in range(start, start + 64)], faces)
