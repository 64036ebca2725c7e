"""A real experiment, killed again and again: the same command ends with the same report, byte for byte."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

DECLARATION = """
version: 1
name: small
views:
  lr: {flags: {source: "synthetic:ids=12,per_id=4,seed=3", spec: maug, set: [pipeline.d1.size=14]}}
common: {set: {train.length: 6, train.milestones: "[4]", train.batch_size: 16, train.save_every: 2}, flags: {threads: 1}}
trainings:
  teacher: {method: baseline, view: lr, set: {side: hr}}
  student: {method: fskd, view: lr, parents: {teacher: teacher}}
evaluations:
  seen: {benchmark: synthetic, flags: {sizes: [112, 14], replicates: 20}}
"""
KILLS = 3


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_a_killed_experiment_ends_with_the_same_report(tmp_path):
    (tmp_path / "small.yaml").write_text(DECLARATION)
    words = [
        sys.executable,
        "-m",
        "lrfr",
        "experiment",
        "../small.yaml",
        "--folder",
        "run",
        "--jobs",
        "2",
        "--json",
    ]
    for name in ("clean", "killed"):
        (tmp_path / name).mkdir()
    began = time.monotonic()
    subprocess.run(words, cwd=tmp_path / "clean", check=True, capture_output=True)
    whole_s, kills, draw = time.monotonic() - began, 0, random.Random(7)
    while True:
        child = subprocess.Popen(
            words,
            cwd=tmp_path / "killed",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            child.communicate(timeout=draw.uniform(0.1, 0.3) * whole_s if kills < KILLS else None)
            break
        except subprocess.TimeoutExpired:
            kills += 1
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
    assert child.returncode == 0 and kills == KILLS
    for name in ("report.html", "report.md", "report.json"):
        assert (tmp_path / "killed/run" / name).read_bytes() == (
            tmp_path / "clean/run" / name
        ).read_bytes(), name
