"""Statistics of a face at its native size, where noise is white and blocks of a codec lie straight."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lrfr.core.image import ImageU8

Floats = NDArray[np.float32]
# 4:2:0 halves chroma before its blocks: their quality is told by luma alone
QUALITIES = (8, 12, 16, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95)
_LOW = 20  # coefficients of a block that are looked at, in zigzag order after the mean
_MOST_BLOCKS = 64
_LEAST_PX = 8
# Annex K of ITU-T T.81
_TABLE = np.array(
    """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100
    103 99""".split(),
    np.float64,
).reshape(8, 8)
_STEPS = (1, 2, 4)
_GROUPS = ((0, 3), (3, 8), (8, 14), (14, _LOW))


def native_statistics(images: Sequence[ImageU8]) -> Floats:
    """Return float32 [N, D] of faces of any sizes each; the columns are :data:`NATIVE_NAMES`."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        groups[image.shape[:2]].append(row)
    found = np.zeros((len(images), len(NATIVE_NAMES)), np.float32)
    for rows in groups.values():
        found[rows] = _of_group(np.stack([images[row] for row in rows]))
    return found


def _of_group(images_nhwc: ImageU8) -> Floats:
    rgb = images_nhwc.astype(np.float32)
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    blue, red = 0.564 * (rgb[..., 2] - luma), 0.713 * (rgb[..., 0] - luma)
    parts = [_grain(luma, blue, red), _steps(luma), _chroma_steps(blue, red), _grid(luma), _combs(luma)]
    return np.concatenate(parts, axis=1)


def _corner(plane: Floats) -> Floats:
    """Return the diagonal Haar detail of every 2x2 square, of unit gain for white noise."""
    return np.asarray((plane[:, 1:, 1:] - plane[:, :-1, 1:] - plane[:, 1:, :-1] + plane[:, :-1, :-1]) / 2)


def _flat(plane: NDArray[Any]) -> NDArray[Any]:
    return plane.reshape(len(plane), -1)


def _grain(luma: Floats, blue: Floats, red: Floats) -> Floats:
    corner = _corner(luma)
    size = np.abs(corner)
    local = (luma[:, 1:, 1:] + luma[:, :-1, 1:] + luma[:, 1:, :-1] + luma[:, :-1, :-1]) / 4
    columns = [
        np.log(np.median(_flat(size), axis=1) / 0.6745 + 0.05),
        np.log(_flat(corner).std(axis=1) + 0.05),
    ]
    for low, high in ((-1, 70), (70, 120), (120, 170), (170, 256)):
        inside = (local >= low) & (local < high)
        count = _flat(inside).sum(axis=1)
        mean = _flat(size * inside).sum(axis=1) / np.maximum(count, 1)
        columns.append(np.where(count > 8, np.log(mean + 0.05), columns[0]))
    for plane in (blue, red):
        columns.append(np.log(_flat(_corner(plane)).std(axis=1) + 0.05))
    other = _flat(_corner(blue))
    own = _flat(corner)
    scale = np.sqrt((own**2).mean(axis=1) * (other**2).mean(axis=1)) + 0.01
    columns.append((own * other).mean(axis=1) / scale)
    return np.stack(columns, axis=1)


def _steps(luma: Floats) -> Floats:
    """Return mean sizes of differences by lag and direction, and how heavy their tails are."""
    columns = []
    for step in _STEPS:
        lag = min(step, luma.shape[1] - 2)
        for axis in (1, 2):
            size = _flat(np.abs(_lagged(luma, lag, axis)))
            mean = size.mean(axis=1)
            columns.append(np.log(mean + 0.05))
            if step == 1:
                columns.append(np.log((size**2).mean(axis=1) / (mean**2 + 0.05) + 0.05))
                columns.append((size < 0.6).mean(axis=1))
    # the second difference overshoots where edges were sharpened
    bend = luma[:, 1:-1, 2:] - 2 * luma[:, 1:-1, 1:-1] + luma[:, 1:-1, :-2]
    slope = (luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2]) / 2
    columns.append(
        np.log(_flat(np.abs(bend)).mean(axis=1) + 0.05) - np.log(_flat(np.abs(slope)).mean(axis=1) + 0.05)
    )
    return np.stack(columns, axis=1)


def _lagged(plane: Floats, lag: int, axis: int) -> Floats:
    return plane[:, lag:] - plane[:, :-lag] if axis == 1 else plane[:, :, lag:] - plane[:, :, :-lag]


def _chroma_steps(blue: Floats, red: Floats) -> Floats:
    columns = []
    for plane in (blue, red):
        means = []
        for step in (1, 2):
            lag = min(step, plane.shape[1] - 2)
            means.append(np.log(_flat(np.abs(_lagged(plane, lag, 2))).mean(axis=1) + 0.05))
        # where chroma was halved, pixels of a pair differ little and the next pair much
        even = np.abs(_lagged(plane, 1, 2))[:, :, 0::2]
        odd = np.abs(_lagged(plane, 1, 2))[:, :, 1::2]
        ratio = np.log(_flat(even).mean(axis=1) + 0.05) - np.log(_flat(odd).mean(axis=1) + 0.05)
        columns += [*means, ratio]
    return np.stack(columns, axis=1)


def _grid(luma: Floats) -> Floats:
    """Return how much larger differences are across the borders of 8x8 blocks, by direction and for half
    blocks.
    """
    columns = []
    for axis in (1, 2):
        size = np.abs(_lagged(luma, 1, axis))
        other = size.mean(axis=2 if axis == 1 else 1)
        for phase in (7, 3):
            border = other[:, phase::8]
            inside = np.delete(other, np.s_[phase::8], axis=1)
            fits = border.shape[1] > 0
            columns.append(
                np.log((border.mean(axis=1) + 0.1) / (inside.mean(axis=1) + 0.1)) if fits else 0 * other[:, 0]
            )
    return np.stack(columns, axis=1)


@functools.cache
def _places() -> NDArray[np.int64]:
    """Return the places of the low coefficients in a block of 64."""
    order = sorted(range(64), key=lambda k: (k // 8 + k % 8, k % 8 if (k // 8 + k % 8) % 2 else k // 8))
    return np.array(order[1 : _LOW + 1])


@functools.cache
def steps_of(qualities: tuple[int, ...]) -> Floats:
    """Return the luma steps of the low coefficients at each JPEG quality, [Q, 20]."""
    rows = []
    for quality in qualities:
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        rows.append(np.clip((_TABLE.ravel()[_places()] * scale + 50) // 100, 1, 255))
    return np.array(rows, np.float32)


def block_coefficients(luma: Floats) -> Floats:
    """Return the low DCT coefficients of (at most 64 of) the 8x8 blocks of pictures [N, h, w] of at least
    8 px, [N, blocks, 20].
    """
    count, blocks = len(luma), luma.shape[1] // 8
    cut = luma[:, : blocks * 8, : luma.shape[2] // 8 * 8] - 128
    tiles = cut.reshape(count, blocks, 8, -1, 8).transpose(0, 1, 3, 2, 4).reshape(count, -1, 8, 8)
    if tiles.shape[1] > _MOST_BLOCKS:
        tiles = tiles[:, np.linspace(0, tiles.shape[1] - 1, _MOST_BLOCKS).astype(int)]
    found = scipy.fft.dctn(tiles, axes=(2, 3), norm="ortho").reshape(count, -1, 64)
    return np.asarray(found[:, :, _places()])


def _combs(luma: Floats) -> Floats:
    """Return, for each quality, how well the coefficients of blocks lie on its multiples: the mean of
    cos(2 pi c / step) over those that are not near 0, 1 at the quality that was used; and how large they are.
    """
    if luma.shape[1] < _LEAST_PX or luma.shape[2] < _LEAST_PX:
        return np.zeros((len(luma), len(QUALITIES) + 2 * len(_GROUPS)), np.float32)
    found = block_coefficients(luma)
    size = np.abs(found)
    columns = []
    for step in steps_of(QUALITIES):
        large = size > 0.6 * step
        wave = np.where(large, np.cos((2 * np.pi / step) * found), 0)
        columns.append(wave.sum(axis=(1, 2)) / (large.sum(axis=(1, 2)) + 4))
    for low, high in _GROUPS:
        part = size[:, :, low:high]
        columns.append(np.log(part.mean(axis=(1, 2)) + 0.05))
        columns.append((part < 1.0).mean(axis=(1, 2)))
    return np.stack(columns, axis=1).astype(np.float32)


NATIVE_NAMES: tuple[str, ...] = (
    "grain median",
    "grain spread",
    *(f"grain, {where}" for where in ("dark", "middle", "light", "bright")),
    "grain Cb",
    "grain Cr",
    "grain Y with Cb",
    "step 1 down",
    "tail down",
    "equal down",
    "step 1 across",
    "tail across",
    "equal across",
    *(f"step {lag} {way}" for lag in (2, 4) for way in ("down", "across")),
    "bend of edges",
    *(f"{c} {name}" for c in ("Cb", "Cr") for name in ("step 1", "step 2", "pairs")),
    *(f"blocks {way} phase {phase}" for way in ("down", "across") for phase in (7, 3)),
    *(f"comb of quality {q}" for q in QUALITIES),
    *(f"coefficients {name} {k}" for k in range(len(_GROUPS)) for name in ("size", "near 0")),
)
