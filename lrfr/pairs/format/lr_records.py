"""How degraded images become records: raw, encoded, or a reference to the HR record that has their pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import encode_png
from lrfr.core.image.lossless import encode_lossless
from lrfr.pairs.format.manifests import LR_CODEC, LrCodec
from lrfr.pairs.format.records import PNG, RAW, SAME_AS_HR, ZSTD, Record

# below this many pixels raw bytes beat every codec in time, and hardly lose in size
RAW_PIXELS = 32 * 32
_ENCODERS: dict[LrCodec, tuple[int, Callable[[NDArray[np.uint8]], bytes]]] = {
    "raw-png": (PNG, encode_png),
    "raw-zstd": (ZSTD, encode_lossless),
}


def lr_record(
    row: int,
    image: NDArray[np.uint8],
    hr: NDArray[np.uint8],
    tail: bytes = b"",
    codec: LrCodec = LR_CODEC,
) -> Record:
    """Return the record of a degraded image.

    Args:
        row: of the store.
        image: uint8 ``[h, w, 3]``.
        hr: the HR image it was made of.
        tail: canonical JSON, or nothing.
        codec: the rule. ``raw-zstd``: an image that equals ``hr`` is a reference, one of up to 1,024
            pixels raw, a larger one ``ZSTD``, or raw where that is no larger (noise). ``raw-png`` (of older
            stores): up to 1,024 pixels raw, PNG above.

    """
    height, width = image.shape[:2]
    if codec != "raw-png" and np.array_equal(image, hr):
        return Record(row, SAME_AS_HR, height, width, b"", tail)
    if height * width > RAW_PIXELS:
        number, encode = _ENCODERS[codec]
        payload = encode(image)
        if codec == "raw-png" or len(payload) < image.nbytes:
            return Record(row, number, height, width, payload, tail)
    return Record(row, RAW, height, width, image.tobytes(), tail)
