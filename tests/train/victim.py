"""A warm process that forks trainings and kills them: one JSON job a line on stdin, one JSON answer a line on
stdout.

It never runs a backward pass itself, so that its children may.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # an optimizer imports it on first use; here once instead of in every child

from lrfr.core.progress import Hooks
from lrfr.pairs.dataset import PairDataset
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, train


def run_child(job, dataset, pipe):
    """Train in this (forked) process, writing one byte a step."""
    torch.set_num_threads(1)
    recipe = load_recipe(job["method"], "tiny", job["overrides"])
    plan = Plan(recipe, dataset.digest, {role: Path(path) for role, path in job["parents"].items()})
    train(plan, dataset, Path(job["run"]), hooks=Hooks(lambda done, total, **info: os.write(pipe, b".")))


def attempt(job, dataset, kill_at, delay_s):
    """Fork one training; SIGKILL it ``delay_s`` after its ``kill_at``-th step (None: let it finish). Return
    whether it was killed.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            run_child(job, dataset, write)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    steps = 0
    while os.read(read, 1):
        steps += 1
        if steps == kill_at:
            time.sleep(delay_s)
            os.kill(pid, signal.SIGKILL)
    os.close(read)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise RuntimeError(f"the training in {job['run']} failed")
    return False


def main():
    """Serve jobs until stdin ends."""
    dataset = PairDataset(sys.argv[1], "default")
    for line in sys.stdin:
        job = json.loads(line)
        draw = random.Random(job["run"].rsplit("/", 1)[-1])
        kills = 0
        for _ in range(job["kills"]):
            # the delay reaches into the next step or its checkpoint
            kills += attempt(job, dataset, draw.randint(1, 2), draw.choice([0, 0.01, 0.03, 0.06]))
        attempt(job, dataset, None, 0)
        print(json.dumps({"kills": kills}), flush=True)


if __name__ == "__main__":
    main()
