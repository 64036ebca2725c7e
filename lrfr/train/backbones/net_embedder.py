"""``embed(images) -> float32 [N, D]``: the embedder owns resizing and routing, so that nobody after it
resizes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrfr.core.image import ImageU8, check_image
from lrfr.degrade.ops.resize import resize_batch

BATCH = 128


_Opencv = Literal["nearest", "nearest_exact", "linear", "cubic", "area", "lanczos4"]
Filter = Literal["bilinear", "bicubic", "box", "hamming", "lanczos"] | _Opencv


@dataclass(frozen=True)
class InputSpec:
    """How images of any size reach the network; recorded in every checkpoint.

    Attributes:
        size_px: side of the network's input.
        filter: interpolation to that side; of a recipe that states none, the one by which its view enlarges.
        antialias: widen the filter with the scale; without, the names are OpenCV's (``linear``, ``cubic``).

    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    size_px: int = 112
    filter: Filter = "bicubic"
    antialias: bool = True


Route = Callable[[int, int], tuple[int, Callable[[Tensor], Tensor]]]


class Embedder:
    """Resize, scale to [-1, 1], run in evaluation mode, give raw embeddings.

    Args:
        nets: modules to hold in evaluation mode during a call.
        route: (height, width) of an image to (side of the input, network to run); no closure, so that an
            embedder goes to worker processes.
        spec: filter of the resizing.

    """

    def __init__(self, nets: nn.Module, route: Route, spec: InputSpec) -> None:
        self.nets, self.route, self.spec = nets, route, spec
        self.attribute_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Embedder({type(self.nets).__name__}, {self.spec})"

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D] of uint8 HWC RGB images of any sizes, in their order.

        Raises:
            ValueError: an image is not uint8 HWC RGB, or there is none.

        """
        if len(images) == 0:
            raise ValueError("expected at least one image")
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            by_shape[check_image(image).shape[:2]].append(index)
        was_training = [module for module in self.nets.modules() if module.training]
        self.nets.eval()
        rows: dict[int, NDArray[np.float32]] = {}
        try:
            for indices in by_shape.values():
                for start in range(0, len(indices), BATCH):
                    part = indices[start : start + BATCH]
                    rows.update(zip(part, self._embed([images[i] for i in part]), strict=True))
        finally:
            for module in was_training:
                module.training = True
        return np.stack([rows[index] for index in range(len(images))])

    @torch.no_grad()
    def _embed(self, images: list[ImageU8]) -> NDArray[np.float32]:
        net, x_bchw = self.prepared(images)
        return net(x_bchw).float().cpu().numpy()

    def prepared(self, images: Sequence[ImageU8]) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """Return the network that takes equally large images, and its input [N, 3, S, S] on its device."""
        shape = images[0].shape[:2]
        size_px, net = self.route(*shape)
        batch = np.stack(images)
        if shape != (size_px, size_px):
            batch = resize_batch(batch, size_px, self.spec.filter, self.spec.antialias)
        return net, to_input(batch).to(next(self.nets.parameters()).device)


def to_input(images_nhwc: NDArray[np.uint8]) -> Tensor:
    """Return uint8 [N, H, W, 3] as float32 [N, 3, H, W] in [-1, 1]; the memory stays channels last, in which
    convolutions are faster.
    """
    return torch.from_numpy(images_nhwc).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def single(net: nn.Module, spec: InputSpec, forward: Callable[[Tensor], Tensor] | None = None) -> Embedder:
    """Return the embedder of one network that takes one size; ``forward`` replaces the network's own."""
    run = forward or net
    return Embedder(net, partial(_one_side, spec.size_px, run), spec)


def _one_side(
    size_px: int, run: Callable[[Tensor], Tensor], height: int, width: int
) -> tuple[int, Callable[[Tensor], Tensor]]:
    return size_px, run
