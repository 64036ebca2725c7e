"""How fast the studio answers, and whether its memory stays: what a page that is tuned for an hour sees.

``lrfr studio`` runs as a process of its own; this one sends what the page sends. A change is an edit of the
recipe with 12 faces x 3 draws and their statistics; its time runs from the request to the first new picture
and to the last. Run: ``python -m benchmarks.studio [--out FOLDER] [--turns N] [--edits N]``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lrfr.degrade.spec.resolve import preset_names, preset_text

TOKEN = "benchmark-of-the-studio"
FACES, DRAWS = 12, 3
HEAVY = ("turb", "style")  # shown as they come; a change need not be whole in 150 ms
SLIDERS = [
    (["pipeline", 2, "size"], lambda draw: {"randint": [draw.randint(6, 14), draw.randint(15, 40)]}),
    (["pipeline", 0, "p"], lambda draw: round(draw.random(), 2)),
    (["pipeline", 0, "strength"], lambda draw: {"uniform": [0.1, round(draw.uniform(0.2, 0.9), 2)]}),
    (["pipeline", 4, "electrons"], lambda draw: {"uniform": [2, draw.randint(4, 40)]}),
    (["pipeline", 7, "quality"], lambda draw: {"randint": [draw.randint(5, 20), draw.randint(21, 95)]}),
]


@contextmanager
def studio(folder):
    """Start the command and yield (connection, process id, seconds until it answered, its CPU seconds)."""
    environment = os.environ | {"LRFR_STUDIO_TOKEN": TOKEN}
    began = time.perf_counter()
    command = [sys.executable, "-m", "lrfr", "studio", "surveillance"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)/", process.stderr.readline())[1])
    ready = time.perf_counter() - began
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        yield connection, process.pid, ready
    finally:
        connection.close()
        process.terminate()
        process.wait()


class Client:
    """Sends what a page sends."""

    def __init__(self, connection):
        self.connection, self.number = connection, 0

    def change(self, text, edits):
        """Return (seconds to the first picture, to the last, to the end, the new text, faults)."""
        self.number += 1
        body = {"tab": "bench", "number": self.number, "text": text, "edits": edits, "measures": True}
        body |= {"faces": list(range(FACES)), "draws": DRAWS}
        began = time.perf_counter()
        headers = {"Content-Type": "application/json", "X-Lrfr-Token": TOKEN}
        self.connection.request("POST", "/api/pictures", json.dumps(body), headers)
        answer = self.connection.getresponse()
        assert answer.status == 200, answer.read()
        first = last = None
        document, count = None, 0
        for head in frames(answer):
            now = time.perf_counter() - began
            if head["kind"] == "document":
                document = head
            elif head["kind"] == "face":
                first, last, count = first or now, now, count + 1
        assert count == FACES * DRAWS or document["faults"], (count, document["faults"])
        return first, last, time.perf_counter() - began, document["text"]


def frames(answer):
    """Yield the heads of the frames of an answer as they come."""
    while length := answer.read(4):
        head = json.loads(answer.read(struct.unpack("<I", length)[0]))
        answer.read(sum(width * height * 3 for width, height in head["sizes"]))
        yield head


def spread(seconds):
    """Return median and 95th percentile in milliseconds."""
    median, high = np.quantile(seconds, [0.5, 0.95]) * 1e3
    return {"median_ms": round(float(median), 1), "p95_ms": round(float(high), 1)}


def latency(client, turns):
    """Return, for every preset, the times of changes to the first picture, the last and the statistics."""
    found = {}
    for name in ["surveillance", *(other for other in preset_names() if other != "surveillance")]:
        heavy = name.startswith(HEAVY)
        text, times = preset_text(name), []
        for turn in range((3 if heavy else turns) + 1):
            edit = {"do": "set", "place": ["seed"], "value": turn + 1}
            if name == "surveillance":
                place, value = SLIDERS[turn % len(SLIDERS)]
                edit = {"do": "set", "place": place, "value": value(random.Random(turn))}
            times.append(client.change(text, [edit])[:3])
        first, last, end = np.array(times[1:]).T  # the first loads banks and tables
        found[name] = {"first": spread(first), "pictures": spread(last), "end": spread(end), "n": len(first)}
        print(f"{name:18} first {found[name]['first']}  all 36 {found[name]['pictures']}", flush=True)
    return found


def rss_mb(pid):
    """Return the resident memory of a process in MB."""
    text = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def memory(client, pid, edits):
    """Return the server's memory along random edits, each upon the text of the one before."""
    draw, text, seen = random.Random(7), preset_text("surveillance"), []
    for number in range(edits):
        place, value = draw.choice(SLIDERS)
        text = client.change(text, [{"do": "set", "place": place, "value": value(draw)}])[3]
        if number % 50 == 49:
            seen.append(round(rss_mb(pid), 1))
    later = seen[len(seen) // 2 :]
    growth = round(later[-1] - later[0], 1) if later else None  # of fewer than 50 edits nothing is told
    return {"edits": edits, "rss_mb_each_50": seen, "growth_of_second_half_mb": growth}


def cpu_ms(client, pid, turns=20):
    """Return the server's CPU milliseconds for one slider change of ``surveillance``."""
    ticks = os.sysconf("SC_CLK_TCK")

    def used():
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    before = used()
    for turn in range(turns):
        place, value = SLIDERS[0]
        edit = {"do": "set", "place": place, "value": value(random.Random(turn))}
        client.change(preset_text("surveillance"), [edit])
    return round(1e3 * (used() - before) / turns, 1)


def main() -> None:
    """Measure and print; write ``studio.json`` where a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--edits", type=int, default=2000)
    given = parser.parse_args()
    report = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], "faces": FACES, "draws": DRAWS}
    with tempfile.TemporaryDirectory() as folder, studio(folder) as (connection, pid, ready):
        client = Client(connection)
        first = client.change(preset_text("surveillance"), [])
        report |= {"seconds_to_address": round(ready, 2), "seconds_to_first_picture": round(first[0], 3)}
        print(f"address after {ready:.2f} s with all imports, first picture {first[0]:.3f} s later")
        report["cpu_ms_a_change"] = cpu_ms(client, pid)
        print(f"CPU of a slider change: {report['cpu_ms_a_change']} ms", flush=True)
        report["latency"] = latency(client, given.turns)
        report["memory"] = memory(client, pid, given.edits)
        print(f"memory: {report['memory']}")
        report["seconds_of_cpu"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1)
    report["load_after"] = os.getloadavg()[0]
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "studio.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
