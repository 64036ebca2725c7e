"""A recognizer in an ONNX file, run by onnxruntime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, missing_extra
from lrfr.core.image import ImageU8, check_image
from lrfr.degrade.ops.resize import resize_batch
from lrfr.train.backbones.net_embedder import BATCH, InputSpec


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
