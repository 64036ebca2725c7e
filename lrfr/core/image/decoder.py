"""The one image type of lrfr, uint8 HWC RGB, and its guarded decoding and encoding.

Files are untrusted: the header is probed with Pillow (format allow-list, size and shape caps) before OpenCV
decodes the pixels, because OpenCV alone answers ``None`` without a reason. Every refusal is an
:class:`ImageFault` with a reason code.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image.content_kind import content_of
from lrfr.core.image.encoder import ImageU8

# raised by hand when decoding, or encoding a crop, may give other pixels or bytes: they name bases
DECODER_REVISION = 1

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 4
MAX_ASPECT = 16.0


def probe(data: bytes) -> tuple[str, int, int]:
    """Return (format, width, height) from the header alone; never decodes pixels.

    Raises:
        ImageFault: E_EMPTY, E_FORMAT, E_BOMB, E_SIZE or E_ASPECT.

    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageFault("E_EMPTY")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as header:
                kind, (width, height) = header.format or "", header.size
                odd = kind == "TIFF" and (header.mode in {"F", "I"} or getattr(header, "n_frames", 1) > 1)
        except Image.DecompressionBombError:
            raise ImageFault("E_BOMB") from None
        except UnidentifiedImageError:
            raise ImageFault("E_FORMAT", content_of(data).name) from None
        except Exception as error:
            raise ImageFault("E_FORMAT", type(error).__name__) from None
    _check_extent(width, height)
    if kind not in FORMATS or odd:
        raise ImageFault(
            "E_FORMAT", "TIFF with several pages or float samples" if odd else f"{kind} is not allowed"
        )
    return kind, width, height


def _check_extent(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageFault("E_BOMB", f"{width}x{height}")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageFault("E_SIZE", f"{width}x{height}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageFault("E_ASPECT", f"{width}x{height}")


REMARKS = {
    "W_ANIMATED": "only the first frame is used",
    "W_ROTATED": "turned upright by its EXIF orientation",
    "W_PROFILE": "its color profile is ignored",
    "W_ALPHA": "transparency was composited over black",
    "W_TRAILING": "bytes after the end of the image are ignored",
    "W_CONSTANT": "all pixels are equal",
    "W_SUFFIX": "the content is not what the file name says",
    "W_DUPLICATE": "the same bytes appear under another key",
}


def remarks(data: bytes) -> tuple[str, ...]:
    """Return what is unusual about bytes that :func:`decode` accepts: keys of :data:`REMARKS` that need no
    pixels.
    """
    from PIL import Image

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                kind = picture.format or ""
                found += ["W_ANIMATED"] if getattr(picture, "n_frames", 1) > 1 else []
                found += ["W_ROTATED"] if picture.getexif().get(_ORIENTATION, 1) in range(2, 9) else []
                found += ["W_PROFILE"] if picture.info.get("icc_profile") else []
                found += (
                    ["W_ALPHA"]
                    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info
                    else []
                )
        except Exception:  # a header that Pillow reads only in part is no reason to refuse what decodes
            return ()
    ending = _ENDINGS.get(kind)
    return (*found, "W_TRAILING") if ending and not data.endswith(ending) else tuple(found)


_ORIENTATION = 0x0112
_ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def decode(data: bytes) -> ImageU8:
    """Decode untrusted image bytes to uint8 HWC RGB.

    EXIF orientation is applied, 16-bit samples are scaled to 8 bits, alpha is composited over black,
    animations give their first frame.

    Raises:
        ImageFault: with the reason code; nothing else.

    """
    kind, _, _ = probe(data)
    if kind == "PNG":
        _check_chunks(data)
    return _decode_with_pillow(data) if kind == "GIF" else _decode_with_cv2(data)


def _check_chunks(data: bytes) -> None:
    """Refuse a PNG with a chunk longer than the file: OpenCV takes memory for as much as a chunk claims, up
    to 4 GB.
    """
    place = 8
    while place + 8 <= len(data) and data[place + 4 : place + 8] != b"IEND":
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        if place > len(data):
            raise ImageFault("E_TRUNCATED", "a chunk goes beyond the end of the file")


def _decode_with_cv2(data: bytes) -> ImageU8:
    import cv2

    buffer = np.frombuffer(data, np.uint8)
    try:
        with _quiet_opencv():
            pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB)
            if pixels is not None and data[:4] in {b"\x89PNG", b"RIFF"}:
                pixels = _over_black(cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED), pixels)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ImageFault("E_TRUNCATED")
    return np.ascontiguousarray(pixels, dtype=np.uint8)


_LOCK = threading.Lock()
_LEVELS: list[int] = []  # OpenCV's log level as each thread inside found it


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Silence OpenCV's log (the reason code says it all); the last thread to leave restores what the first
    found.
    """
    from cv2.utils import logging

    with _LOCK:
        _LEVELS.append(logging.setLogLevel(logging.LOG_LEVEL_SILENT))
    try:
        yield
    finally:
        with _LOCK:
            found = _LEVELS.pop()
            if not _LEVELS:
                logging.setLogLevel(found)


def _over_black(unchanged: NDArray[np.generic] | None, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite an RGBA picture over black, in ``rgb``'s own memory; leave ``rgb`` as it is when there is no
    alpha.
    """
    if (
        unchanged is None
        or unchanged.ndim != 3
        or unchanged.shape[2] != 4
        or unchanged.shape[:2] != rgb.shape[:2]
    ):
        return rgb
    top = 65535 if unchanged.dtype == np.uint16 else 255
    for first in range(0, len(rgb), 64):  # by bands: a picture near the cap would take gigabytes in one go
        band = slice(first, first + 64)
        rgb[band] = (rgb[band] * unchanged[band, :, 3, None].astype(np.uint32) + top // 2) // top
    return rgb


def _decode_with_pillow(data: bytes) -> ImageU8:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                picture.load()
                if "transparency" not in picture.info:
                    return np.array(picture.convert("RGB"), dtype=np.uint8)
                pixels = np.array(picture.convert("RGBA"), dtype=np.uint8)
                return _over_black(pixels, np.ascontiguousarray(pixels[:, :, :3]))
    except Exception as error:
        raise ImageFault("E_TRUNCATED", type(error).__name__) from None
