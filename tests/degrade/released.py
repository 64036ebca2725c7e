"""The released degradation of Real-ESRGAN, written again in plain code from what its authors describe: an oracle
for the presets that carry its name. Pictures here are float64
[H, W, 3] in 0..1; nothing of lrfr is used, so that a fault of an op cannot hide in its own oracle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
from scipy.fft import dctn, idctn, irfft2, next_fast_len, rfft2
from scipy.special import j1

SIDE, QUARTER = 112, 28
KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
SHARES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
TORCH_MODES = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
# the luminance and chrominance tables of the JPEG standard (Annex K)
LUMA = np.array(
    [
        *([16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56]),
        *([14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92]),
        *([49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]),
    ],
    float,
)  # fmt: skip
CHROMA = np.full((8, 8), 99.0)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
ORDER_1: Mapping[str, tuple[float, ...]] = {
    "sigma": (0.2, 3.0), "resize": (0.15, 1.5), "shares": (0.2, 0.7, 0.1), "noise": (1, 30), "poisson": (0.05, 3.0),
}  # fmt: skip
ORDER_2: Mapping[str, tuple[float, ...]] = {
    "sigma": (0.2, 1.5), "resize": (0.3, 1.2), "shares": (0.3, 0.4, 0.3), "noise": (1, 25), "poisson": (0.05, 2.5),
}  # fmt: skip


def sharpen(image, amount=0.5, size=51, sigma=8.0, threshold=10):
    """Unsharp masking: sharper where the picture differs from its blur, through a blurred mask of such places."""
    taps = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    residual = image - filtered(image, kernel)
    mask = filtered((np.abs(residual) * 255 > threshold).astype(float), kernel)
    return mask * np.clip(image + amount * residual, 0, 1) + (1 - mask) * image


def filtered(image, kernel):
    """Correlate with a kernel, the border mirrored without its edge: by the product of spectra, which is exact to
    fifteen digits, where lrfr sums over taps.
    """
    reach = kernel.shape[0] // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), "reflect")
    sides = [next_fast_len(side, real=True) for side in padded.shape[:2]]
    spectrum = rfft2(padded, sides, axes=(0, 1)) * rfft2(kernel, sides).conj()[..., None]
    return irfft2(spectrum, sides, axes=(0, 1))[: image.shape[0], : image.shape[1]]


def kernel_of(rng, sigma_range, shares=SHARES):
    """Draw (kernel, what was drawn) as Real-ESRGAN's data set does: size, then a sinc one time in ten."""
    size = int(rng.choice([7, 9, 11, 13, 15, 17, 19, 21]))
    if rng.random() < 0.1:
        cutoff = rng.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi)
        return sinc(size, cutoff), {"kind": "sinc", "size": size, "cutoff": cutoff}
    kind = str(rng.choice(KINDS, p=shares))
    sigma_x = rng.uniform(*sigma_range)
    sigma_y, angle = (
        (rng.uniform(*sigma_range), rng.uniform(-math.pi, math.pi)) if "aniso" in kind else (sigma_x, 0)
    )
    beta = 1.0
    if kind not in ("iso", "aniso"):
        low, high = (0.5, 4.0) if kind.startswith("generalized") else (1.0, 2.0)
        # one half of the draws up to 1, one half from there on
        beta = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
    offsets = np.arange(size) - size // 2
    x, y = np.meshgrid(offsets, offsets)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    power = ((along / sigma_x) ** 2 + (across / sigma_y) ** 2) ** beta
    kernel = 1 / (1 + power) if kind.startswith("plateau") else np.exp(-power / 2)
    return kernel / kernel.sum(), {"kind": kind, "size": size, "sigma_x": sigma_x, "beta": beta}


def sinc(size, cutoff):
    """Return a circular low-pass kernel of sum 1."""
    offsets = np.arange(size) - size // 2
    radius = np.hypot(*np.meshgrid(offsets, offsets))
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel = cutoff * j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return kernel / kernel.sum()


def resized(image, side, mode):
    """Resize as PyTorch's interpolate without antialias does; its area takes means over whole pixels."""
    if mode != "area":
        return cv2.resize(image, (side, side), interpolation=TORCH_MODES[mode])
    return pooled(pooled(image, side).swapaxes(0, 1), side).swapaxes(0, 1)


def pooled(image, side):
    """Mean over rows [floor(i n / side), ceil((i + 1) n / side)): adaptive average pooling along one axis."""
    rows = image.shape[0]
    return np.stack([image[i * rows // side : -(-(i + 1) * rows // side)].mean(0) for i in range(side)])


def any_mode(rng):
    return str(rng.choice(list(TORCH_MODES)))


def noisy(rng, image, settings):
    """Gaussian noise, or that of photons whose strength is multiplied by a uniform scale; gray two in five times."""
    gray = rng.random() < 0.4
    if rng.random() < 0.5:
        field = rng.normal(size=(*image.shape[:2], 1 if gray else 3)) * rng.uniform(*settings["noise"]) / 255
        return np.clip(image + field, 0, 1)
    scale = rng.uniform(*settings["poisson"])
    whole = np.clip(np.round(image * 255), 0, 255) / 255
    if gray:
        whole = np.round(whole @ [0.2989, 0.587, 0.114] * 255)[..., None] / 255
    # as many photons at white as the picture has levels, rounded up to a power of two
    photons = 2 ** math.ceil(math.log2(max(2, len(np.unique(whole)))))
    return np.clip(image + scale * (rng.poisson(whole * photons) / photons - whole), 0, 1)


def jpeg(image, quality, border="constant"):
    """Baseline 4:2:0 with real arithmetic and the chroma repeated, as the differentiable JPEG of BasicSR; it fills
    sides that are no multiple of 16 with black (``border="edge"``: with the last pixel, as every codec does).
    """
    height, width = image.shape[:2]
    padded = np.pad(np.clip(image, 0, 1) * 255, ((0, -height % 16), (0, -width % 16), (0, 0)), border)
    mix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    planes = padded @ mix.T + [0, 128, 128]
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    y = coded(planes[..., 0], LUMA * scale)
    small = planes[..., 1:].reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, 2).mean((1, 3))
    chroma = np.stack([coded(small[..., k], CHROMA * scale).repeat(2, 0).repeat(2, 1) for k in (0, 1)], -1)
    rgb = np.concatenate([y[..., None], chroma - 128], -1) @ np.linalg.inv(mix).T
    return np.clip(rgb[:height, :width] / 255, 0, 1)


def coded(plane, table):
    blocks = plane.reshape(plane.shape[0] // 8, 8, plane.shape[1] // 8, 8).swapaxes(1, 2) - 128
    whole = np.round(dctn(blocks, axes=(2, 3), norm="ortho") / table) * table
    return (idctn(whole, axes=(2, 3), norm="ortho") + 128).swapaxes(1, 2).reshape(plane.shape)


def realesrgan(rng, image, orders=2, border="edge", trace=None):
    """Return the 28-px picture of a 112-px one after one or both orders of Real-ESRGAN."""
    trace = {} if trace is None else trace
    kernel, trace["kernel_1"] = kernel_of(rng, ORDER_1["sigma"])
    out = filtered(sharpen(image), kernel)
    trace["side_1"] = side = int(SIDE * scale_of(rng, ORDER_1))
    out = noisy(rng, resized(out, side, any_mode(rng)), ORDER_1)
    out = jpeg(out, rng.uniform(30, 95), border)
    if orders == 1:
        return rounded(resized(out, QUARTER, any_mode(rng)))
    if rng.random() < 0.8:
        kernel, trace["kernel_2"] = kernel_of(rng, ORDER_2["sigma"])
        out = filtered(out, kernel)
    trace["side_2"] = side = int(QUARTER * scale_of(rng, ORDER_2))
    out = noisy(rng, resized(out, side, any_mode(rng)), ORDER_2)
    last = np.ones((1, 1))
    if rng.random() < 0.8:
        last = sinc(int(rng.choice([7, 9, 11, 13, 15, 17, 19, 21])), rng.uniform(math.pi / 3, math.pi))
    trace["final_sinc"], quality = last.size > 1, rng.uniform(30, 95)
    if rng.random() < 0.5:
        return rounded(jpeg(filtered(resized(out, QUARTER, any_mode(rng)), last), quality, border))
    return rounded(filtered(resized(jpeg(out, quality, border), QUARTER, any_mode(rng)), last))


def scale_of(rng, settings):
    kind = rng.choice(3, p=settings["shares"])
    low, high = settings["resize"]
    return (rng.uniform(1, high), rng.uniform(low, 1), 1.0)[kind]


def rounded(image):
    return np.clip(np.round(image * 255), 0, 255).astype(np.uint8)
