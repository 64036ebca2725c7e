"""From a path to a recognizer: a checkpoint, a run, a router of several, or a file of another program."""

from __future__ import annotations

from pathlib import Path

from lrfr.core.embedder import Embedder
from lrfr.core.errors import as_path, check_flags, check_kind
from lrfr.train.weights.foreign.foreign_file import foreign_file, is_foreign
from lrfr.train.weights.foreign.input_contract import Stated
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.load_nets import load_embedder
from lrfr.train.weights.routes.export_routes import is_exported, load_routes
from lrfr.train.weights.routes.router import is_router, load_router


def load_model(
    path: Path | str,
    device: str = "cpu",
    *,
    input_range: str | None = None,
    bgr: bool | None = None,
    trust_code: bool = False,
) -> Embedder:
    """Return a recognizer: uint8 RGB faces of any sizes to raw float32 embeddings ``[N, D]``.

    Args:
        path: checkpoint folder, run folder (its last checkpoint), folder of ``lrfr route`` or of its
            export, an ``.onnx`` file, or a TorchScript file or archive of ``torch.export``.
        device: ``cpu``, ``cuda`` or ``cuda:1``; foreign files run on the CPU.
        input_range: what a foreign file takes: ``-1,1``, ``0,1``, ``0,255``, ``imagenet``, or ``mean/std``
            such as ``127/128``; by default what the file says, else ``-1,1``.
        bgr: whether a foreign file takes B, G, R.
        trust_code: let a program of torch run; ONNX files need no trust.

    Raises:
        DataError: nothing of the kind there, or damaged.
        SpecError: the checkpoint's method is unknown, or a program of torch is not trusted.
        EnvironmentFault: the extra [onnx] is missing.

    """
    path = as_path(path, "a model")
    check_kind(input_range, str | None, "input_range: such as '-1,1' or '127/128'")
    check_kind(bgr, bool | None, "bgr: true or false")
    check_flags(trust_code=trust_code)
    stated = Stated(input_range, bgr)
    if is_foreign(path) or stated != Stated():
        return ForeignEmbedder(foreign_file(path, stated, trust_code))
    if is_exported(path):
        return load_routes(path)[0]
    if is_router(path):
        return load_router(path, device)[0]
    return load_embedder(path, device)
