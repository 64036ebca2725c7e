"""SCRFD in an ONNX file, for those who have one: a single pass over the picture, read off a grid of
anchors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, EnvironmentFault, SpecError, missing_extra
from lrfr.core.files import sha256_file
from lrfr.core.machine import quiet_libraries
from lrfr.pairs.align.detectors.base import Detections
from lrfr.pairs.align.detectors.boxes import F64, keep_best

# side of the square that the picture is fitted into, where the file leaves it open
SIDE_PX = 640
# outputs of a file: the strides of its maps in pixels, and anchors a cell
_MAPS = {9: ((8, 16, 32), 2), 15: ((8, 16, 32, 64, 128), 1)}
_WIDTHS = {1: "scores", 4: "boxes", 10: "landmarks"}


def open_scrfd(weights: Path | None) -> Scrfd:
    """SCRFD (Guo, Deng, Lattas and Zafeiriou, 2021) by onnxruntime; needs its ONNX file with landmarks."""
    if weights is None:
        raise EnvironmentFault(
            "the detector 'scrfd' ships no weights",
            hint="name its ONNX file with --detector-weights, or take --detector mtcnn",
        )
    if not weights.is_file():
        raise SpecError("no such file", file=str(weights))
    quiet_libraries()
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    # one thread a worker, so that any number of workers agrees
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        said = str(error).strip().splitlines()[0][:200]
        raise SpecError(f"onnxruntime cannot read it: {said}", file=str(weights)) from None
    return Scrfd(session, weights)


class Scrfd:
    """A session over SCRFD's file.

    Args:
        session: of onnxruntime.
        path: the file, for its digest and for messages.
        least_score: what a face must have.
        most_overlap: largest intersection over union of two faces.

    Raises:
        SpecError: its input or outputs are not SCRFD's with five landmarks.

    """

    name = "scrfd"
    # raised whenever the same weights may give other landmarks
    revision = 1

    def __init__(self, session: Any, path: Path, least_score: float = 0.5, most_overlap: float = 0.4) -> None:
        self.weights_sha256 = sha256_file(path)
        self._session, self._path = session, path
        self.least_score, self.most_overlap = least_score, most_overlap
        taken, given = session.get_inputs(), session.get_outputs()
        shape = list(taken[0].shape) if len(taken) == 1 else []
        if len(shape) != 4 or (shape[1] not in (3, None) and not isinstance(shape[1], str)):
            raise SpecError(f"expected one input [1, 3, height, width], got {shape}", file=str(path))
        if len(given) not in _MAPS:
            raise SpecError(
                f"expected 9 outputs, scores, boxes and five landmarks at 3 strides, got {len(given)}",
                file=str(path),
                hint="files without landmarks ('bnkps' in their name has them) cannot align",
            )
        self._input = taken[0].name
        sides = [side if isinstance(side, int) and side > 0 else SIDE_PX for side in shape[2:]]
        self.height, self.width = sides
        self.strides, self.anchors = _MAPS[len(given)]

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find faces of a uint8 RGB picture ``[h, w, 3]``."""
        scale = min(self.height / image.shape[0], self.width / image.shape[1])
        size = tuple(max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        fitted = np.zeros((self.height, self.width, 3), np.uint8)
        fitted[: size[1], : size[0]] = cv2.resize(image, size, interpolation=how)
        pixels = ((fitted.astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)[None]
        maps = self._maps(self._session.run(None, {self._input: np.ascontiguousarray(pixels)}))
        scores, boxes, points = (np.concatenate(parts) for parts in zip(*maps, strict=True))
        passed = scores >= self.least_score
        kept = keep_best(boxes[passed], scores[passed], self.most_overlap)
        found = boxes[passed][kept] / scale, points[passed][kept] / scale
        return Detections(found[0], found[1], np.minimum(scores[passed][kept], 1.0))

    def _maps(self, outputs: Sequence[NDArray[np.float32]]) -> list[tuple[F64, F64, F64]]:
        """Return scores ``[n]``, boxes ``[n, 4]`` and landmarks ``[n, 5, 2]`` of every stride.

        What an output is, its last side and its number of rows say, whatever the order and name.
        """
        by_rows: dict[tuple[str, int], NDArray[np.float64]] = {}
        for output in outputs:
            width = output.shape[-1] if output.ndim >= 2 else 0
            rows = output.reshape(-1, width).astype(np.float64) if width in _WIDTHS else np.zeros((0, 0))
            by_rows[_WIDTHS.get(width, ""), len(rows)] = rows
        found = []
        for stride in self.strides:
            cells = (-(-self.height // stride), -(-self.width // stride))
            count = cells[0] * cells[1] * self.anchors
            parts = [by_rows.get((what, count)) for what in _WIDTHS.values()]
            if any(part is None or not np.isfinite(part).all() for part in parts):
                raise DataError(
                    f"its outputs are not SCRFD's: expected finite scores, boxes and landmarks of {count} "
                    f"anchors at stride {stride}",
                    file=str(self._path),
                )
            score, far, offset = (part for part in parts if part is not None)
            center = np.stack(np.meshgrid(np.arange(cells[1]), np.arange(cells[0])), -1).reshape(-1, 2)
            center = np.repeat(center * float(stride), self.anchors, axis=0)
            edges = np.concatenate([center - stride * far[:, :2], center + stride * far[:, 2:]], axis=1)
            found.append((score[:, 0], edges, center[:, None] + stride * offset.reshape(-1, 5, 2)))
        return found
