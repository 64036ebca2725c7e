"""``lrfr doctor``: what this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from lrfr import __version__
from lrfr.cli.output import Output, command
from lrfr.core.machine import usable_cores

_REQUIRED = (
    "torch",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "albumentations",
    "scipy",
    "lmdb",
    "ray",
    "xxhash",
    "safetensors",
    "pydantic",
    "PyYAML",
    "PyWavelets",
    "ptwt",
    "matplotlib",
    "jinja2",
    "click",
    "rich",
)
_OPTIONAL = {"onnx": "onnx", "onnxruntime": "onnx", "onnxscript": "onnx", "tensorboard": "tensorboard"}
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sha_ni", "asimd")


@command("doctor", short_help="Versions, CPU, disk, GPU and what is missing.")
def doctor(out: Output) -> dict[str, Any]:
    """Show versions, CPU features, threads, disk, GPU and optional extras, and how to get what is missing.

    \b
    Examples:
      lrfr doctor
      lrfr doctor --json > machine.json
    """
    versions = {name: _version(name) for name in (*_REQUIRED, *_OPTIONAL)}
    missing = _missing(versions)
    result = {
        "lrfr": __version__,
        "python": platform.python_version(),
        "machine": _machine(),
        "versions": versions,
        "missing": missing,
    }
    _show(out, result)
    return result


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing(versions: dict[str, str | None]) -> list[dict[str, str]]:
    rows = []
    for name, version in versions.items():
        if version is None:
            extra = _OPTIONAL.get(name)
            rows.append(
                {"package": name, "get": f"pip install 'lrfr[{extra}]'" if extra else f"pip install {name}"}
            )
    return rows


def _machine() -> dict[str, Any]:
    disk = shutil.disk_usage(Path.cwd())
    return {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_flags": _cpu_flags(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "threads": {
            name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ
        },
        "memory_gib": _memory_gib(),
        "disk_free_gib": round(disk.free / 2**30, 1),
        "gpu": _gpu(),
        "terminal": sys.stderr.isatty(),
    }


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(field)), "")


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> list[str]:
    present = set(_cpuinfo("flags").split()) | set(_cpuinfo("features").split())
    return [flag for flag in _CPU_FLAGS if flag in present]


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _show(out: Output, result: dict[str, Any]) -> None:
    machine = result["machine"]
    flags = ", ".join(machine["cpu_flags"]) or "no flags"
    out.say(
        f"CPU     {machine['cpu']}, {machine['usable_cores']} of {machine['cores']} cores usable, {flags}"
    )
    out.say(f"memory  {machine['memory_gib']} GiB; free disk here {machine['disk_free_gib']} GiB")
    out.say(f"GPU     {machine['gpu'] or 'none (everything runs on the CPU)'}")
    out.table(
        ["package", "version"], [[name, version or "missing"] for name, version in result["versions"].items()]
    )
    for row in result["missing"]:
        out.say(f"missing {row['package']}: {row['get']}")
    if not result["missing"]:
        out.say("nothing is missing")
