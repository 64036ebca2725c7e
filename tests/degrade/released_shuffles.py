"""BSRGAN's and AdaFace's released degradations in plain code (see ``released.py``)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from tests.degrade.released import SIDE, filtered, rounded


def bsrgan(rng, image, trace=None):
    """Return the 28-px picture of a 112-px one after BSRGAN's shuffled chain at scale 4 (no camera model)."""
    trace = {} if trace is None else trace
    factor, out = 4, image
    if rng.random() < 0.25:
        factor = 2
        if rng.random() < 0.5:
            out = cv2.resize(out, (56, 56), interpolation=any_cv2(rng))
        else:
            out = np.clip(halved(out), 0, 1)
    order = list(rng.permutation(6))
    first, second = order.index(2), order.index(3)
    if first > second:
        order[first], order[second] = 3, 2
    trace["factor"], trace["order"], whole = factor, order, out.shape[0]
    for step in order:
        if step in (0, 1):
            out = elliptic_or_round(rng, out, factor, trace)
        elif step == 2:
            out = np.clip(first_downsampling(rng, out, factor, trace), 0, 1)
        elif step == 3:
            out = np.clip(cv2.resize(out, (whole // factor,) * 2, interpolation=any_cv2(rng)), 0, 1)
        elif step == 4:
            out = channel_noise(rng, out)
        elif rng.random() < 0.9:
            out = camera_jpeg(rng, out)
    return rounded(camera_jpeg(rng, out))


def any_cv2(rng):
    return int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA]))


def halved(image):
    """MATLAB's antialiased bicubic at one half: a cubic (a = -0.5) twice as wide, the border mirrored with its edge."""
    x = np.abs((np.arange(8) - 3.5) / 2)
    taps = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)
    taps /= taps.sum()
    for _ in range(2):
        padded = np.pad(image, ((3, 3), (0, 0), (0, 0)), "symmetric")
        image = sum(w * padded[k : k + image.shape[0] : 2] for k, w in enumerate(taps)).swapaxes(0, 1)
    return image


def elliptic_or_round(rng, image, factor, trace):
    size = 2 * int(rng.integers(2, 12)) + 3
    offsets = np.arange(size) - size // 2
    x, y = np.meshgrid(offsets, offsets)
    if rng.random() < 0.5:
        # the axes are drawn as variances
        one, two, angle = *((4 + factor) * rng.random(2)), rng.random() * math.pi
        trace.setdefault("variances", []).append((one, two))
        along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        power = along**2 / one + across**2 / two
    else:
        width = (2 + 0.2 * factor) * rng.random()
        power = (x**2 + y**2) / max(width, 1e-6) ** 2
    kernel = np.exp(-0.5 * power)
    return filtered(image, kernel / kernel.sum())


def first_downsampling(rng, image, factor, trace):
    if rng.random() < 0.75:
        side = int(image.shape[0] / rng.uniform(1, 2 * factor))
        trace["side"] = side
        return cv2.resize(image, (side, side), interpolation=any_cv2(rng))
    sigma = rng.uniform(0.1, 0.6 * factor)
    # a kernel shifted by half a step, read between its pixels, makes every sample the middle of its pixels
    taps = np.exp(-0.5 * ((np.arange(25) - 12) / sigma) ** 2)
    moved = np.interp(np.clip(np.arange(25) + (factor - 1) / 2, 0, 24), np.arange(25), taps / taps.sum())
    kernel = np.outer(moved, moved)
    return filtered(image, (kernel / kernel.sum())[::-1, ::-1])[::factor, ::factor]


def channel_noise(rng, image):
    sigma, kind = int(rng.integers(2, 26)), rng.random()
    if kind > 0.6:
        field = rng.normal(size=image.shape) * sigma
    elif kind < 0.4:
        field = rng.normal(size=(*image.shape[:2], 1)) * sigma
    else:
        field = rng.multivariate_normal(np.zeros(3), channel_covariance(rng), image.shape[:2])
    return np.clip(image + field / 255, 0, 1)


def channel_covariance(rng):
    """Noise of 25 levels mixed between the channels by a random basis."""
    basis = np.linalg.svd(rng.random((3, 3)))[0]
    return np.abs(25.0**2 * basis.T @ np.diag(rng.random(3)) @ basis)


def camera_jpeg(rng, image):
    bgr = cv2.cvtColor(rounded(image), cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))])[1]
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) / 255.0


def adaface(rng, image_u8, trace=None):
    """Return a picture after AdaFace's augmenter, each of its three parts at probability 0.2."""
    from PIL import Image, ImageEnhance

    trace = {} if trace is None else trace
    out = image_u8
    if rng.random() < 0.2:
        top, left, height, width = trace["crop"] = crop_of(rng)
        box = (slice(top, top + height), slice(left, left + width))
        out = np.zeros_like(image_u8)
        out[box] = image_u8[box]
    if rng.random() < 0.2:
        side = trace["side"] = int(rng.uniform(0.2, 1.0) * SIDE)
        down, up = rng.choice(
            [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4], 2
        )
        out = cv2.resize(
            cv2.resize(out, (side, side), interpolation=int(down)), (SIDE, SIDE), interpolation=int(up)
        )
    if rng.random() < 0.2:
        picture = Image.fromarray(out)
        for kind in rng.permutation([ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]):
            picture = kind(picture).enhance(rng.uniform(0.5, 1.5))
        out = np.asarray(picture)
    return out


def crop_of(rng, side=SIDE):
    """torchvision's RandomResizedCrop: (top, left, height, width), drawn again, ten times at most, until it fits."""
    for _ in range(10):
        area = side * side * rng.uniform(0.2, 1.0)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= side and 0 < height <= side:
            return int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1)), height, width
    return 0, 0, side, side
