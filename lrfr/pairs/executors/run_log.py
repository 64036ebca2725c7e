"""The log of a store: what may differ between equal runs. Nothing reads it back into an id."""

from __future__ import annotations

import functools
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path


def append_to_log(root: Path, started: float, view: str, written: tuple[int, int]) -> None:
    """Append a line to ``run.log``: time, host, command line, versions, and (HR, LR) images written."""
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "host": platform.node(),
        "command": sys.argv,
        "python": platform.python_version(),
        "versions": _versions(),
        "view": view,
        "hr_written": written[0],
        "lr_written": written[1],
    }
    with (root / "run.log").open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(entry) + "\n")


@functools.cache
def _versions() -> dict[str, str]:
    names = ("lrfr", "numpy", "opencv-python-headless", "pillow", "torch", "lmdb", "albumentations", "ray")
    return {name: version(name) for name in names}
