"""``lrfr doctor``: what this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import asdict
from pathlib import Path

from lrfr import __version__
from lrfr.cli.output import Output, command

_REQUIRED = (
    "torch numpy opencv-python-headless pillow albumentations scipy lmdb ray xxhash safetensors pydantic "
    "PyYAML PyWavelets ptwt matplotlib jinja2 click rich"
).split()
_OPTIONAL = {"onnx": "onnx", "onnxruntime": "onnx", "onnxscript": "onnx", "tensorboard": "tensorboard"}
_OPTIONAL |= {"aiohttp": "studio", "ruamel.yaml": "studio"}


@command("doctor", short_help="Versions, CPU, disk, GPU and what is missing.")
def doctor(out: Output) -> dict[str, object]:
    """Show versions, CPU features, threads, disk, GPU and optional extras, and how to get what is missing.

    \b
    Examples:
      lrfr doctor
      lrfr doctor --json > machine.json
    """
    from lrfr.core.machine import this_machine
    from lrfr.experiment.tables import registry
    from lrfr.pairs.align.detectors.table import detector_states

    detectors = {state.name: state.missing for state in detector_states()}
    versions = {name: _version(name) for name in (*_REQUIRED, *_OPTIONAL)}
    missing = {name: _get(name) for name, version in versions.items() if version is None}
    machine, hidden = this_machine(Path.cwd()), registry.shadowed()
    flags = ", ".join(machine.cpu_flags) or "no flags"
    out.say(f"CPU     {machine.cpu}, {machine.usable_cores} of {machine.cores} cores usable, {flags}")
    out.say(f"memory  {machine.memory_gib} GiB; free disk here {machine.disk_free_gib} GiB")
    out.say(f"GPU     {machine.gpu or 'none (everything runs on the CPU)'}")
    out.table(["package", "version"], [[name, version or "missing"] for name, version in versions.items()])
    out.lines(f"detector {name}: {why or 'ready'}" for name, why in detectors.items())
    out.lines(f"plug-in: {line}" for line in hidden)
    out.lines([f"missing {name}: {get}" for name, get in missing.items()] or ["nothing is missing"])
    return {
        "lrfr": __version__,
        "python": platform.python_version(),
        "machine": asdict(machine),
        "versions": versions,
        "detectors": detectors,
        "hidden_plugins": hidden,
        "missing": [{"package": name, "get": get} for name, get in missing.items()],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _get(name: str) -> str:
    return f"pip install 'lrfr[{_OPTIONAL[name]}]'" if name in _OPTIONAL else f"pip install {name}"
