"""What little or nothing new costs a store: one more percent of faces, and the same command again over a
folder, a zip, a tar and a .rec of them. CPU seconds, medians over rounds in turn, all in one run.

``python -m benchmarks.shards_again [--rows N] [--rounds R] [--json FILE]``
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import struct
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shards_build import cpu
from benchmarks.shards_scale import SIDE, SPEC, _ingest
from lrfr.core.image import encode_jpeg

REC_MAGIC, REC_HEAD = 0xCED7230A, "<IfQQ"


def growth(rows: int, rounds: int) -> dict[str, float]:
    """Measure a build of tiny faces and one more percent of them; every round is a store of its own, of which
    both are measured, and the first does not count.

    Returns:
        ``build_s`` and ``extend_s``, medians; ``work_percent``, the median of the rounds' shares;
        ``least_s``, what the same extension costs where all of it is there.

    """
    from lrfr.degrade.spec.model import parse_spec
    from lrfr.pairs.build.make import MakeOptions, make_pairs
    from lrfr.pairs.executors.dispatch import Runner

    spec, runner, options = parse_spec(SPEC), Runner("serial"), MakeOptions(extend="default")
    built, extended, again = [], [], []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory(prefix="lrfr-again-") as name:
            store = Path(name) / "store"

            def extend(store: Path = store) -> Any:
                return make_pairs(_ingest(rows, rows // 100), store=store, options=options, runner=runner)

            source = _ingest(0, rows)
            built.append(cpu(lambda: make_pairs(source, [spec], store=store, runner=runner)))  # noqa: B023
            extended.append(cpu(extend))
            again.append(cpu(extend))
    shares = [100 * more / whole for more, whole in zip(extended[1:], built[1:], strict=True)]
    return {
        "build_s": statistics.median(built[1:]),
        "extend_s": statistics.median(extended[1:]),
        "least_s": statistics.median(again[1:]),
        "work_percent": statistics.median(shares),
    }


Faces = list[tuple[str, bytes]]


def _faces(rows: int) -> Faces:
    """Return names and JPEGs of which no two are alike: a remark for each is none of what is measured."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (rows, SIDE, SIDE, 3), dtype=np.uint8)
    return [(f"{row // 100:06d}/{row:08d}.jpg", encode_jpeg(image)) for row, image in enumerate(images)]


def _folder(root: Path, faces: Faces) -> Path:
    for name, data in faces:
        path = root / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root / "faces"


def _zip(root: Path, faces: Faces) -> Path:
    with zipfile.ZipFile(root / "faces.zip", "w") as archive:
        for name, data in faces:
            archive.writestr(name, data)
    return root / "faces.zip"


def _tar(root: Path, faces: Faces) -> Path:
    with tarfile.open(root / "faces.tar", "w") as archive:
        for name, data in faces:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return root / "faces.tar"


def _rec(root: Path, faces: Faces) -> Path:
    with (root / "faces.rec").open("wb") as file:
        for row, (_, data) in enumerate(faces):
            payload = struct.pack(REC_HEAD, 0, float(row // 100), row, 0) + data
            file.write(struct.pack("<II", REC_MAGIC, len(payload)) + payload + bytes(-len(payload) % 4))
    return root / "faces.rec"


FORMS: dict[str, Callable[[Path, Faces], Path]] = {"folder": _folder, "zip": _zip, "tar": _tar, "rec": _rec}


def again(rows: int, rounds: int) -> dict[str, float]:
    """Return microseconds a row of the same command again, by the form of the source."""
    from lrfr.degrade.spec.model import parse_spec
    from lrfr.pairs.build.ingest import IngestOptions
    from lrfr.pairs.build.make import MakeOptions, make_pairs
    from lrfr.pairs.executors.dispatch import Runner

    spec, runner = parse_spec(SPEC), Runner("serial")
    options = MakeOptions(ingest=IngestOptions(size_px=SIDE))
    with tempfile.TemporaryDirectory(prefix="lrfr-again-") as name:
        places, faces = {}, _faces(rows)
        for form, write in FORMS.items():
            root = Path(name) / form
            root.mkdir()
            places[form] = write(root, faces)
        time.sleep(0.5)  # stamps are believed once they are older than a tick of the clock

        def make(form: str) -> None:
            store = Path(name) / form / "store"
            done = make_pairs(places[form], [spec], store=store, options=options, runner=runner)
            assert len(done.parts) == 1 and done.done.rows == rows

        times: dict[str, list[float]] = {form: [] for form in FORMS}
        for form in [*FORMS, *FORMS]:  # written, then what is remembered of a second look
            make(form)
        for _ in range(rounds):
            for form in FORMS:
                times[form].append(cpu(lambda form=form: make(form)))
    return {form: 1e6 * statistics.median(spent) / rows for form, spent in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {"growth": growth(arguments.rows, arguments.rounds)}
    print(json.dumps(found["growth"]), flush=True)
    found["again_us_per_row"] = again(arguments.rows, arguments.rounds)
    print(json.dumps(found["again_us_per_row"]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": arguments.rows, **found}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
