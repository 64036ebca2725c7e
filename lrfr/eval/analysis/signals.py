"""What resolution does to images, features and gradients: the analyses behind the papers' figures, as plain
functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.core.image import ImageU8
from lrfr.degrade.inspect.similarity import ssim
from lrfr.eval.embeddings import Floats
from lrfr.eval.low_res import LowRes
from lrfr.eval.scoring.metrics import F64

_BOUND_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
MAPS = ("mean", "sq", "sum")


def upsampling_error_bound(images: Sequence[ImageU8]) -> float:
    """Return BTNet's bound on the error of bilinear enlargement (Fig. 1): mean |conv(I, K)| / 64 over gray
    pixels in [0, 255].

    K is the product of two second differences. Divide by the value at the largest size to draw the figure.
    """
    from scipy.signal import convolve2d

    values = []
    for image in images:
        gray = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
        values.append(np.abs(convolve2d(gray, _BOUND_KERNEL, mode="valid")).mean() / 64)
    return float(np.mean(values))


def ssim_against_size(
    images: Sequence[ImageU8], sizes: Sequence[int], low_res: LowRes | None = None
) -> dict[int, float]:
    """Return the mean SSIM of pictures taken down to each size and back up (bicubic) against themselves (MAug
    Fig. 3a).
    """
    from lrfr.degrade.ops.resize import resize_batch

    shrink, found = low_res or LowRes(), {}
    for size in sizes:
        small = shrink.apply(list(images), size)
        back = [
            resize_batch(s[None], big.shape[0], "bicubic", True)[0]
            for s, big in zip(small, images, strict=True)
        ]
        found[size] = float(np.mean([ssim(a, b) for a, b in zip(images, back, strict=True)]))
    return found


def attention_map(features_nchw: Floats, kind: str = "mean") -> F64:
    """Return [N, H, W] maps in [0, 1], min-max scaled; a constant map comes out as zeros.

    ``mean`` over channels is F-SKD's caption, ``sum`` BTNet's script (the same picture after scaling), ``sq``
    the mean of squares of attention transfer.
    """
    x = np.asarray(features_nchw, np.float64)
    if kind not in MAPS:
        raise SpecError(f"unknown map '{kind}'", hint=f"known: {', '.join(MAPS)}")
    maps = {"mean": x.mean(axis=1), "sq": (x * x).mean(axis=1), "sum": x.sum(axis=1)}[kind]
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return np.asarray((maps - low) / np.where(high > low, high - low, 1.0))


def pca(points: Floats, dimensions: int = 2) -> tuple[F64, F64]:
    """Return (coordinates [N, dimensions], share of variance of each); signs are fixed so that the largest
    loading is positive.
    """
    x = np.asarray(points, np.float64)
    x = x - x.mean(axis=0)
    _, strength, axes = np.linalg.svd(x, full_matrices=False)
    sign = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    variance = strength**2 / max(float((strength**2).sum()), 1e-300)
    return np.asarray((x @ axes.T * sign)[:, :dimensions]), np.asarray(variance[:dimensions])


def tsne(points: Floats, *, perplexity: float = 30.0, steps: int = 500, seed: int = 0) -> F64:
    """Return [N, 2] coordinates of exact t-SNE (van der Maaten and Hinton, JMLR 9, 2008), for at most 3,000
    points.

    Starts from PCA; early exaggeration 12 and momentum 0.5 for the first quarter, then 0.8.
    """
    x = np.asarray(points, np.float64)
    n = len(x)
    if not 3 * perplexity < n <= 3000:
        raise SpecError(
            f"t-SNE of {n} points at perplexity {perplexity:g}",
            hint="needs more than 3 x perplexity points and at most 3000",
        )
    joint = _joint(_squared_distances(x), perplexity)
    start, _ = pca(x)
    y = start / start[:, 0].std() * 1e-4
    y += np.random.default_rng(seed).normal(0, 1e-6, y.shape)
    step, gain, rate = np.zeros_like(y), np.ones_like(y), max(n / 12 / 4, 50)
    for turn in range(steps):
        early = turn < steps // 4
        gradient = _tsne_gradient(joint * (12.0 if early else 1.0), y)
        gain = np.maximum(np.where(np.sign(gradient) == np.sign(step), gain * 0.8, gain + 0.2), 0.01)
        step = (0.5 if early else 0.8) * step - rate * gain * gradient
        y = y + step - (y + step).mean(axis=0)
    return np.asarray(y)


def _squared_distances(x: F64) -> F64:
    norms = (x * x).sum(axis=1)
    return np.asarray(np.maximum(norms[:, None] + norms[None, :] - 2 * x @ x.T, 0))


def _tsne_gradient(joint: F64, y: F64) -> F64:
    inverse = 1 / (1 + _squared_distances(y))
    np.fill_diagonal(inverse, 0)
    force = (joint - inverse / inverse.sum()) * inverse
    return np.asarray(4 * (force.sum(axis=1, keepdims=True) * y - force @ y))


def _joint(distance: F64, perplexity: float) -> F64:
    """Find each point's bandwidth by bisection on the entropy and return the symmetric joint
    probabilities.
    """
    n = len(distance)
    off: NDArray[np.bool_] = ~np.eye(n, dtype=bool)
    low, high, beta = np.zeros(n), np.full(n, np.inf), np.ones(n) / np.median(distance[off])
    for _ in range(64):
        weight = (
            np.exp(-(distance - distance.min(axis=1, where=off, initial=np.inf)[:, None]) * beta[:, None])
            * off
        )
        share = weight / weight.sum(axis=1, keepdims=True)
        entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=1)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        beta = np.where(np.isinf(high), beta * 2, (low + high) / 2)
    return np.asarray((share + share.T) / (2 * n))
