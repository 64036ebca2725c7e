"""JPEG: its header read by hand, what costs too much refused, and plain ones decoded without detours.

Source: ITU-T T.81, annex B: segments are 0xFF, marker, u16 length; frame headers are SOF0..SOF15 but DHT, JPG
and DAC.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from lrfr.core.errors import ImageFault
from lrfr.core.image.bare import Bare
from lrfr.core.image.encoder import ImageU8
from lrfr.core.image.orientation import orientation_of

# a decoder goes through the whole picture for every scan; cameras and encoders write 10 or so
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_280_000_000

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# the segments that decide pixels: JFIF and Adobe say what the components are
_PIXEL_SEGMENTS = frozenset({0xE0, 0xEE})
_UNREAD_PROCESSES = {0xC3: "lossless JPEG", 0xCB: "lossless JPEG", 0xF7: "JPEG-LS"}
_UNREAD_PROCESSES |= dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG")


@dataclass(frozen=True)
class JpegHeader:
    """What precedes the first scan.

    Attributes:
        process: the frame's marker, 0xC0 for baseline.
        bits: of a sample.
        width: pixels.
        height: pixels.
        components: 1 gray, 3 color, 4 CMYK.
        bare: the file without its metadata, which is what a codec is given.

    """

    process: int
    bits: int
    width: int
    height: int
    components: int
    bare: Bare

    @property
    def plain(self) -> bool:
        """Whether it is a JPEG of 8 bits, gray or in three colors, as every decoder reads it."""
        return self.process <= 0xC2 and self.bits == 8 and self.components in {1, 3}

    @property
    def upright(self) -> bool:
        """Whether it needs no turn."""
        return not (self.bare.exif or self.bare.xmp) or orientation_of(self.bare.exif, self.bare.xmp) == 1


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Read the header of a JPEG.

    Raises:
        ImageFault: E_TRUNCATED, or E_BOMB for more scans than any encoder writes.

    """
    frame, place, kept = b"", 2, []
    exif, xmp, profile, several = b"", b"", False, False
    process = 0
    while True:
        place = data.find(b"\xff", place)
        while data[place + 1 : place + 2] == b"\xff":
            place += 1
        marker, end = (
            data[place + 1 : place + 2],
            place + 2 + int.from_bytes(data[place + 2 : place + 4], "big"),
        )
        if place < 0 or end > len(data) or not marker:
            raise ImageFault("E_TRUNCATED", "no picture within the JPEG")
        code = marker[0]
        if code == 0xDA:
            break
        if code <= 1 or 0xD0 <= code <= 0xD9:  # these have no length
            place += 2
            continue
        body = data[place + 4 : end]
        if (0xC0 <= code <= 0xCF and code not in {0xC4, 0xC8, 0xCC}) or code == 0xF7:
            process, frame = code, body
        elif code == 0xE1:
            exif += body[6:] if exif and body.startswith(_EXIF) else body if body.startswith(_EXIF) else b""
            xmp = body[len(_XMP) :] if body.startswith(_XMP) else xmp
        elif code == 0xE2:
            profile |= body.startswith(b"ICC_PROFILE\0")
            several |= body.startswith(b"MPF\0")
        if (not 0xE0 <= code <= 0xEF and code != 0xFE) or code in _PIXEL_SEGMENTS:
            kept.append((place, end))
        place = end
    if len(frame) < 6:
        raise ImageFault("E_TRUNCATED", "a JPEG without frame header")
    if process in _UNREAD_PROCESSES:
        raise ImageFault("E_FORMAT", _UNREAD_PROCESSES[process])
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    _check_scans(data, place, width * height)
    bare = Bare(
        _without_metadata(data, kept, place),
        exif,
        xmp,
        several,
        profile,
        trailing=not several and not data.endswith(b"\xff\xd9"),
    )
    return JpegHeader(process, frame[0], width, height, frame[5], bare)


def _without_metadata(data: bytes, kept: list[tuple[int, int]], scan: int) -> bytes:
    if sum(end - start for start, end in kept) + 2 == scan:
        return data
    return b"".join((data[:2], *(data[start:end] for start, end in kept), data[scan:]))


def _check_scans(data: bytes, place: int, pixels: int) -> None:
    """Count the scans, and see that the last one ends."""
    if data.rfind(b"\xff\xd9") < place:
        raise ImageFault("E_TRUNCATED", "the JPEG does not end")
    scans = 1
    while data.find(b"\xff\xda", place + 2) >= 0:
        place = _next_marker(data, place + 2 + int.from_bytes(data[place + 2 : place + 4], "big"))
        if place < 0 or data[place + 1] == 0xD9:
            return
        scans += data[place + 1] == 0xDA
        if scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
            raise ImageFault("E_BOMB", f"{scans} scans")


def _next_marker(data: bytes, place: int) -> int:
    """Return where the next marker but a restart stands, -1 where there is none."""
    while (place := data.find(b"\xff", place)) >= 0 and place + 1 < len(data):
        code = data[place + 1]
        if code and code != 0xFF and not 0xD0 <= code <= 0xD7:
            return place
        place += 2 if code != 0xFF else 1
    return -1


def decode_plain(data: bytes) -> ImageU8 | None:
    """Return a plain JPEG as uint8 [H, W, 3], not turned; None where OpenCV must not or cannot decode it.

    OpenCV and Pillow run the same library here, with the same pixels.
    """
    # OpenCV's copy of that library writes about damage to standard error, without the file's name
    if threading.active_count() > 1:
        return None
    import cv2

    try:
        with _silent_stderr():
            return cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
            )
    except (cv2.error, OSError):
        return None


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Point file descriptor 2 at nothing; only in a process of one thread, for nobody else may write."""
    kept = os.dup(2)
    try:
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nothing, 2)
        os.close(nothing)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
