"""Every protocol on fixed toy input: {benchmark: [revision, digest of its numbers]}.

Renew the file after a revision was raised: ``python -m tests.eval.golden``. It refuses when a number moved and the
revision did not.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import scipy

from lrfr.eval.pairs import made_lists, synthetic_pairs
from lrfr.eval.pairs.face_table import table_of_source
from lrfr.eval.protocols.table import BENCHMARKS
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Result
from lrfr.eval.settings import Settings, Task
from tests.eval.test_attributes import RedAndBright, gray_classes, write_celeba, write_svhn
from tests.eval.test_cli import write_pairs
from tests.eval.test_identify import write_scface, write_survface, write_tinyface
from tests.eval.test_ijb import write_ijb
from tests.eval.world import color_embed
from tests.pairs.toy import ToySource, build

FILE = Path(__file__).parents[1] / "data" / "eval_golden.json"
Golden = Mapping[str, list[object]]
SETTINGS = Settings(sizes=(24, 6), replicates=20)


def _verification(folder: Path) -> list[Result]:
    pairs = synthetic_pairs(identities=10, per_identity=3, count=40)
    found = []
    for letter in "ABCDEF":
        settings = Settings(
            sizes=(112, 14, "fskd"), replicates=20, convention=letter, flip="sum", any_folds=True
        )
        found += verify(Task(color_embed, settings), pairs)
    return found


def _run(name: str, write: Callable[[Path], object], embed=color_embed) -> Callable[[Path], list[Result]]:
    def measure(folder: Path) -> list[Result]:
        write(folder)
        settings = Settings(sizes=(112, 14), replicates=20) if name == "ijbc" else SETTINGS
        return BENCHMARKS[name].run(folder, Task(embed, settings))

    return measure


def _write_svhn(folder: Path) -> None:
    write_svhn(folder / "test_32x32.mat")


def _write_people(folder: Path) -> None:
    write_celeba(folder, 40)
    rows = [f"{number:06d}.png {number // 8}" for number in range(40)]
    (folder / "identity_CelebA.txt").write_text("\n".join(rows))


def _write_lists(folder: Path) -> None:
    write_pairs(folder, 20)
    for part, take in (("gallery", "b"), ("probe", "a")):
        rows = [f"p{row}/{take}.png\tp{row}" for row in range(1, 20, 2)]
        (folder / f"{part}.tsv").write_text("\n".join(rows))
    (folder / "distractor.tsv").write_text("\n".join(f"p{row}/a.png" for row in range(0, 20, 2)))


def _view(folder: Path) -> list[Result]:
    build(folder / "store", ToySource(30, 3))
    data = Path(f"{folder / 'store'},pairs=120,hard=Odd")
    return BENCHMARKS["view"].run(data, Task(color_embed, Settings(replicates=20)))


RUNS: dict[str, Callable[[Path], list[Result]]] = {
    "synthetic": _verification,
    "pairs-tsv": _run("pairs-tsv", lambda folder: write_pairs(folder)),
    "identify-tsv": _run("identify-tsv", _write_lists),
    "tinyface": _run("tinyface", write_tinyface),
    "scface": _run("scface", write_scface),
    "survface": _run("survface", write_survface),
    "ijbc": _run("ijbc", write_ijb),
    "celeba": _run("celeba", write_celeba, RedAndBright()),
    "celeba-pairs": _run("celeba-pairs", _write_people),
    "view": _view,
    "svhn": _run("svhn", _write_svhn, gray_classes),
}


def _lists() -> str:
    """A digest of one drawn list of pairs and of one search."""
    faces = table_of_source(ToySource(30, 4))
    pairs = made_lists.make_pair_list(faces, made_lists.PairPlan(pairs=60, folds=3, hard=("Odd",), seed=2))
    search = made_lists.make_gallery(faces, made_lists.GalleryPlan(strangers=0.2, seed=2))
    parts = ("gallery", "probe", "distractor")
    drawn = [list(pairs.rows()), [list(search.rows(part)) for part in parts]]
    return hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()[:24]


def versions() -> dict[str, str]:
    """Return the libraries that golden values hold for."""
    return {"numpy": np.__version__, "opencv": cv2.__version__, "scipy": scipy.__version__}


def numbers(results: list[Result]) -> str:
    """Return a digest of all numbers of some results, to six decimals, and of the lists that they are of."""
    rows = [
        [
            result.benchmark,
            result.protocol,
            result.list_digest,
            {
                name: [round(found.value, 6), found.n, found.resolvable, _interval(found.interval)]
                for name, found in result.metrics.items()
            },
        ]
        for result in results
    ]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:24]


def _interval(span: object) -> object:
    return None if span is None else [round(span.low, 6), round(span.high, 6), span.kind]


def golden() -> dict[str, list[object]]:
    """Return {benchmark: [revision, digest]} of this tree."""
    found: dict[str, list[object]] = {"made lists": [made_lists.REVISION, _lists()]}
    for name, run in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = [BENCHMARKS[name].revision, numbers(run(Path(folder)))]
    return found


def moved(known: Golden, found: Golden) -> list[str]:
    """Return what is wrong with each benchmark whose value is not the known one."""
    faults = []
    for name, (revision, digest) in found.items():
        if name not in known:
            faults.append(f"{name}: has no golden value; run: python -m tests.eval.golden")
        elif known[name][0] != revision:
            faults.append(
                f"{name}: the golden value is of another revision; run: python -m tests.eval.golden"
            )
        elif known[name][1] != digest:
            faults.append(f"{name}: other numbers under the same revision {revision}: raise it, or mend it")
    return faults


def renew() -> int:
    """Write the values of this tree; refuse when numbers moved under an old revision."""
    found = golden()
    record = json.loads(FILE.read_text()) if FILE.exists() else {"versions": versions(), "benchmarks": {}}
    same_libraries = record["versions"] == versions()
    faults = [fault for fault in moved(record["benchmarks"], found) if "under the same" in fault]
    if faults and same_libraries:
        print("\n".join(faults), file=sys.stderr)
        return 1
    FILE.write_text(json.dumps({"versions": versions(), "benchmarks": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(renew())
