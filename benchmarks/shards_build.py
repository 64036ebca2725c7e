"""From a folder of faces to HR and one LR size on disk: make-pairs beside a hand-written floor that verifies
as it does, and beside other formats; then eight variants of one base. CPU seconds, medians, all in one run.

``python -m benchmarks.shards_build [--count N] [--rounds R] [--json FILE]``
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import xxhash
from numpy.typing import NDArray

from benchmarks.shards import write_faces
from benchmarks.shards_write import SPECS, build

BLOCK, SIDE = 64, 14


def cpu(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call with its child processes, to the microsecond."""
    before = _used()
    work()
    return _used() - before


def _used() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(found.ru_utime + found.ru_stime for found in both)


def faces(root: Path) -> Iterator[tuple[str, bytes, NDArray[np.uint8]]]:
    """Yield key, bytes and pixels of every face, hashed and decoded once."""
    for path in sorted(root.rglob("*.jpg")):
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        yield (
            str(path.relative_to(root)),
            data,
            np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8),
        )


def shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the 14 px image that the store's spec makes."""
    from lrfr.degrade.ops.resize import resize_batch

    return np.asarray(resize_batch(image[None], SIDE, "bicubic", True)[0])


def floor(source: Path, out: Path) -> None:
    """Write two LMDB files by hand: every source hashed and decoded once and its size checked, every record
    with a check, both files hashed and synced.

    It trusts its source (no look at the header before a decoder gets the bytes, standard error as it is), and
    can tell no file that changed, go on after a kill, nor find a face again.
    """
    from lrfr.degrade.ops.resize import resize_batch

    out.mkdir()
    envs = [lmdb.open(str(out / name), map_size=1 << 32, subdir=False, sync=False) for name in ("hr", "lr")]
    block: list[tuple[bytes, NDArray[np.uint8]]] = []

    def flush(number: int) -> None:
        small = resize_batch(np.stack([pixels for _, pixels in block]), SIDE, "bicubic", True)
        for env, parts in ((envs[0], [data for data, _ in block]), (envs[1], [x.tobytes() for x in small])):
            value = b"".join(xxhash.xxh3_64_digest(part) + part for part in parts)
            with env.begin(write=True) as transaction:
                transaction.put(number.to_bytes(4, "big"), value, append=True)
        block.clear()

    number = 0
    for key, data, pixels in faces(source):
        if pixels.shape != (112, 112, 3):
            raise ValueError(f"{key}: {pixels.shape}")
        block.append((data, pixels))
        if len(block) == BLOCK:
            flush(number)
            number += 1
    if block:
        flush(number)
    for env, name in zip(envs, ("hr", "lr"), strict=True):
        env.sync(True)
        env.close()
        with (out / name).open("rb") as handle:
            hashlib.file_digest(handle, "sha256")


def plain_files(source: Path, out: Path) -> None:
    """Degrade by albumentations in a DataLoader and write a JPEG and a PNG a face."""
    import albumentations as A
    from torch.utils.data import DataLoader

    smaller = A.Resize(SIDE, SIDE, interpolation=cv2.INTER_AREA)
    paths = sorted(source.rglob("*.jpg"))

    class Faces:
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
            image = cv2.imread(str(paths[index]), cv2.IMREAD_COLOR_RGB)
            return index, image, smaller(image=image)["image"]

    out.mkdir()
    for batch in DataLoader(Faces(), batch_size=64, num_workers=0, collate_fn=list):  # type: ignore[arg-type]
        for index, _, small in batch:
            shutil.copyfile(paths[index], out / f"{index:06d}.jpg")
            cv2.imwrite(str(out / f"{index:06d}.png"), small[..., ::-1])


def webdataset(source: Path, out: Path) -> None:
    """Write tar archives."""
    from webdataset import ShardWriter

    out.mkdir()
    with ShardWriter(f"file:{out}/%05d.tar", maxcount=2048, verbose=0) as sink:
        for number, (_, data, image) in enumerate(faces(source)):
            sink.write({"__key__": f"{number:06d}", "jpg": data, "lr": shrunk(image).tobytes()})


def streaming(source: Path, out: Path) -> None:
    """Write MDS shards with hashes."""
    from streaming import MDSWriter

    with MDSWriter(out=str(out), columns={"hr": "bytes", "lr": "bytes"}, hashes=["xxh3_64"]) as sink:
        for _, data, image in faces(source):
            sink.write({"hr": data, "lr": shrunk(image).tobytes()})


def hf_datasets(source: Path, out: Path) -> None:
    """Write Arrow files."""
    import datasets

    made = datasets.Dataset.from_generator(
        _arrow_rows, gen_kwargs={"source": str(source)}, cache_dir=str(out / "cache")
    )
    made.save_to_disk(str(out / "set"))


def _arrow_rows(source: str) -> Iterator[dict[str, bytes]]:
    for _, data, image in faces(Path(source)):
        yield {"hr": data, "lr": shrunk(image).tobytes()}


def array_record(source: Path, out: Path) -> None:
    """Write one array_record file."""
    from array_record.python.array_record_module import ArrayRecordWriter

    out.mkdir()
    sink = ArrayRecordWriter(str(out / "pairs"), "group_size:1")
    for _, data, image in faces(source):
        sink.write(data + shrunk(image).tobytes())
    sink.close()


def litdata(source: Path, out: Path) -> None:
    """Write litdata chunks."""
    import litdata as package

    paths = [str(path) for path in sorted(source.rglob("*.jpg"))]
    package.optimize(_litdata_item, paths, str(out), chunk_bytes="64MB", num_workers=1, verbose=False)


def _litdata_item(path: str) -> dict[str, bytes]:
    data = Path(path).read_bytes()
    image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)
    return {"hr": data, "lr": shrunk(image).tobytes()}


PEERS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "albumentations + DataLoader -> files": ("albumentations", plain_files),
    "webdataset": ("webdataset", webdataset),
    "MDS": ("streaming", streaming),
    "litdata": ("litdata", litdata),
    "HF datasets": ("datasets", hf_datasets),
    "array_record": ("array_record", array_record),
}


def end_to_end(source: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Return CPU seconds of each writer, and make-pairs as a multiple of the floor."""
    writers: dict[str, Callable[[Path, Path], Any]] = {
        "floor": floor,
        "lrfr": lambda faces, out: build(faces, out, (SIDE,), "default", executor="serial"),
    }
    writers |= {name: work for name, (package, work) in PEERS.items() if importlib.util.find_spec(package)}
    times: dict[str, list[float]] = {name: [] for name in writers}
    few = folder / "few"
    write_faces(few, 64)
    for work in writers.values():  # what is imported once does not count
        work(few, folder / "out")
        shutil.rmtree(folder / "out")
    for _ in range(rounds):
        for name, work in writers.items():
            out = folder / "out"
            times[name].append(cpu(lambda work=work, out=out: work(source, out)))
            shutil.rmtree(out)
    found: dict[str, Any] = {name: round(statistics.median(values), 3) for name, values in times.items()}
    ratios = [ours / least for ours, least in zip(times["lrfr"], times["floor"], strict=True)]
    missing = [name for name, (package, _) in PEERS.items() if not importlib.util.find_spec(package)]
    return {**found, "lrfr_of_floor": round(statistics.median(ratios), 3), "not_installed": missing}


def eight_variants(source: Path, folder: Path, rounds: int) -> dict[str, float]:
    """Return CPU seconds of eight draws of ``maug`` over one base, and of decoding once and eight times the
    pure op.
    """
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import load_spec
    from lrfr.pairs.build.make import MakeOptions, make_pairs
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.sources.folder import FolderSource

    store, spec = folder / "eight", load_spec("maug")
    options, runner = MakeOptions(variants=8), Runner("serial")
    make_pairs(FolderSource(source), store=store, runner=runner)
    images = [data for _, data, _ in faces(source)]
    pipeline = Pipeline(spec)

    def pure() -> None:
        for start in range(0, len(images), 64):
            part = [
                cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
                for data in images[start : start + 64]
            ]
            for variant in range(8):
                pipeline.run([b"%d" % row for row in range(start, start + len(part))], part, variant)

    both = []
    for _ in range(rounds):
        shutil.rmtree(store / "lr", ignore_errors=True)
        ours = cpu(
            lambda: make_pairs(FolderSource(source), [spec], store=store, options=options, runner=runner)
        )
        both.append((ours, cpu(pure)))
    return {
        "make_pairs_s": round(statistics.median(ours for ours, _ in both), 3),
        "decode_and_ops_s": round(statistics.median(least for _, least in both), 3),
        "ratio": round(statistics.median(ours / least for ours, least in both), 3),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_faces(folder / "faces", arguments.count)
        start = time.perf_counter()
        found: dict[str, Any] = {"faces": arguments.count, "spec": SPECS[SIDE]}
        found["end_to_end_s"] = end_to_end(folder / "faces", folder, arguments.rounds)
        found["eight_variants"] = eight_variants(folder / "faces", folder, arguments.rounds)
        found["wall_s"] = round(time.perf_counter() - start, 1)
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
