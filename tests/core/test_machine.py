"""Freed memory is kept: large arrays made again and again are not faulted in each time."""

import os
import platform
import subprocess
import sys

import pytest

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
