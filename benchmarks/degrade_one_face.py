"""One face at a time beside the batch of 64 that does the same work: the same draws, keys and, where it
enlarges, the same way up; and beside the bare calls of PyTorch's kernel on tensors that are made already, a
ratio that no clock moves.
"""

from __future__ import annotations

import numpy as np
import torch

from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec
from lrfr.degrade.transforms import Degrade, degrade_images

BATCH = 64


def measure(text, faces, count, rounds, in_turn):
    """Return for each way of degrading one face its microseconds, the batch's and the kernel's."""
    images = [_stamped(faces[number % len(faces)], number) for number in range(count)]
    keys = [b"%d" % number for number in range(count)]
    contestants = _batches(text, images, keys) | _ones(text, images, keys) | _kernels(text, images, keys)
    us = {name: 1e6 / rate for name, rate in in_turn(contestants, count, rounds).items()}
    rows = {}
    for name in _ones(text, images, keys):
        beside = name.split(": ")[1]
        up = "up" in beside
        rows[name] = {
            "us": round(us[name], 1),
            "batch_us": round(us[f"batch: {beside}"], 1),
            "kernel_us": round(us["kernel, up" if up else "kernel"], 1),
        }
    return rows


def _stamped(face, number):
    """Return a face that no other number has, so that content keys differ."""
    image = face.copy()
    image[0, 0] = number % 256, number // 256, 0
    return image


def _each(call, *lists):
    """Return a run that keeps no result, as a loader that has handed its faces on."""

    def run():
        for items in zip(*lists, strict=True):
            call(*items)

    return run


def _batches(text, images, keys):
    pipeline = Pipeline(parse_spec(text))
    starts = range(0, len(images), BATCH)
    parts = [[each[start : start + BATCH] for start in starts] for each in (images, keys)]

    def run(up, keyed):
        return _each(lambda i, k: degrade_images(i, pipeline, keys=k if keyed else None, up=up), *parts)

    return {
        "batch: keys": run(False, True),
        "batch: content": run(False, False),
        "batch: keys, up": run(True, True),
        "batch: content, up": run(True, False),
    }


def _ones(text, images, keys):
    spec = parse_spec(text)
    native, enlarged = Degrade(spec, up=False), Degrade(spec)
    for transform in (native, enlarged):
        transform.set_epoch(0)  # the draws of the batch
    return {
        "degrade_images: keys": _each(lambda i, k: degrade_images(i, spec, keys=k), images, keys),
        "degrade_images: content": _each(lambda i: degrade_images(i, spec), images),
        "Degrade(up=False): keys": _each(native, images, keys),
        "Degrade(up=False): content": _each(native, images),
        "Degrade: keys, up": _each(enlarged, images, keys),
        "Degrade: content, up": _each(enlarged, images),
    }


def _kernels(text, images, keys):
    """Return the bare resizes that ``keys`` draw: alone, and with the way up behind them."""
    pipeline = Pipeline(parse_spec(text))
    side = pipeline.spec.store.up.size_px
    sides = [item.image.shape[0] for item in pipeline.run(keys, images)]
    sources = [_planes(image) for image in images]
    small = [_planes(np.zeros((size, size, 3), np.uint8)) for size in sides]
    large = _planes(np.zeros((side, side, 3), np.uint8))
    kernel = torch.ops.aten._upsample_bicubic2d_aa.out

    def down(source, target, size):
        kernel(source, (size, size), False, None, None, out=target)

    def both(source, target, size):
        down(source, target, size)
        kernel(target, (side, side), False, None, None, out=large)

    return {"kernel": _each(down, sources, small, sides), "kernel, up": _each(both, sources, small, sides)}


def _planes(image):
    return torch.from_numpy(image[None]).permute(0, 3, 1, 2)


def show(title, rows):
    """Print the table."""
    print(f"one face at a time, {title} [us a face]{'':10}alone  in 64  kernel")
    for name, row in rows.items():
        ratios = f"{row['us'] / row['batch_us']:5.2f} x batch {row['us'] / row['kernel_us']:5.2f} x kernel"
        print(f"  {name:38}{row['us']:8.1f}{row['batch_us']:7.1f}{row['kernel_us']:8.1f}  {ratios}")
