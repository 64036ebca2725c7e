"""MTCNN: three small nets, each looking closer at what the one before it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.machine import torch_threads
from lrfr.pairs.align.detectors.base import Detections
from lrfr.pairs.align.detectors.boxes import CELL_PX, F64, cut, keep_best, pyramid, regress, square
from lrfr.pairs.align.detectors.detector_weights import Tensors, read_mtcnn
from lrfr.pairs.align.detectors.mtcnn_nets import output, propose, refine

if TYPE_CHECKING:
    from torch import Tensor

Net = Callable[[Mapping[str, "Tensor"], "Tensor"], tuple["Tensor", ...]]
STRIDE_PX = 2
BATCH = 512


def open_mtcnn(weights: Path | None) -> Mtcnn:
    """MTCNN (Zhang, Zhang, Li and Qiao, 2016) with the nets in the wheel of facenet-pytorch 2.6.0 (MIT)."""
    return Mtcnn(*read_mtcnn(weights))


class Mtcnn:
    """The cascade of P-, R- and O-Net.

    Args:
        nets: tensors of ``pnet``, ``rnet`` and ``onet`` by name.
        weights_sha256: digest over them.
        min_face_px: side of the smallest face box that is looked for.
        least_share: smallest face box as a share of the picture's longer side. In a photograph of 4,000 px
            faces below 80 px are not looked for, which would take twenty times as long; 0 looks for them.
        scores: what P-, R- and O-Net must give to go on.

    """

    name = "mtcnn"
    # raised whenever the same weights may give other landmarks
    revision = 1

    def __init__(
        self,
        nets: Mapping[str, Tensors],
        weights_sha256: str = "",
        min_face_px: float = 20.0,
        least_share: float = 0.02,
        scores: tuple[float, float, float] = (0.6, 0.7, 0.7),
    ) -> None:
        self.weights_sha256 = weights_sha256
        self.min_face_px, self.least_share, self.scores = min_face_px, least_share, scores
        self._tensors = nets

    @cached_property
    def _nets(self) -> dict[str, dict[str, Tensor]]:
        import torch

        return {
            net: {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
            for net, tensors in self._tensors.items()
        }

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find faces of a uint8 RGB picture ``[h, w, 3]``, on one thread, so that workers agree."""
        import torch

        with torch.inference_mode(), torch_threads(1):
            boxes = square(self._propose(image))
            boxes = square(self._refine(image, boxes)) if len(boxes) else boxes
            return self._finish(image, boxes) if len(boxes) else Detections.none()

    def _propose(self, image: NDArray[np.uint8]) -> F64:
        """Return the boxes that P-Net proposes on a pyramid of the picture."""
        height, width = image.shape[:2]
        smallest = max(self.min_face_px, self.least_share * max(height, width))
        boxes, scores, offsets = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros((0, 4))]
        for scale in pyramid(height, width, smallest):
            size = (max(CELL_PX, round(width * scale)), max(CELL_PX, round(height * scale)))
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            small = cv2.resize(image, size, interpolation=how)
            faces, moves = propose(self._nets["pnet"], _tensor(small[None]))
            rows, columns = (faces[0] >= self.scores[0]).nonzero(as_tuple=True)
            corner = np.stack([columns.numpy(), rows.numpy()], axis=1) * float(STRIDE_PX)
            ratio = np.array([width / size[0], height / size[1]])
            found = np.concatenate([corner * ratio, (corner + CELL_PX) * ratio], axis=1)
            values = faces[0][rows, columns].numpy().astype(np.float64)
            kept = keep_best(found, values, 0.5)
            boxes.append(found[kept])
            scores.append(values[kept])
            offsets.append(moves[0][:, rows, columns].numpy().astype(np.float64).T[kept])
        every = np.concatenate(boxes)
        kept = keep_best(every, np.concatenate(scores), 0.7)
        return regress(every[kept], np.concatenate(offsets)[kept])

    def _refine(self, image: NDArray[np.uint8], boxes: F64) -> F64:
        """Return what R-Net leaves of the boxes, moved."""
        boxes = _whole(boxes)
        scores, offsets = self._run(refine, "rnet", cut(image, boxes, 24))
        passed = scores >= self.scores[1]
        boxes, scores, offsets = boxes[passed], scores[passed], offsets[passed]
        kept = keep_best(boxes, scores, 0.7)
        return regress(boxes[kept], offsets[kept])

    def _finish(self, image: NDArray[np.uint8], boxes: F64) -> Detections:
        """Return what O-Net leaves, with landmarks."""
        boxes = _whole(boxes)
        scores, offsets, points = self._run(output, "onet", cut(image, boxes, 48))
        passed = scores >= self.scores[2]
        boxes, scores, offsets, points = boxes[passed], scores[passed], offsets[passed], points[passed]
        shares = points.reshape(-1, 2, 5).transpose(0, 2, 1)
        # shares of the cut from edge to edge; the centers of pixels lie half a pixel inside
        landmarks = boxes[:, None, :2] + shares * (boxes[:, None, 2:] - boxes[:, None, :2]) - 0.5
        boxes = regress(boxes, offsets)
        kept = keep_best(boxes, scores, 0.7, "smaller")
        return Detections(boxes[kept], landmarks[kept], scores[kept])

    def _run(self, net: Net, name: str, cuts: NDArray[np.uint8]) -> list[F64]:
        import torch

        parts = [
            net(self._nets[name], _tensor(cuts[first : first + BATCH]))
            for first in range(0, len(cuts), BATCH)
        ]
        return [torch.cat(values).numpy().astype(np.float64) for values in zip(*parts, strict=True)]


def _tensor(images: NDArray[np.uint8]) -> Tensor:
    """Return uint8 ``[n, h, w, 3]`` as float32 ``[n, 3, h, w]`` in [-1, 1].

    The memory keeps its order, channels last, in which torch pools seven times as fast.
    """
    import torch

    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127.5) / 128.0


def _whole(boxes: F64) -> F64:
    """Round to whole pixels, at least one wide and high."""
    low = np.rint(boxes[:, :2])
    return np.concatenate([low, np.maximum(np.rint(boxes[:, 2:]), low + 1.0)], axis=1)
