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
import traceback
from pathlib import Path

import scipy.stats  # noqa: F401 # this and the next are imported on first use: here, once for all children
import tiny_style
import torch
import torch._dynamo
from worlds import environment, free_port

from lrfr.core.progress import Hooks
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.engine.distributed import join_world
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.methods.table import METHODS
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, train
from lrfr.train.style.style_run import fit_cfsm


def run_child(job, dataset, pipe):
    """Train in this (forked) process, writing one byte a step where it leads."""
    torch.set_num_threads(1)
    with join_world("cpu") as world:
        hooks = Hooks((lambda done, total, **info: os.write(pipe, b".")) if world.leads else None)
        if job["method"] == "style":
            settings = tiny_style.settings(**job["overrides"])
            fit_cfsm(settings, tiny_style.data(), Path(job["run"]), world=world, hooks=hooks)
            return
        recipe = load_recipe(job["method"], "tiny", job["overrides"])
        plan = Plan(recipe, dataset.digest, {role: Path(path) for role, path in job["parents"].items()})
        train(plan, dataset, Path(job["run"]), FitOptions(world=world), hooks)


def fork(job, dataset, pipe, rank, port):
    """Return the process id of a child that trains as process ``rank``."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.environ.update(environment(rank, job["world"], port))
        run_child(job, dataset, pipe)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def attempt(job, dataset, kill_at, delay_s):
    """Fork one training of one or more processes; SIGKILL them ``delay_s`` after the ``kill_at``-th step (None:
    let it finish). Return whether it was killed.
    """
    read, write = os.pipe()
    port = free_port()
    pids = [fork(job, dataset, write, rank, port) for rank in range(job["world"])]
    os.close(write)
    steps = 0
    while os.read(read, 1):
        steps += 1
        if steps == kill_at:
            time.sleep(delay_s)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
    os.close(read)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    if all(map(os.WIFSIGNALED, statuses)):
        return True
    if any(statuses):
        raise RuntimeError(f"the training in {job['run']} failed")
    return False


def main():
    """Serve jobs until stdin ends."""
    tiny_style.with_mini_presets().setattr("lrfr.train.style.style_task.CURVE_FACES", 8)
    dataset = PairDataset(sys.argv[1], "default")
    for method in METHODS:  # what a recipe imports and works out on first use
        load_recipe(method, "tiny")
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
