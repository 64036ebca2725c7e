"""Stand-in faces for the tests of the degrade room: smooth shapes with texture, saturated and flat parts."""

from __future__ import annotations

import numpy as np

from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec


def face(number: int = 0, size: int = 112, width: int | None = None):
    """Return a deterministic uint8 [size, width, 3] picture with gradients, an ellipse, stripes and fine
    texture.
    """
    width = width or size
    generator = np.random.Generator(np.random.Philox(key=number + 1))
    y, x = np.mgrid[0:size, 0:width] / (size - 1.0)
    y, x = y.astype(np.float64), x.astype(np.float64)
    tint = generator.random(3) * 120 + 60
    head = ((x - 0.5) ** 2 / 0.1 + (y - 0.5) ** 2 / 0.16 < 1)[:, :, None] * tint
    stripes = (40 * np.sin(x * (20 + number)) * np.cos(y * 17))[:, :, None]
    texture = generator.random((size, width, 3)) * 30
    return np.clip(60 * y[:, :, None] + head + stripes + texture, 0, 255).astype(np.uint8)


def faces(count: int, size: int = 112):
    return [face(number, size) for number in range(count)]


def keys(count: int):
    return [b"face/%05d" % number for number in range(count)]


class AsTheyCome(Pipeline):
    """A pipeline that fits no picture to the spec's image size, so that ops are tried on any size."""

    def run(self, keys, images=None, variant=0):
        return super().run(keys, images, variant, fit=False)


def pipeline(steps: str, seed: int = 1) -> Pipeline:
    """Return the pipeline of a YAML list of steps, for pictures of any size."""
    return AsTheyCome(parse_spec(f"version: 1\nseed: {seed}\npipeline:\n{steps}"))


def one(step: str, image=None, key: bytes = b"k", seed: int = 1):
    """Run one flow-style step on one image."""
    return pipeline(f"  - {step}", seed).run([key], [face() if image is None else image])[0]
