"""PBM, PGM and PPM, binary and text, of any maxval: decoded here, for Pillow takes a microsecond a sample.

Source: the Netpbm manual pages pbm(5), pgm(5) and ppm(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image.encoder import ImageU8

MAX_TEXT_BYTES = 64 << 20
_HEAD_BYTES = 64 << 10
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"


@dataclass(frozen=True)
class NetpbmHeader:
    """What precedes the samples: ``letter`` 1 to 6, extent, value of white, and where the samples begin."""

    letter: int
    width: int
    height: int
    maxval: int
    start: int


def read_netpbm_header(data: bytes) -> NetpbmHeader:
    """Read the header.

    Raises:
        ImageFault: E_TRUNCATED.

    """
    letter = data[1] - ord("0")
    numbers = 2 if letter in {1, 4} else 3
    found = re.match(
        rb"P[1-6]" + (_GAP + rb"(\d{1,10})") * numbers + rb"(?:#[^\r\n]*)?\s", data[:_HEAD_BYTES]
    )
    if not found:
        raise ImageFault("E_TRUNCATED", "no width, height and maxval")
    width, height, maxval = (*map(int, found.groups()), 1)[:3]
    if not 0 < maxval < 65536:
        raise ImageFault("E_FORMAT", f"maxval {maxval}")
    return NetpbmHeader(letter, width, height, maxval, found.end())


def decode_netpbm(data: bytes, header: NetpbmHeader) -> tuple[ImageU8, bool]:
    """Return uint8 [H, W, 3], scaled by maxval, and whether further bytes follow.

    Raises:
        ImageFault: E_TRUNCATED or E_BOMB.

    """
    channels = 3 if header.letter in {3, 6} else 1
    if header.letter >= 4:
        samples, end = _binary(data, header, channels)
    else:
        samples, end = _text(data, header, channels), len(data)
    pixels = _to_8_bits(samples, header).reshape(header.height, header.width, channels)
    return pixels if channels == 3 else np.repeat(pixels, 3, axis=2), end < len(data)


def _to_8_bits(samples: NDArray[np.generic], header: NetpbmHeader) -> NDArray[np.uint8]:
    if header.letter in {1, 4}:  # a set bit is black
        return np.asarray((1 - samples) * 255, np.uint8)
    if header.maxval == 255:  # a copy, because the file's bytes are read-only
        return np.array(samples, np.uint8)
    values = np.minimum(np.arange(65536 if samples.dtype.itemsize > 1 else 256), header.maxval)
    levels: NDArray[np.uint8] = ((values * 510 + header.maxval) // (2 * header.maxval)).astype(np.uint8)
    return np.asarray(levels[samples], np.uint8)


def _binary(data: bytes, header: NetpbmHeader, channels: int) -> tuple[NDArray[np.generic], int]:
    count = header.width * header.height * channels
    dtype = np.dtype(">u2" if header.maxval > 255 else "u1")
    row = (header.width + 7) // 8
    size = row * header.height if header.letter == 4 else count * dtype.itemsize
    end = header.start + size
    if end > len(data):
        raise ImageFault("E_TRUNCATED", f"{len(data) - header.start} bytes of {size}")
    if header.letter == 4:
        rows = np.frombuffer(data, np.uint8, size, header.start).reshape(header.height, row)
        return np.unpackbits(rows, axis=1, count=header.width).reshape(-1), end
    return np.frombuffer(data, dtype, count, header.start), end


def _text(data: bytes, header: NetpbmHeader, channels: int) -> NDArray[np.generic]:
    if len(data) > MAX_TEXT_BYTES:
        raise ImageFault("E_BOMB", f"{len(data)} bytes of text")
    body = re.sub(rb"#[^\r\n]*", b" ", data[header.start :])
    if re.search(rb"[^0-9\s]|[0-9]{6}" if header.letter > 1 else rb"[^01\s]", body):
        raise ImageFault("E_TRUNCATED", "the samples are no numbers")
    count = header.width * header.height * channels
    if header.letter == 1:  # digits need no space between them
        samples = np.frombuffer(body.translate(None, b" \t\r\n\v\f"), np.uint8) - ord("0")
    else:
        samples = np.fromstring(body, np.uint32, sep=" ")
    if len(samples) < count or samples[:count].max(initial=0) > header.maxval:
        raise ImageFault("E_TRUNCATED", "too few samples, or larger than maxval")
    return samples[:count].astype(np.uint16)
