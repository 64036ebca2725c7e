"""From a path to a recognizer: a checkpoint, a run, a router of several, or an ONNX file."""

from __future__ import annotations

from pathlib import Path

from lrfr.core.embedder import Embedder
from lrfr.core.errors import as_path
from lrfr.train.weights.load_nets import load_embedder
from lrfr.train.weights.onnx_model import OnnxEmbedder
from lrfr.train.weights.router import is_router, load_router


def load_model(path: Path | str, device: str = "cpu") -> Embedder:
    """Return a recognizer: uint8 RGB faces of any sizes to raw float32 embeddings ``[N, D]``.

    Args:
        path: checkpoint folder, run folder (its last checkpoint), folder of ``lrfr route``, or ``.onnx``
            file.
        device: ``cpu``, ``cuda`` or ``cuda:1``; ONNX files run on the CPU.

    Raises:
        DataError: nothing of the kind there, or damaged.
        SpecError: the checkpoint's method is unknown.
        EnvironmentFault: the extra [onnx] is missing.

    """
    path = as_path(path, "a model")
    if path.suffix == ".onnx":
        return OnnxEmbedder(path)
    if is_router(path):
        return load_router(path, device)[0]
    return load_embedder(path, device)
