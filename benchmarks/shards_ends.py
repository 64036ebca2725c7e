"""From a folder of JPEG faces to shuffled batches: lrfr beside albumentations with a DataLoader and files,
WebDataset, MDS, litdata, Hugging Face ``datasets`` and ArrayRecord, in CPU seconds of one run.

    python benchmarks/shards_ends.py --faces 20000 --json ends.json

Every contestant reads the same files, makes a 14 px image of each, keeps JPEG and LR pixels in its own format
and reads one epoch of both, decoded, in an order as random as it offers. Only lrfr hashes every face, checks
every record and resumes. Packages that are missing are named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import shards_peers as peers
from benchmarks.shards import write_faces
from benchmarks.shards_write import build

Face = tuple[bytes, bytes]
LR_PX, BATCH = 14, 64


def cpu_with_children(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call, its ended child processes included."""

    def spent() -> float:
        kinds = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        return sum(item.ru_utime + item.ru_stime for item in kinds)

    start = spent()
    work()
    return spent() - start


def faces_of(source: Path) -> Iterator[Face]:
    """Yield the JPEG and the raw 14 px image of every file."""
    for path in sorted(source.rglob("*.jpg")):
        data = path.read_bytes()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        yield data, cv2.resize(pixels, (LR_PX, LR_PX), interpolation=cv2.INTER_AREA).tobytes()


def look(data: bytes, small: bytes) -> int:
    """Decode both images of a face and return a byte of each."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return int(pixels[0, 0, 0]) + int(np.frombuffer(small, np.uint8).reshape(LR_PX, LR_PX, 3)[0, 0, 0])


@dataclass(frozen=True)
class Contestant:
    """How one format is written and read.

    Attributes:
        write: (source, folder).
        read: (folder, faces); reads one epoch.
        package: that it needs.

    """

    write: Callable[[Path, Path], Any]
    read: Callable[[Path, int], Any]
    package: str = ""


def _lrfr_read(folder: Path, count: int) -> None:
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.reading.loader import PairLoader

    for _ in PairLoader(PairDataset(folder), BATCH, threads=0):
        pass


def _files_write(source: Path, folder: Path) -> None:
    """Degrade by albumentations in a DataLoader, as a script of one's own does."""
    import albumentations
    from torch.utils.data import DataLoader

    paths = sorted(source.rglob("*.jpg"))
    small = albumentations.Resize(LR_PX, LR_PX, interpolation=cv2.INTER_AREA)
    data = _Degraded(paths, small)
    folder.mkdir()
    for number, (jpeg, lr) in enumerate(DataLoader(data, batch_size=None)):  # type: ignore[arg-type]
        (folder / f"{number:06d}.jpg").write_bytes(jpeg)
        cv2.imwrite(str(folder / f"{number:06d}.png"), np.asarray(lr)[..., ::-1])  # it comes as a tensor


@dataclass(frozen=True)
class _Degraded:
    paths: list[Path]
    small: Any

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[bytes, Any]:
        data = self.paths[index].read_bytes()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        return data, np.asarray(self.small(image=pixels)["image"])


def _files_read(folder: Path, count: int) -> None:
    for number in np.random.default_rng(0).permutation(count).tolist():
        hr = cv2.imread(str(folder / f"{number:06d}.jpg"), cv2.IMREAD_COLOR_RGB)
        lr = cv2.imread(str(folder / f"{number:06d}.png"), cv2.IMREAD_COLOR_RGB)
        int(hr[0, 0, 0]) + int(lr[0, 0, 0])


def _packed(source: Path) -> list[peers.Pair]:
    return [(*face, b"") for face in faces_of(source)]


def _stream(pairs: Callable[[Path], Iterator[peers.Pair]], folder: Path, count: int) -> None:
    for pair in islice(pairs(folder), count):
        look(*pair[:2])


def _hf_write(source: Path, folder: Path) -> None:
    from datasets import Dataset

    rows = ({"hr": hr, "lr": lr} for hr, lr in faces_of(source))
    columns = list(rows)
    Dataset.from_dict({name: [row[name] for row in columns] for name in ("hr", "lr")}).save_to_disk(folder)


def _hf_read(folder: Path, count: int) -> None:
    from datasets import load_from_disk

    for row in load_from_disk(folder).shuffle(seed=0):
        look(row["hr"], row["lr"])


def _record_write(source: Path, folder: Path) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    folder.mkdir()
    writer = ArrayRecordWriter(str(folder / "faces.array_record"), "group_size:1")
    for hr, lr in faces_of(source):
        writer.write(peers.pack((hr, lr, b"")))
    writer.close()


def _record_read(folder: Path, count: int) -> None:
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(folder / "faces.array_record"))
    order = np.random.default_rng(0).permutation(count).tolist()
    for start in range(0, count, BATCH):
        for value in reader.read(order[start : start + BATCH]):
            look(*peers.unpack(value)[:2])
    reader.close()


CONTESTANTS = {
    "lrfr": Contestant(partial(build, sides=(LR_PX,), view="default", executor="serial"), _lrfr_read),
    "albumentations, DataLoader, files": Contestant(_files_write, _files_read, "albumentations"),
    "webdataset": Contestant(
        lambda source, folder: peers.write_webdataset(folder, _packed(source)),
        partial(_stream, peers.webdataset_stream),
        "webdataset",
    ),
    "MDS (mosaicml-streaming)": Contestant(
        lambda source, folder: peers.write_mds(folder, _packed(source)),
        partial(_stream, lambda folder: peers.mds(folder)[1]),
        "streaming",
    ),
    "litdata": Contestant(
        lambda source, folder: peers.write_litdata(folder, _packed(source)),
        partial(_stream, lambda folder: peers.litdata_pairs(folder)[1]),
        "litdata",
    ),
    "Hugging Face datasets": Contestant(_hf_write, _hf_read, "datasets"),
    "ArrayRecord": Contestant(_record_write, _record_read, "array_record"),
}


def measure(source: Path, folder: Path, count: int) -> list[dict[str, Any]]:
    """Measure every contestant whose package is here."""
    found = []
    for number, (name, contestant) in enumerate(CONTESTANTS.items()):
        if contestant.package and not importlib.util.find_spec(contestant.package):
            found.append({"name": name, "missing": contestant.package})
            continue
        target = folder / f"out{number}"
        try:
            written = cpu_with_children(partial(contestant.write, source, target))
            read = cpu_with_children(partial(contestant.read, target, count))
        except Exception as error:  # of a peer's, whatever it is
            found.append({"name": name, "missing": f"{type(error).__name__}: {error}"[:200]})
            continue
        files = [path for path in target.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
        figures = {"write_s": round(written, 2), "read_s": round(read, 2), "mb": round(size, 1)}
        found.append({"name": name, **figures, "files": len(files)})
        print(found[-1], flush=True)
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="of JPEG faces; by default such are made")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="lrfr-ends-") as name:
        source = options.folder or Path(name) / "faces"
        if options.folder is None:
            write_faces(source, options.faces)
        count = sum(1 for _ in source.rglob("*.jpg"))
        with tempfile.TemporaryDirectory(prefix="lrfr-warm-") as warm:
            write_faces(Path(warm) / "few", 64)
            measure(Path(warm) / "few", Path(warm), 64)  # what is imported once does not count
        found = measure(source, Path(name), count)
    print(f"\n| {count:,} faces | write, CPU s | read an epoch, CPU s | MB | files |\n|---|---|---|---|---|")
    for line in found:
        if "missing" in line:
            print(f"| {line['name']} | not here: {line['missing']} | | | |")
            continue
        print(f"| {line['name']} | {line['write_s']} | {line['read_s']} | {line['mb']} | {line['files']} |")
    if options.json:
        options.json.write_text(json.dumps({"faces": count, "table": found}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
