"""SCface: mugshots searched for by surveillance cameras at three distances."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.pairs import SearchList
from lrfr.eval.protocols.identify import digest_of, identify
from lrfr.eval.protocols.layout import integer, need, rows_of, told_tree
from lrfr.eval.protocols.seen import Ledger, numbers_in
from lrfr.eval.results import Result
from lrfr.eval.settings import NATIVE, Task

CAMERAS = range(1, 6)
OUTSIDE = "not of the test identities"
SCFACE_TREE = """
mugshot_frontal_cropped_all/001_frontal.JPG
surveillance_cameras_distance_1/cam_1/001_cam1_1.jpg    (likewise distance 2 and 3, cameras 1 to 5)
test_ids.txt                                            (optional: the 80 test identities, one a line)"""


def run_scface(data: Path, task: Task) -> list[Result]:
    """Evaluate SCface at d1, d2 and d3: one mugshot for each of 80 people, five cameras each; one result per
    distance.

    The published list of the 80 people is in no public repository: give ``test_ids.txt``, or a split is drawn
    from the seed. Either way the result carries the split's hash.
    """
    mugshots = need(data, "mugshot_frontal_cropped_all", SCFACE_TREE)
    shots = {
        path: _person(path, r"(\d{3})_frontal", "001_frontal.jpg") for path in Ledger().pictures(mugshots)
    }
    chosen, split = _scface_split(data, sorted(set(shots.values())), task.settings.seed)
    gallery = _one_each(shots, chosen)
    results = []
    for distance in (1, 2, 3):
        ledger = Ledger()
        ledger.pictures(mugshots, lambda path: "" if path in gallery else OUTSIDE)
        probe, absent = _probes(data, distance, chosen, ledger)
        lists = SearchList(
            name=f"scface-d{distance}",
            gallery=list(gallery),
            gallery_id=np.array(list(gallery.values())),
            probe=list(probe),
            probe_id=np.array(list(probe.values())),
            digest=digest_of(sorted(f"{person:03d}" for person in chosen)),
            files=ledger.files(),
        )
        found = identify(task, lists, ranks=(1, 5, 10, 20), flip="none", sizes=NATIVE)
        more = {"split": split, "distance": f"d{distance}"}
        results += [replace(result, more=more, remarks=(*absent, *result.remarks)) for result in found]
    return results


def _person(path: Path, pattern: str, example: str) -> int:
    return numbers_in(path, re.compile(pattern, re.IGNORECASE), example)[0]


def _one_each(shots: Mapping[Path, int], chosen: Collection[int]) -> dict[Path, int]:
    """Return the mugshots of the chosen people; two of one person are refused, as the test has one each."""
    found: dict[int, Path] = {}
    for path, person in shots.items():
        if person in found:
            raise DataError(
                f"a second mugshot of person {person:03d} beside {found[person].name}", file=str(path)
            )
        found[person] = path
    return {path: person for person, path in sorted(found.items()) if person in chosen}


def _probes(
    data: Path, distance: int, chosen: Collection[int], ledger: Ledger
) -> tuple[dict[Path, int], list[str]]:
    """Return one distance's pictures of the chosen people, and a remark on those that are missing."""
    root = need(data, f"surveillance_cameras_distance_{distance}", SCFACE_TREE)
    probe: dict[Path, int] = {}
    for camera in CAMERAS:
        form = f"001_cam{camera}_{distance}.jpg"

        def outside(path: Path, camera: int = camera, form: str = form) -> str:
            person = _person(path, rf"(\d{{3}})_cam{camera}_{distance}", form)
            return "" if person in chosen else OUTSIDE

        folder = need(root, f"cam_{camera}", SCFACE_TREE)
        probe |= {path: int(path.name[:3]) for path in ledger.pictures(folder, outside)}
    for path in sorted(root.iterdir()):
        if path.name not in {f"cam_{camera}" for camera in CAMERAS}:
            ledger.skip("not of cameras 1 to 5", f"{root.name}/{path.name}")
    if not probe:
        raise DataError("no probe of a test identity", file=str(root), hint=told_tree(SCFACE_TREE))
    wanted = len(CAMERAS) * len(chosen)
    absent = [f"{wanted - len(probe)} of {wanted} probes are not there"] if len(probe) != wanted else []
    return probe, absent


def _scface_split(data: Path, people: list[int], seed: int) -> tuple[set[int], str]:
    path = data / "test_ids.txt"
    if path.exists():
        chosen = {integer(row[0], path, number) for number, row in rows_of(path, 1)}
        unknown = chosen - set(people)
        if unknown:
            raise DataError(
                f"{len(unknown)} identities have no mugshot, the first is {min(unknown):03d}", file=str(path)
            )
        return chosen, "test_ids.txt"
    count = min(80, len(people))
    drawn = np.random.default_rng(seed).choice(len(people), count, replace=False)
    return {people[i] for i in drawn}, f"drawn from seed {seed}: not the papers' split"
