"""What ``lrfr experiment fit`` has found: the fit's arm less each other arm, on each camera, with intervals.

    python -m benchmarks.fit_gain fit/results --pairs faces/splits/dev_pairs.tsv

A difference is the mean over seeds of accuracies on the same pairs. Its variance is that over people
(bootstrap over identities of the mean over seeds) plus that over seeds (pooled over the arms of a camera,
divided by the number of seeds). Of one seed the interval is that of people alone, which is too narrow, and
nothing is told. Results with other names (of routers, say): --files "by-{camera}-{arm}-{seed}-routed.json".
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lrfr.eval.result_files import read_results
from lrfr.eval.results import Result, unpack
from lrfr.eval.scoring.intervals import Resampling

ARMS = ("scan", "surveillance", "realesrgan", "maug", "clean")
LEVEL = 0.05
FILES = "by-{camera}-{arm}-s{seed}.json"
Floats = NDArray[np.float64]


def cross(path: Path) -> Result:
    """Return the result on clean against seen faces of a file."""
    return next(one for one in read_results([path]) if one.matching == "cross" and one.per_pair)


def correct_of(result: Result) -> Floats:
    """Return which pairs were decided right, [P]."""
    return np.asarray(unpack((result.per_pair or {})["correct_u8"], "u1"), np.float64)


def files_of(folder: Path, camera: str, arm: str, names: str) -> dict[int, Path]:
    """Return the result file of each seed of an arm."""
    name = f"{arm}-{camera}" if arm in {"fitted", "scan"} else arm
    pattern = re.compile(
        re.escape(names.format(camera=camera, arm=name, seed="SEED")).replace("SEED", r"(\d+)")
    )
    found = {path: pattern.fullmatch(path.name) for path in sorted(folder.iterdir())}
    return {int(match[1]): path for path, match in found.items() if match}


def people_of(pairs: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the identity number of both sides of each pair."""
    rows = [line.split("\t")[:2] for line in pairs.read_text("utf-8").splitlines() if line]
    names = [[place.split("/")[0] for place in row] for row in rows]
    number = {name: k for k, name in enumerate(sorted({name for row in names for name in row}))}
    sides = np.array([[number[name] for name in row] for row in names], np.int64)
    return sides[:, 0], sides[:, 1]


def compared(
    folder: Path, camera: str, people: tuple[NDArray[np.int64], NDArray[np.int64]], names: str = FILES
) -> list[dict]:
    """Return a row for each rival of the fit on one camera, of the seeds that all arms have."""
    arms = {arm: files_of(folder, camera, arm, names) for arm in ("fitted", *ARMS)}
    seeds = sorted(set.intersection(*(set(files) for files in arms.values())))
    if not seeds:
        raise SystemExit(f"{folder}: no seed of which every arm was measured on camera {camera}")
    results = {arm: [cross(files[seed]) for seed in seeds] for arm, files in arms.items()}
    right = {arm: np.stack([correct_of(one) for one in found]) for arm, found in results.items()}
    areas = {arm: np.array([one.metrics["AUC"].value for one in found]) for arm, found in results.items()}
    each = {arm: right["fitted"].mean(axis=1) - right[arm].mean(axis=1) for arm in ARMS}
    pooled = float(np.mean([np.var(d, ddof=1) for d in each.values()])) if len(seeds) > 1 else 0.0
    rows = [_row("fitted", right, areas, seeds)]
    for arm in ARMS:
        change = (right["fitted"] - right[arm]).mean(axis=0)
        error = float(np.sqrt(_over_people(change, people) ** 2 + pooled / len(seeds)))
        mean = float(change.mean())
        row = _row(arm, right, areas, seeds) | {
            "fit_less": mean,
            "interval": [mean - 1.96 * error, mean + 1.96 * error],
            "p": float(2 * norm.sf(abs(mean) / error)),
            "auc_fit_less": float((areas["fitted"] - areas[arm]).mean()),
        }
        rows.append(row)
    return [{"camera": camera, **row} for row in rows]


def _row(
    arm: str, right: Mapping[str, Floats], areas: Mapping[str, Floats], seeds: Sequence[int]
) -> dict[str, object]:
    accuracies = right[arm].mean(axis=1)
    return {
        "arm": arm,
        "seeds": list(seeds),
        "accuracy": float(accuracies.mean()),
        "of_seeds": [round(float(one), 4) for one in accuracies],
        "auc": float(areas[arm].mean()),
    }


def _over_people(change: Floats, people: tuple[NDArray[np.int64], NDArray[np.int64]]) -> float:
    """Return the standard error of a mean over pairs, from people drawn again."""
    resampling = Resampling(len(change), people[0], people[1])
    return float(np.std(np.concatenate([w @ change / w.sum(axis=1) for w in resampling.weights()])))


def with_holm(rows: Sequence[dict]) -> list[dict]:
    """Add whether each difference stands under Holm's procedure over all of them."""
    tested = sorted((row for row in rows if len(row["seeds"]) > 1 and "p" in row), key=lambda row: row["p"])
    told = True
    for k, row in enumerate(tested):
        told = told and row["p"] <= LEVEL / (len(tested) - k)
        row["told"] = told
    return list(rows)


def main() -> None:
    """Print the table as JSON and as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument(
        "--files", default=FILES, help="names of the results, with {camera}, {arm} and {seed}"
    )
    given = parser.parse_args()
    people = people_of(given.pairs)
    rows = with_holm([row for camera in "ab" for row in compared(given.folder, camera, people, given.files)])
    print(json.dumps(rows, indent=1))
    print("| camera | arm | accuracy, % (seeds) | AUC, % | fit less arm, points | p | told |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        own = f"{100 * row['accuracy']:.1f} ({', '.join(f'{100 * a:.1f}' for a in row['of_seeds'])})"
        cells = [row["camera"], row["arm"], own, f"{100 * row['auc']:.1f}"]
        if "p" in row:
            low, high = (100 * end for end in row["interval"])
            told = "yes" if row.get("told") else "no"
            cells += [f"{100 * row['fit_less']:+.1f} [{low:+.1f}, {high:+.1f}]", f"{row['p']:.4f}", told]
        else:
            cells += ["-", "-", "-"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
