"""SCface: mugshots searched for by surveillance cameras at three distances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.protocols.identify import SearchList, digest_of, identify
from lrfr.eval.protocols.layout import need, rows_of
from lrfr.eval.results import Result
from lrfr.eval.settings import NATIVE, Task

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
    shots = sorted(
        path for path in need(data, "mugshot_frontal_cropped_all", SCFACE_TREE).iterdir() if path.is_file()
    )
    people = sorted({path.name[:3] for path in shots})
    chosen, split = _scface_split(data, people, task.settings.seed)
    gallery = [path for path in shots if path.name[:3] in chosen]
    results = []
    for distance in (1, 2, 3):
        folder = need(data, f"surveillance_cameras_distance_{distance}", SCFACE_TREE)
        probe = sorted(p for cam in range(1, 6) for p in folder.glob(f"cam_{cam}/*") if p.name[:3] in chosen)
        if not probe:
            raise DataError(
                "no probe of a test identity", file=str(folder), hint=f"expected tree:\n{SCFACE_TREE.strip()}"
            )
        lists = SearchList(
            name=f"scface-d{distance}",
            gallery=gallery,
            gallery_id=np.array([int(path.name[:3]) for path in gallery]),
            probe=probe,
            probe_id=np.array([int(path.name[:3]) for path in probe]),
            digest=digest_of(sorted(chosen)),
        )
        found = identify(task, lists, ranks=(1, 5, 10, 20), flip="none", sizes=NATIVE)
        results += [replace(result, more={"split": split, "distance": f"d{distance}"}) for result in found]
    return results


def _scface_split(data: Path, people: list[str], seed: int) -> tuple[set[str], str]:
    path = data / "test_ids.txt"
    if path.exists():
        chosen = {row[0].zfill(3) for _, row in rows_of(path, 1)}
        unknown = chosen - set(people)
        if unknown:
            raise DataError(f"identity {min(unknown)} has no mugshot", file=str(path))
        return chosen, "test_ids.txt"
    count = min(80, len(people))
    drawn = np.random.default_rng(seed).choice(len(people), count, replace=False)
    return {people[i] for i in drawn}, f"drawn from seed {seed}: not the papers' split"
