"""What the file of a crop tells: lossless, JPEG or WebP, at which quality and subsampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8, probe

_LOSSLESS = frozenset({"PNG", "BMP", "PPM", "TIFF", "QOI", "TGA", "GIF"})
# table of luma in zigzag order, Annex K of ITU-T T.81
_ZIGZAG_LUMA = np.array(
    """16 11 12 14 12 10 16 14 13 14 18 17 16 19 24 40 26 24 22 22 24 49 35 37 29 40 58 51 61 60 57 51 56 55
    64 72 92 78 64 68 87 69 55 56 80 109 81 87 95 98 103 104 103 62 77 113 121 112 100 120 92 101 103
    99""".split(),
    np.int64,
)
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_MOST_SEGMENTS = 200
_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420"}


@dataclass(frozen=True)
class Container:
    """How a crop was stored last.

    Attributes:
        kind: ``lossless``, ``jpeg``, ``webp`` (lossy) or ``other`` (AVIF, ...).
        quality: of JPEG the one whose table of luma is nearest, of WebP that of :func:`webp_quality`; 0 where
            there is none.
        exact: whether that table is the standard's at that quality.
        subsampling: ``420``, ``422``, ``444`` or "".

    """

    kind: str
    quality: int = 0
    exact: bool = True
    subsampling: str = ""


def container_words(container: Container) -> str:
    """Return how files are stored, in words."""
    if container.kind == "webp" and container.quality:
        return f"WebP of about quality {container.quality}"
    if container.kind == "jpeg":
        return f"JPEG of quality {container.quality}, {container.subsampling}"
    return container.kind


def container_of(data: bytes) -> Container:
    """Return how a file stores its picture.

    Raises:
        ImageFault: it is none.

    """
    kind, _, _ = probe(data)
    if kind != "JPEG":
        lossless = kind in _LOSSLESS or (kind == "WEBP" and b"VP8L" in data[:64])
        return Container("lossless" if lossless else "webp" if kind == "WEBP" else "other")
    return _jpeg(data)


def webp_quality(data: bytes, picture: ImageU8) -> int:
    """Return about the quality of a lossy WebP file (within 5 or so), by how large its picture is when it is
    encoded again: less than the first time, by as much as once more.

    Args:
        data: the file.
        picture: what it holds, uint8 [h, w, 3] RGB.

    """
    import cv2

    def encoded(image: ImageU8, quality: int) -> NDArray[np.uint8]:
        bgr = np.ascontiguousarray(image[..., ::-1])
        return np.asarray(cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1], np.uint8)

    def nearest(image: ImageU8, size: int) -> int:
        low, high = 1, 100
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if len(encoded(image, middle)) < size else (low, middle)
        return low

    first = nearest(picture, len(data))
    again = encoded(picture, first)
    shown = np.asarray(cv2.imdecode(again, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return min(max(2 * first - nearest(shown, len(again)), 1), 100)


def _jpeg(data: bytes) -> Container:
    table, subsampling, place = None, "", 2
    for _ in range(_MOST_SEGMENTS):
        if place + 4 > len(data) or data[place] != 0xFF:
            break
        code, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        body = data[place + 4 : place + 2 + length]
        if code == 0xDB and len(body) >= 65 and body[0] == 0:
            table = np.frombuffer(body[1:65], np.uint8).astype(np.int64)
        if code in _FRAMES and len(body) >= 15 and body[5] == 3:
            subsampling = _SUBSAMPLING.get((body[7] >> 4, body[7] & 15), "420")
        if code == 0xDA:
            break
        place += 2 + length
    if table is None:
        return Container("jpeg", 75, False, subsampling or "444")
    quality, exact = _quality(table)
    return Container("jpeg", quality, exact, subsampling or "444")


def _quality(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[int, bool]:
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    tables = np.clip((_ZIGZAG_LUMA[None] * scale[:, None] + 50) // 100, 1, 255)
    apart = np.abs(tables - table).sum(axis=1)
    best = int(np.argmin(apart))
    return int(qualities[best]), bool(apart[best] == 0)
