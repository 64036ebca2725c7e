"""The three nets of MTCNN as functions of their weights.

Source: Zhang, Zhang, Li, Qiao, "Joint face detection and alignment using multitask cascaded convolutional
networks", IEEE Signal Processing Letters 23(10), 2016, figure 2. Inputs are float32 ``[n, 3, h, w]`` RGB in
[-1, 1]. Pooling rounds sizes up and the dense layers read their input column by column, as the published
weights were trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# shapes of the weights, in the order of the layers
PNET: dict[str, tuple[int, ...]] = {
    "conv1": (10, 3, 3, 3),
    "conv2": (16, 10, 3, 3),
    "conv3": (32, 16, 3, 3),
    "conv4_1": (2, 32, 1, 1),
    "conv4_2": (4, 32, 1, 1),
}
RNET: dict[str, tuple[int, ...]] = {
    "conv1": (28, 3, 3, 3),
    "conv2": (48, 28, 3, 3),
    "conv3": (64, 48, 2, 2),
    "dense4": (128, 576),
    "dense5_1": (2, 128),
    "dense5_2": (4, 128),
}
ONET: dict[str, tuple[int, ...]] = {
    "conv1": (32, 3, 3, 3),
    "conv2": (64, 32, 3, 3),
    "conv3": (64, 64, 3, 3),
    "conv4": (128, 64, 2, 2),
    "dense5": (256, 1152),
    "dense6_1": (2, 256),
    "dense6_2": (4, 256),
    "dense6_3": (10, 256),
}
Weights = Mapping[str, "Tensor"]


def shapes(layers: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a net: weights, biases, and slopes of the layers that have one."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in layers.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        if "_" not in name:  # the outputs have no rectifier
            found[f"prelu{name[-1]}.weight"] = shape[:1]
    return found


def propose(weights: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run P-Net over whole pictures.

    Returns:
        The probability of a face ``[n, rows, columns]`` of every window of 12 px, 2 px apart, and the offsets
        of its edges ``[n, 4, rows, columns]``.

    """
    x = _pool(_conv(weights, 1, images), 2)
    x = _conv(weights, 3, _conv(weights, 2, x))
    return _linear(weights, "conv4_1", x).softmax(1)[:, 1], _linear(weights, "conv4_2", x)


def refine(weights: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run R-Net on cuts of 24 px; return probabilities ``[n]`` and offsets ``[n, 4]``."""
    x = _pool(_conv(weights, 1, images), 3)
    x = _pool(_conv(weights, 2, x), 3)
    x = _dense(weights, 4, _conv(weights, 3, x))
    return _linear(weights, "dense5_1", x).softmax(1)[:, 1], _linear(weights, "dense5_2", x)


def output(weights: Weights, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run O-Net on cuts of 48 px.

    Returns:
        Probabilities ``[n]``, offsets ``[n, 4]`` and landmarks ``[n, 10]``: five x, then five y, as shares of
        the cut.

    """
    x = _pool(_conv(weights, 1, images), 3)
    x = _pool(_conv(weights, 2, x), 3)
    x = _pool(_conv(weights, 3, x), 2)
    x = _dense(weights, 5, _conv(weights, 4, x))
    scores = _linear(weights, "dense6_1", x).softmax(1)[:, 1]
    return scores, _linear(weights, "dense6_2", x), _linear(weights, "dense6_3", x)


def _conv(weights: Weights, number: int, x: Tensor) -> Tensor:
    from torch.nn.functional import prelu

    return prelu(_linear(weights, f"conv{number}", x), weights[f"prelu{number}.weight"])


def _dense(weights: Weights, number: int, x: Tensor) -> Tensor:
    from torch.nn.functional import prelu

    columns = x.permute(0, 3, 2, 1).flatten(1)
    return prelu(_linear(weights, f"dense{number}", columns), weights[f"prelu{number}.weight"])


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    from torch.nn.functional import conv2d, linear

    apply = conv2d if name.startswith("conv") else linear
    return apply(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _pool(x: Tensor, side: int) -> Tensor:
    from torch.nn.functional import max_pool2d

    return max_pool2d(x, side, 2, ceil_mode=True)
