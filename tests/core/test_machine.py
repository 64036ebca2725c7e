"""Freed memory is kept: large arrays made again and again are not faulted in each time."""

import ast
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lrfr.core import machine
from lrfr.core.files import is_alive

FAULTS = """
import resource, sys
import numpy as np
from lrfr.core.machine import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(2_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how, **extra):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")
    } | extra
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, env=environment
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_large_arrays_are_faulted_in_once():
    assert faults("keep") < 0.1 * faults("leave")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_the_environment_has_the_last_word():
    assert faults("keep", MALLOC_MMAP_THRESHOLD_="65536") > 0.5 * faults("leave")


def test_cores_are_counted_where_the_scheduler_cannot_be_asked(monkeypatch):
    from lrfr.core.machine import usable_cores

    assert 1 <= usable_cores() <= os.cpu_count()
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_cores() == os.cpu_count()


def test_a_command_ends_with_the_one_that_started_it(tmp_path):
    """The caller is killed, so it can tell nobody."""
    child = (
        "import os, time; from lrfr.core.machine import end_with_caller; end_with_caller(); time.sleep(600)"
    )
    caller = (
        "import os, subprocess, sys, time; from lrfr.core.machine import ENDS_WITH; "
        f"made = subprocess.Popen([sys.executable, '-c', {child!r}], env={{**os.environ, ENDS_WITH: str(os.getpid())}}); "
        "print(made.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", caller], stdout=subprocess.PIPE, text=True) as running:
        pid = int(running.stdout.readline())
        assert is_alive(pid)
        running.kill()
    deadline = time.monotonic() + 60
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_libraries_are_quieted_wherever_one_is_imported():
    """Each function that imports one calls quiet_libraries before."""
    root = Path(machine.__file__).resolve().parent.parent
    loud = {"onnxruntime", "matplotlib", "albumentations", "ray", "datasets"}
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for body in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            lines = [
                node.lineno
                for node in ast.walk(body)
                if isinstance(node, ast.Import) and {name.name.split(".")[0] for name in node.names} & loud
            ]
            calls = [
                node.lineno
                for node in ast.walk(body)
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "quiet_libraries"
            ]
            assert not lines or (calls and min(calls) < min(lines)), f"{path}:{lines}"


def test_a_private_folder_is_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    found = machine.private_folder("a")
    assert found == machine.private_folder("a") and os.stat(found).st_mode & 0o077 == 0
    (tmp_path / f"b-{os.getuid()}").symlink_to(found)
    (tmp_path / f"c-{os.getuid()}").mkdir(0o777)
    os.chmod(tmp_path / f"c-{os.getuid()}", 0o777)
    assert machine.private_folder("b") is None and machine.private_folder("c") is None
