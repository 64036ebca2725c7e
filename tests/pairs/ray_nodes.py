"""Two nodes of Ray on this machine, killed at random moments while stores of six variants are written on them.

``python -m tests.pairs.ray_nodes FOLDER KILLS SEED`` prints a JSON line a store and one of all; the end is 0
where no store differs from the one that was built without Ray.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lrfr.core.errors import EnvironmentFault
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.executors.dispatch import Runner
from tests.pairs.toy import ToySource, tree

ROOT, SIDE, VARIANTS, NODES = Path(__file__).parents[2], 112, 6, 2
# some milliseconds an image, so that a kill may meet any phase
SPEC = """
version: 1
name: slow
image: {size: 112}
pipeline:
  - {op: webp, id: w, quality: {randint: [40, 90]}}
  - {op: down, id: d, size: {choice: [14, 28]}, filter: bicubic, antialias: true}
store: {lr: native, up: {size: 112, filter: bicubic, antialias: true}}
"""
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
AGAIN = 5


@dataclass(frozen=True)
class SlowSource(ToySource):
    """Toy faces of 112 px that take a while to read."""

    def read(self, place):
        time.sleep(0.01)
        return cv2.resize(np.asarray(super().read(place)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def write(root: Path, runner: Runner) -> None:
    """Write a store, or go on with one."""
    ingest = Ingest(SlowSource(), BaseOptions(Prepare(size_px=SIDE)))
    make_pairs(ingest, parse_spec(SPEC), store=root, options=MakeOptions(variants=VARIANTS), runner=runner)


def drive(root: Path, address: str) -> int:
    """Write a store on a cluster; a run that lost more than it retries ends with one error."""
    try:
        write(root, Runner("ray", workers=NODES, ray_address=address))
    except EnvironmentFault as error:
        print(error, file=sys.stderr)
        return AGAIN
    return 0


def works(node) -> bool:
    """Return whether a worker of a node is running a task."""
    (raylet,) = node.all_processes["raylet"]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name, parent = (path / "cmdline").read_bytes(), (path / "stat").read_text().rpartition(")")[2]
        except OSError:
            continue
        if b"ray::_work" in name and int(parent.split()[1]) == raylet.process.pid:
            return True
    return False


def phase(root: Path) -> str:
    """Return what a run is at, by the last line of its log."""
    try:
        lines = [json.loads(line) for line in (root / "run.log").read_text().splitlines()]
    except OSError:
        return "start"
    return str(lines[-1].get("phase", lines[-1]["event"])) if lines else "start"


class Killer:
    """Keeps two nodes beside a head without a core, and kills one of them, at times both."""

    def __init__(self, seed: int) -> None:
        from ray.cluster_utils import Cluster

        self.random, self.hits = random.Random(seed), Counter[str]()
        self.kills = self.longest = 0
        self.cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        self.nodes = [self.cluster.add_node(**NODE) for _ in range(NODES)]
        self.cluster.wait_for_nodes()

    def strike(self, root: Path) -> None:
        """Kill, then bring as many nodes anew."""
        at = phase(root)
        for node in self.random.sample(self.nodes, self.random.choice([1, 1, 1, NODES])):
            self.kills += 1
            self.hits[at] += works(node)
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.remove(node)
        while len(self.nodes) < NODES:
            self.nodes.append(self.cluster.add_node(**NODE))

    def wait_for_work(self, run: subprocess.Popen[bytes]) -> None:
        """Wait until a node works; a driver takes seconds to come to that."""
        while run.poll() is None and not any(map(works, self.nodes)):
            time.sleep(0.05)

    def store(self, root: Path, most: int) -> dict[str, object]:
        """Write one store, its runs started again until one ends well, under kills."""
        before, runs = self.kills, 0
        while True:
            runs += 1
            command = [sys.executable, "-m", "tests.pairs.ray_nodes", "--drive", root, self.cluster.address]
            run = subprocess.Popen(command, cwd=ROOT, env=os.environ)
            while run.poll() is None:
                self.wait_for_work(run)
                pause = time.monotonic() + self.random.uniform(0.0, 1.5)
                while run.poll() is None and time.monotonic() < pause:
                    time.sleep(0.01)
                if run.poll() is None and self.kills < most:
                    self.strike(root)
            if run.returncode == 0:
                return {"store": root.name, "runs": runs, "kills": self.kills - before}
            assert run.returncode == AGAIN, f"the run ended with {run.returncode}"


def main(folder: Path, kills: int, seed: int) -> int:
    """Write stores until as many nodes have been killed."""
    write(folder / "alone", Runner("serial"))
    expected, killer, differing, stores = tree(folder / "alone"), Killer(seed), 0, 0
    try:
        while killer.kills < kills:
            root = folder / f"s-{stores}"
            told = killer.store(root, kills)
            same = tree(root) == expected
            print(json.dumps(told | {"same": same}), flush=True)
            stores, differing = stores + 1, differing + (not same)
    finally:
        killer.cluster.shutdown()
    hits = dict(sorted(killer.hits.items()))
    told = {"stores": stores, "nodes killed": killer.kills, "at work": sum(hits.values()), "phases": hits}
    print(json.dumps(told | {"differing": differing}), flush=True)
    return int(differing > 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # tasks of this file are found by its name on the nodes
    from tests.pairs import ray_nodes

    if sys.argv[1] == "--drive":
        raise SystemExit(ray_nodes.drive(Path(sys.argv[2]), sys.argv[3]))
    raise SystemExit(ray_nodes.main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
