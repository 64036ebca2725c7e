"""Which side of a picture is up: read from EXIF and XMP by hand, for libraries read all other entries too.

Source: EXIF 2.32 and TIFF 6.0 (tag 274), XMP (``tiff:Orientation``).
"""

from __future__ import annotations

import re
import struct

import numpy as np

from lrfr.core.image.encoder import ImageU8

_TAG = 0x0112
# BYTE, SHORT, LONG and their signed twins: (struct code, bytes)
_TYPES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 6: ("b", 1), 8: ("h", 2), 9: ("i", 4)}
_XMP = re.compile(rb'tiff:Orientation(="|>)([0-9])')


def orientation_of(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation, 1 to 8, that EXIF states, else XMP, else 1.

    Args:
        exif: an EXIF block, with or without its ``Exif\\0\\0`` prefix; the last of several entries counts.
        xmp: an XMP packet.

    """
    stated = _from_exif(exif)
    if stated is None:
        found = _XMP.search(xmp)
        stated = int(found[2]) if found else 1
    return stated if 1 <= stated <= 8 else 1


def _from_exif(exif: bytes) -> int | None:
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(order + "I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(order + "H", exif, start)
    stated = None
    for place in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", exif, place)
        if tag == _TAG and kind in _TYPES and number:
            code, size = _TYPES[kind]
            at = place + 8 if size * number <= 4 else struct.unpack_from(order + "I", exif, place + 8)[0]
            if at + size * number <= len(exif):
                (stated,) = struct.unpack_from(order + code, exif, at)
    return stated


def upright(image: ImageU8, orientation: int) -> ImageU8:
    """Turn uint8 [H, W, 3] as an orientation of 1 to 8 says."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
