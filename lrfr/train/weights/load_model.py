"""From a path to a recognizer: a checkpoint, a run, a router of several, or an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError, SpecError, missing_extra
from lrfr.core.image import ImageU8, check_image
from lrfr.degrade.ops.resize import resize_batch
from lrfr.train.backbones.embedder import BATCH, InputSpec
from lrfr.train.backbones.nets import Nets
from lrfr.train.checkpoint import load, resolve
from lrfr.train.checkpoint import load_model as load_tensors
from lrfr.train.weights.model_identity import ModelIdentity


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
    from lrfr.train.weights.router import is_router, load_router

    path = Path(path)
    if path.suffix == ".onnx":
        return OnnxEmbedder(path)
    if is_router(path):
        return load_router(path, device)[0]
    return load_embedder(path, device)


@dataclass(frozen=True)
class Loaded:
    """A recognizer's checkpoint as networks.

    Attributes:
        nets: its networks in evaluation mode, averaged weights where it keeps them.
        identity: what they are.
        state: JSON state of the run when it was saved: step, metrics.

    """

    nets: Nets
    identity: ModelIdentity
    state: Mapping[str, Any]


def load_nets(path: Path, device: str = "cpu") -> Loaded:
    """Build the networks of a checkpoint or run and load its (averaged, where kept) weights.

    Raises:
        DataError: no checkpoint there, or damaged.
        SpecError: its method is unknown.

    """
    folder = resolve(path)
    checkpoint = load(folder, device)
    identity = ModelIdentity.read(checkpoint, folder)
    nets = identity.make().build(identity.num_classes, None, identity.attribute_names).to(device)
    load_tensors(nets, checkpoint.model | checkpoint.ema, str(folder))
    return Loaded(nets.eval(), identity, checkpoint.state)


def load_embedder(path: Path | str, device: str = "cpu") -> Embedder:
    """Return the recognizer of a checkpoint or run folder.

    Raises:
        DataError: no checkpoint there, or damaged.
        SpecError: its method is unknown.

    """
    found = load_nets(Path(path), device)
    return found.identity.make().embedder(found.nets)


class OnnxEmbedder:
    """A recognizer in an ONNX file of ``lrfr export``'s contract: float RGB ``[B, 3, S, S]`` in [-1, 1] to
    ``[B, D]``.

    Args:
        path: of the file.
        spec: filter of the resizing; its side is the file's own where the file states one.

    Raises:
        DataError: not such a file.
        EnvironmentFault: the extra [onnx] is missing.

    """

    def __init__(self, path: Path, spec: InputSpec | None = None) -> None:
        self.path, self.spec = path, spec or InputSpec()
        self._session = open_session(path)
        entry = self._session.get_inputs()[0]
        shape = list(entry.shape)
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise DataError(
                f"takes {shape}, expected one input [B, 3, S, S]", file=str(path), path=entry.name
            )
        self._name: str = entry.name
        self.size_px = shape[2] if isinstance(shape[2], int) else self.spec.size_px

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D] of uint8 HWC RGB images of any sizes, in their order.

        Raises:
            ValueError: an image is not uint8 HWC RGB, or there is none.

        """
        if not images:
            raise ValueError("expected at least one image")
        faces = [self._fit(check_image(image)) for image in images]
        parts = [self._run(np.stack(faces[i : i + BATCH])) for i in range(0, len(faces), BATCH)]
        return np.concatenate(parts)

    def _fit(self, image: ImageU8) -> ImageU8:
        side = self.size_px
        if image.shape[:2] == (side, side):
            return image
        resized: ImageU8 = resize_batch(image[None], side, self.spec.filter, self.spec.antialias)[0]
        return resized

    def _run(self, images_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        x_bchw = images_nhwc.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - 1
        return np.asarray(self._session.run(None, {self._name: x_bchw})[0], np.float32)


def open_session(path: Path) -> Any:
    """Return an onnxruntime session on the CPU.

    Raises:
        DataError: the file cannot be read.
        EnvironmentFault: the extra [onnx] is missing.

    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the package is imported
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", "onnx") from None
    if not path.is_file():
        raise SpecError("no such file", file=str(path))
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its own error types share no base of their own
        raise DataError(f"not an ONNX file that runs here: {type(error).__name__}", file=str(path)) from None
