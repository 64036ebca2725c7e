"""Worlds of processes without ``torchrun``: forked from one clean, warm process, which alone imports torch.

They join each other by the environment variables that ``torchrun`` sets; like it, when one fails, the others are
asked to end. The warm process reads one JSON job a line on stdin and writes one answer a line on stdout; it never
computes itself, so that its children may.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 500


class Worlds:
    """The warm process, seen from a test: it starts with the first world and ends with :meth:`close`."""

    def __init__(self, folder: Path) -> None:
        self.errors, self._process = folder / "errors.txt", None

    def run(self, function, *arguments, size=2):
        """Call a function of a module, with JSON values, as every process of a world; return their exit codes."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.train.worlds"],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        place = [function.__module__, function.__name__]
        job = {"place": place, "arguments": arguments, "size": size, "errors": str(self.errors)}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the warm process has ended"
        return json.loads(answer)

    def check(self, function, *arguments, size=2):
        """Call a function as :meth:`run` does; every process must end well."""
        codes = self.run(function, *arguments, size=size)
        assert codes == [0] * size, self.errors.read_text()[-3000:]

    def close(self):
        if self._process is not None:
            self._process.communicate()


def free_port():
    """Return a port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def environment(rank, size, port):
    """Return what ``torchrun`` tells a process of a world on one machine."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    return {
        name: str(value) for name, value in {**own, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items()
    }


def _fork(work, errors, told):
    """Return the process id of a child that does one piece of work."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for descriptor in (1, 2):  # stdout is the parent's
            os.dup2(errors, descriptor)
        os.environ.update(told)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _live(job):
    """Let a world live; return the exit codes of its processes, minus the signal where one ended them."""
    work, size, port = (
        getattr(importlib.import_module(job["place"][0]), job["place"][1]),
        job["size"],
        free_port(),
    )
    with open(job["errors"], "wb") as errors:
        pids = [
            _fork(lambda: work(*job["arguments"]), errors.fileno(), environment(rank, size, port))
            for rank in range(size)
        ]
    codes, deadline = {}, time.monotonic() + TIMEOUT_S
    asked = False
    while len(codes) < size:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            codes[pid] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > deadline:
            _signal(set(pids) - codes.keys(), signal.SIGKILL)
        if any(codes.values()) and not asked:
            # those that wait for a dead one may not hear of it
            _signal(set(pids) - codes.keys(), signal.SIGTERM)
            asked, deadline = True, time.monotonic() + 30
        time.sleep(0.02)
    return [codes[pid] for pid in pids]


def _signal(pids, number):
    for pid in pids:
        os.kill(pid, number)


def main():
    """Serve jobs until stdin ends."""
    import cv2
    import torch
    import torch._dynamo  # an optimizer imports it on first use

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(_live(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
