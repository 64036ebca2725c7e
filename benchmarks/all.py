"""Run every benchmark one after the other and write one JSON file and one page with ratios.

    python -m benchmarks.all --quick --out bench

Each script of this folder takes ``--quick --json FILE`` and can be run alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCRIPTS = ("degrade", "turbulence", "style", "shards", "train", "eval")
OURS = "lrfr"


def run_script(name: str, quick: bool, folder: Path) -> dict[str, Any]:
    """Run one benchmark in a fresh interpreter and return what it measured, or why it could not."""
    target = folder / f"{name}.json"
    target.unlink(missing_ok=True)
    command = [
        sys.executable,
        str(HERE / f"{name}.py"),
        "--json",
        str(target),
        *(["--quick"] if quick else []),
    ]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
    seconds = round(time.monotonic() - start, 1)
    if done.returncode != 0 or not target.exists():
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1], "seconds": seconds}
    return {**json.loads(target.read_text("utf-8")), "seconds": seconds}


def ratio_rows(measured: Any, place: str = "") -> list[tuple[str, str, float, float]]:
    """Return (place, peer, ours, peer's) for every table in which ours stands beside peers."""
    if not isinstance(measured, dict):
        return []
    rows = []
    ours = measured.get(OURS)
    if isinstance(ours, int | float) and "." in place:  # a script's top level is a summary
        for peer, value in measured.items():
            if peer != OURS and isinstance(value, int | float) and not isinstance(value, bool) and value:
                rows.append((place, peer, float(ours), float(value)))
    for key, value in measured.items():
        rows += ratio_rows(value, f"{place}.{key}" if place else key)
    return rows


def page(results: dict[str, Any]) -> str:
    """Return the Markdown page: ratios first, then everything that was measured."""
    lines = [
        "# Benchmarks",
        "",
        f"{results['machine']['cpu']}, {results['machine']['platform']}, Python "
        f"{results['machine']['python']}.",
    ]
    lines += ["Ours and peers ran in turn in one run on one machine; ratios are what counts.", ""]
    lines += ["| measurement | peer | ours | peer's | ours / peer's |", "|---|---|---:|---:|---:|"]
    for place, peer, ours, value in ratio_rows(results["benchmarks"]):
        lines.append(f"| {place} | {peer} | {ours:.4g} | {value:.4g} | {ours / value:.2f} |")
    for name, measured in results["benchmarks"].items():
        lines += ["", f"## {name}", "", "```json", json.dumps(measured, indent=1, sort_keys=True), "```"]
    return "\n".join(lines) + "\n"


def cpu_name() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less than a minute each")
    parser.add_argument(
        "--out", type=Path, default=Path("bench"), help="folder of the JSON file and the page"
    )
    parser.add_argument("--only", nargs="*", choices=SCRIPTS, default=SCRIPTS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"cpu": cpu_name(), "platform": platform.platform(), "python": platform.python_version()}
    results: dict[str, Any] = {"machine": machine, "quick": options.quick, "benchmarks": {}}
    for name in options.only:
        print(f"{name} ...", flush=True)
        results["benchmarks"][name] = measured = run_script(name, options.quick, options.out)
        print(f"{name}: {measured.get('error', 'done')} in {measured['seconds']} s", flush=True)
        (options.out / "bench.json").write_text(json.dumps(results, indent=1, sort_keys=True), "utf-8")
    (options.out / "bench.md").write_text(page(results), "utf-8")
    print(f"wrote {options.out / 'bench.json'} and {options.out / 'bench.md'}")


if __name__ == "__main__":
    main()
