"""A real quickstart, killed or interrupted again and again: the same command ends with the same results.

The times of a first plan are measured, so the plan itself is taken from the undisturbed way.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lrfr.pairs.align.detectors.detector_weights import WHEEL, data_folder

WORDS = [sys.executable, "-m", "lrfr", "quickstart"]
PLANNED = ("quickstart.yaml", "quickstart.json", "people.tsv")


def start(folder, source, out, said):
    with said.open("wb") as log:
        words = [*WORDS, source, "--out", out, "--minutes", "0.1"]
        return subprocess.Popen(
            words, cwd=folder, stdout=log, stderr=log, start_new_session=True, preexec_fn=_hears_ctrl_c
        )


def _hears_ctrl_c():
    """What a shell starts in the background does not, nor do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def digests(folder):
    """Of crops, landmarks, shards, weights and pages: what may not depend on the stops."""
    found = {}
    for pattern in ("aligned/**/*", "store/**/*.mdb", "runs/*/checkpoints/*/model.safetensors", "report.*"):
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and path.name not in {"align.json", ".lock"}:
                found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.glob("results/*.json")):
        found[path.name] = json.dumps(json.loads(path.read_bytes(), object_hook=_timeless), sort_keys=True)
    return found


def _timeless(data):
    return {key: value for key, value in data.items() if key not in {"seconds", "time"}}


def left_over(folder):
    return [path.name for path in folder.rglob("*.tmp*")] + [path.name for path in folder.glob("**/tmp/*")]


def wait_for_step(child, said, number):
    """Return once a step runs; a word of the process is all that tells."""
    while child.poll() is None and f"[{number}/" not in said.read_text("utf-8", "replace"):
        time.sleep(0.05)


@pytest.mark.soak
@pytest.mark.timeout(6000)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_every_step_it_ends_with_the_same_results(tmp_path, how):
    photos = (data_folder() / WHEEL).exists()
    source, said = f"synthetic{'-photos' if photos else ''}:ids=10,per_id=4", tmp_path / "said"
    assert start(tmp_path, source, "clean", said).wait() == 0, said.read_text()
    steps = len(list((tmp_path / "clean/steps").iterdir()))
    draw, stops = random.Random(int(how)), 0
    (tmp_path / "stopped").mkdir()
    for name in PLANNED:
        shutil.copy(tmp_path / "clean" / name, tmp_path / "stopped" / name)
    for number in range(1, steps + 1):
        child = start(tmp_path, source, "stopped", said)
        wait_for_step(child, said, number)
        # a step's process takes seconds to start under load; the early moments are of interest, too
        time.sleep(draw.uniform(0, 8))
        if child.poll() is not None:
            break
        if how == signal.SIGINT:
            os.killpg(child.pid, how)  # as a terminal does
        else:
            child.kill()  # its children see that it is gone
        code, text = child.wait(120), said.read_text("utf-8", "replace")
        stops += 1
        print(number, code, text.splitlines()[-1:])
        assert code == (-9 if how == signal.SIGKILL else 130), text
        assert "Traceback" not in text and "bug in lrfr" not in text
    assert start(tmp_path, source, "stopped", said).wait() == 0, said.read_text()
    print(stops, "stops")
    clean, stopped = digests(tmp_path / "clean"), digests(tmp_path / "stopped")
    assert clean.keys() == stopped.keys() and stops > steps // 2
    assert [name for name in clean if clean[name] != stopped[name]] == []
    assert left_over(tmp_path / "stopped") == left_over(tmp_path / "clean")
