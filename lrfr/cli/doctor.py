"""``lrfr doctor``: what this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lrfr import __version__
from lrfr.cli.output import Output, command
from lrfr.core.machine import usable_cores

_REQUIRED = (
    "torch numpy opencv-python-headless pillow albumentations scipy lmdb ray xxhash safetensors pydantic "
    "PyYAML PyWavelets ptwt matplotlib jinja2 click rich"
).split()
_OPTIONAL = {"onnx": "onnx", "onnxruntime": "onnx", "onnxscript": "onnx", "tensorboard": "tensorboard"}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sha_ni", "asimd")


@command("doctor", short_help="Versions, CPU, disk, GPU and what is missing.")
def doctor(out: Output) -> dict[str, object]:
    """Show versions, CPU features, threads, disk, GPU and optional extras, and how to get what is missing.

    \b
    Examples:
      lrfr doctor
      lrfr doctor --json > machine.json
    """
    from lrfr.pairs.align.detectors.table import detector_states

    detectors = {state.name: state.missing for state in detector_states()}
    versions = {name: _version(name) for name in (*_REQUIRED, *_OPTIONAL)}
    missing = {name: _get(name) for name, version in versions.items() if version is None}
    machine = _machine()
    flags = ", ".join(machine.cpu_flags) or "no flags"
    out.say(f"CPU     {machine.cpu}, {machine.usable_cores} of {machine.cores} cores usable, {flags}")
    out.say(f"memory  {machine.memory_gib} GiB; free disk here {machine.disk_free_gib} GiB")
    out.say(f"GPU     {machine.gpu or 'none (everything runs on the CPU)'}")
    out.table(["package", "version"], [[name, version or "missing"] for name, version in versions.items()])
    for name, why in detectors.items():
        out.say(f"detector {name}: {why or 'ready'}")
    for name, get in missing.items():
        out.say(f"missing {name}: {get}")
    if not missing:
        out.say("nothing is missing")
    return {
        "lrfr": __version__,
        "python": platform.python_version(),
        "machine": asdict(machine),
        "versions": versions,
        "detectors": detectors,
        "missing": [{"package": name, "get": get} for name, get in missing.items()],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _get(name: str) -> str:
    return f"pip install 'lrfr[{_OPTIONAL[name]}]'" if name in _OPTIONAL else f"pip install {name}"


@dataclass(frozen=True)
class Machine:
    """What decides speed here, and what a report of a fault should hold."""

    platform: str
    cpu: str
    cpu_flags: list[str]
    cores: int | None
    usable_cores: int
    threads: dict[str, str]
    memory_gib: float | None
    disk_free_gib: float
    gpu: str | None
    terminal: bool


def _machine() -> Machine:
    present = set(_field("flags").split()) | set(_field("features").split())
    return Machine(
        platform=platform.platform(),
        cpu=_field("model name") or platform.processor() or platform.machine(),
        cpu_flags=[flag for flag in _CPU_FLAGS if flag in present],
        cores=os.cpu_count(),
        usable_cores=usable_cores(),
        threads={name: os.environ[name] for name in _THREADS if name in os.environ},
        memory_gib=_memory_gib(),
        disk_free_gib=round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        gpu=_gpu(),
        terminal=sys.stderr.isatty(),
    )


def _field(name: str, path: Path = Path("/proc/cpuinfo")) -> str:
    lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(name)), "")


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _gpu() -> str | None:
    """Return the first GPU's name from its driver: asking torch would take seconds."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return _field("model", cards[0]) if cards else None
