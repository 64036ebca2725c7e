"""PNG: checked chunk by chunk, and reduced to what decides its pixels."""

from __future__ import annotations

import struct
import zlib

from lrfr.core.errors import ImageFault
from lrfr.core.image.bare import Bare

_KEPT = {b"IHDR", b"PLTE", b"tRNS"}
MAX_TEXT_BYTES = 1 << 20
MAX_CHUNKS = 1_000_000


def bare_png(data: bytes) -> Bare:
    """Reduce a PNG to IHDR, PLTE, tRNS and one IDAT: an animated one to its default image.

    Source: PNG specification, third edition, sections 5 and 11.

    Raises:
        ImageFault: E_TRUNCATED for a chunk that goes beyond the file or fails its checksum.

    """
    kept: list[bytes] = []
    pixels: list[bytes] = []
    notes = _Notes()
    place, several, profile = 8, False, False
    for _ in range(MAX_CHUNKS):
        length, tag = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 12 + length
        if end > len(data):
            raise ImageFault("E_TRUNCATED", "a chunk goes beyond the end of the file")
        if tag == b"IEND":
            break
        if tag == b"IDAT" or tag in _KEPT:
            if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise ImageFault("E_TRUNCATED", f"the checksum of {tag.decode()} is wrong")
            if tag == b"IDAT":
                pixels.append(data[place + 8 : end - 4])
            else:
                kept.append(data[place:end])
        elif tag == b"CgBI":
            raise ImageFault("E_FORMAT", "a PNG of Apple's own kind (CgBI)")
        several |= tag == b"acTL" and int.from_bytes(data[place + 8 : place + 12], "big") > 1
        profile |= tag == b"iCCP"
        notes.read(tag, data, place + 8, end - 4)
        place = end
    body = b"".join(pixels)
    if not body:
        raise ImageFault("E_TRUNCATED", "a PNG without pixels")
    bare = b"".join((data[:8], *kept, _chunk(b"IDAT", body), _chunk(b"IEND", b"")))
    return Bare(
        bare, notes.exif or notes.profile, notes.xmp, several, profile, trailing=len(data) > place + 12
    )


def _chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(tag)))


class _Notes:
    """The chunks that may state an orientation."""

    def __init__(self) -> None:
        self.exif = self.profile = self.xmp = b""

    def read(self, tag: bytes, data: bytes, start: int, end: int) -> None:
        if tag == b"eXIf":
            self.exif = data[start:end]
        elif tag in {b"tEXt", b"zTXt", b"iTXt"} and end - start < MAX_TEXT_BYTES:
            key, _, body = data[start:end].partition(b"\0")
            if key == b"Raw profile type exif":
                self.profile = _raw_profile(_text(tag, body))
            elif key == b"XML:com.adobe.xmp":
                self.xmp = _text(tag, body)


def _text(tag: bytes, body: bytes) -> bytes:
    if tag == b"tEXt":
        return body
    packed, skipped = (True, 1) if tag == b"zTXt" else (body[:1] == b"\x01", 2)
    body = body[skipped:]
    if tag == b"iTXt":
        body = body.split(b"\0", 2)[-1]
    if not packed:
        return body
    try:
        return zlib.decompressobj().decompress(body, MAX_TEXT_BYTES)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """Return the bytes of ImageMagick's profile: a line, a name, a length, then hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""
