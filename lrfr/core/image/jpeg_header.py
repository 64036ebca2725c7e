"""JPEG: its header read by hand, what costs too much refused, and plain ones decoded without detours.

Source: ITU-T T.81, annex B: segments are 0xFF, marker, u16 length; frame headers are SOF0..SOF15 but DHT, JPG
and DAC.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lrfr.core.errors import ImageFault
from lrfr.core.image.bare import Bare
from lrfr.core.image.encoder import ImageU8
from lrfr.core.image.orientation import orientation_of
from lrfr.core.image.silence import may_silence, silent_stderr

# a decoder goes through the whole picture for every scan; cameras and encoders write 10 or so
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_280_000_000
# of a header that is remembered
_HEAD_BYTES = 2048

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_SEGMENT = struct.Struct(">BBH")
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_METADATA = frozenset({0xFE, *range(0xE0, 0xF0)})
_BARE_MARKERS = frozenset({0x01, 0xD8, 0xD9})
# the segments that decide pixels: JFIF and Adobe say what the components are
_PIXEL_SEGMENTS = frozenset({0xE0, 0xEE})
_UNREAD_PROCESSES = {0xC3: "lossless JPEG", 0xCB: "lossless JPEG", 0xF7: "JPEG-LS"}
_UNREAD_PROCESSES |= dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG")


class JpegHeader(NamedTuple):
    """What precedes the first scan.

    Attributes:
        process: the frame's marker, 0xC0 for baseline.
        bits: of a sample.
        width: pixels.
        height: pixels.
        components: 1 gray, 3 color, 4 CMYK.
        ordinary: whether its scans follow one another as the standard has it.
        bare: the file without its metadata, which is what a codec is given.

    """

    process: int
    bits: int
    width: int
    height: int
    components: int
    ordinary: bool
    bare: Bare

    @property
    def plain(self) -> bool:
        """Whether it is a JPEG of 8 bits, gray or in three colors, as every decoder reads it."""
        return self.ordinary and self.process <= 0xC2 and self.bits == 8 and self.components in {1, 3}

    @property
    def upright(self) -> bool:
        """Whether it needs no turn."""
        return not (self.bare.exif or self.bare.xmp) or orientation_of(self.bare.exif, self.bare.xmp) == 1


def is_plain_jpeg(data: bytes, size_px: int) -> bool:
    """Return whether the bytes are a plain, upright JPEG of ``size_px`` square: what a pair store keeps as it
    is (only the header is read).
    """
    if data[:2] != b"\xff\xd8":
        return False
    try:
        header = read_jpeg_header(data)
    except ImageFault:
        return False
    # gray stays gray: it decodes to three equal channels
    return header.plain and (header.height, header.width) == (size_px, size_px) and header.upright


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Read the header of a JPEG.

    Raises:
        ImageFault: E_TRUNCATED, or E_BOMB for more scans than any encoder writes.

    """
    # the faces of a set mostly begin alike: of one size, by one encoder, without metadata
    scan = data.find(_SCAN, 2, _HEAD_BYTES)
    known = _remembered_head(data[: scan + 4]) if scan > 0 else None
    if known is not None and len(data) >= known[0]:
        _, process, bits, width, height, components = known
        ordinary = _ends_as_it_should(data, scan, width * height)
        bare = Bare(data, trailing=not data.endswith(_END))
        return JpegHeader(process, bits, width, height, components, ordinary, bare)
    return _read_header(data)


@lru_cache(maxsize=16)
def _remembered_head(head: bytes) -> tuple[int, ...] | None:
    """Return where the first scan's header ends, process, bits, width, height and components of a file that
    begins so, up to the length of that scan's header; None where it has metadata or is odd.
    """
    scan = len(head) - 4
    end = scan + 2 + int.from_bytes(head[scan + 2 :], "big")
    try:
        segments = list(_segments(head + bytes(max(0, end - len(head)))))
    except ImageFault:
        return None
    starts, ends = [start for _, start, _ in segments], [stop for _, _, stop in segments]
    codes = {code for code, _, _ in segments}
    # one behind the other: no byte of any of them is left out
    if starts != [2, *ends[:-1]] or starts[-1] != scan or codes & (_METADATA - _PIXEL_SEGMENTS):
        return None
    frames = [(code, head[start + 4 : stop]) for code, start, stop in segments if code in _FRAMES]
    process, frame = frames[-1] if frames else (0, b"")
    if len(frame) < 6 or process in _UNREAD_PROCESSES:
        return None
    return end, process, frame[0], _word(frame, 3), _word(frame, 1), frame[5]


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _read_header(data: bytes) -> JpegHeader:
    """Read any header, segment by segment."""
    exif, xmp, frame, kept, kept_bytes = [], b"", (0, b""), [], 2
    profile = several = False
    for code, start, end in _segments(data):
        if code in _METADATA and code not in _PIXEL_SEGMENTS:
            body = data[start + 4 : end]
            if body.startswith(_EXIF):
                exif.append(body[6:])
            xmp = body[len(_XMP) :] if body.startswith(_XMP) else xmp
            profile |= body.startswith(b"ICC_PROFILE\0")
            several |= body.startswith(b"MPF\0")
            continue
        if code in _FRAMES:
            frame = code, data[start + 4 : end]
        kept.append((start, end))
        kept_bytes += end - start
    process, head = frame
    if len(head) < 6:
        raise ImageFault("E_TRUNCATED", "a JPEG without frame header")
    if process in _UNREAD_PROCESSES:
        raise ImageFault("E_FORMAT", _UNREAD_PROCESSES[process])
    height, width = _word(head, 1), _word(head, 3)
    scan, end = kept.pop()
    ordinary = _ends_as_it_should(data, scan, width * height)
    trailing = not several and not data.endswith(_END)
    # without its metadata
    pixels = data if kept_bytes == end else b"".join((data[:2], *(data[a:b] for a, b in kept), data[scan:]))
    bare = Bare(pixels, b"".join(exif), xmp, several, profile, trailing)
    return JpegHeader(process, head[0], width, height, head[5], ordinary, bare)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment up to the first scan's header.

    Raises:
        ImageFault: E_TRUNCATED, when there is no scan.

    """
    place, size = 2, len(data)
    while True:
        # where a segment ends the next one begins; only what is odd is searched for
        lead, code, length = _SEGMENT.unpack_from(data, place) if place + 4 <= size else (0, 0, 0)
        if lead != 0xFF or code < 0xC0 or 0xD0 <= code <= 0xD9 or code == 0xFF:
            found = _MARKER.search(data, place)
            if not found:
                raise ImageFault("E_TRUNCATED", "no picture within the JPEG")
            place, code = found.start(), found[0][1]
            if code in _BARE_MARKERS:
                place += 2
                continue
            length = int.from_bytes(data[place + 2 : place + 4], "big")
        end = place + 2 + length
        if end > size:
            raise ImageFault("E_TRUNCATED", "a segment goes beyond the end of the file")
        yield code, place, end
        if code == 0xDA:
            return
        place = end


# tables, comments, applications' segments and further scans: what may stand behind a scan
_ORDINARY = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})


def _ends_as_it_should(data: bytes, place: int, pixels: int) -> bool:
    """Go from the first scan to the end of the picture; return whether all on the way is as the standard has
    it.

    Raises:
        ImageFault: E_TRUNCATED or E_BOMB.

    """
    for scans in range(1, MAX_SCANS + 1):
        if scans * pixels > MAX_SCANNED_PIXELS:
            break
        while True:
            found = _MARKER.search(data, place + 2 + int.from_bytes(data[place + 2 : place + 4], "big"))
            if not found:
                raise ImageFault("E_TRUNCATED", "the JPEG does not end")
            place = found.start()
            if data[place + 1] not in _ORDINARY:
                return data[place + 1] == 0xD9
            if data[place + 1] == 0xDA:
                break
    raise ImageFault("E_BOMB", f"{scans} scans")


def decode_plain(data: bytes) -> ImageU8 | None:
    """Return a plain JPEG as uint8 [H, W, 3], not turned; None where OpenCV must not or cannot decode it.

    OpenCV and Pillow run the same library here, with the same pixels.
    """
    # OpenCV's copy of that library writes about damage to standard error, without the file's name
    if not may_silence():
        return None
    try:
        with silent_stderr():
            return decode_muted(data)
    except OSError:
        return None


def decode_muted(data: bytes) -> ImageU8 | None:
    """Return what :func:`decode_plain` does where standard error is at nothing already
    (:func:`~lrfr.core.image.silence.silent_where_allowed`).
    """
    import cv2

    try:
        return cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        return None
