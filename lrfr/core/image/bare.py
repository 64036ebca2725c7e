"""What a codec gets to see: a file without all that is not pixels.

Metadata is where readers stall (an EXIF block whose thousands of entries each claim the whole file, chains of
pages, megabytes of comments). It is read here, in one pass without copies, and left out of what is decoded.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple

from lrfr.core.errors import ImageFault

# a picture of 64 megapixels has fewer strips
MAX_VALUES = 200_000
MAX_BLOCKS = 100_000
MAX_EXIF_BYTES = 64 << 20


class Bare(NamedTuple):
    """A file reduced to its first picture.

    Attributes:
        data: what the codec reads.
        exif: EXIF block, b"" where there is none.
        xmp: XMP packet, b"" where there is none.
        several: whether further frames or pages were left out.
        profile: whether it came with a color profile.
        trailing: whether bytes follow the end of the picture.
        white: value of a full sample, where samples have more than 8 bits.
        samples: how the samples are stored, for messages.

    """

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    several: bool = False
    profile: bool = False
    trailing: bool = False
    white: int = 65535
    samples: str = ""


def bare_gif(data: bytes) -> Bare:
    """Reduce a GIF to its first frame (source: GIF89a specification, section 12 onwards)."""
    place = 13 + _color_table(data[10] if len(data) > 10 else 0)
    head, control = data[:place], b""
    for _ in range(MAX_BLOCKS):
        mark = data[place : place + 1]
        if mark == b"!":
            end = _blocks_end(data, place + 2)
            control = data[place:end] if data[place + 1 : place + 2] == b"\xf9" else control
            place = end
        elif mark == b",":
            start = place + 10 + _color_table(data[place + 9] if len(data) > place + 9 else 0)
            end = _blocks_end(data, start + 1)
            more = _next_image(data, end)
            return Bare(head + control + data[place:end] + b";", several=more)
        else:
            break
    raise ImageFault("E_TRUNCATED", "no picture within the GIF")


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks_end(data: bytes, place: int) -> int:
    """Return where a chain of sub-blocks ends, at most at the end of the file."""
    while place < len(data) and data[place]:
        place += 1 + data[place]
    return min(place + 1, len(data))


def _next_image(data: bytes, place: int) -> bool:
    for _ in range(MAX_BLOCKS):
        if data[place : place + 1] != b"!":
            break
        place = _blocks_end(data, place + 2)
    return data[place : place + 1] == b","


# what decides a TIFF's pixels; all other entries are left out
_TIFF_KEPT = frozenset(
    {
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        277,
        278,
        279,
        284,
        292,
        293,
        317,
        320,
        322,
        323,
        324,
        325,
        338,
        339,
        347,
    }
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
)
_TIFF_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_PHOTOMETRIC = {
    0: "white is zero",
    1: "gray",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "LAB",
    9: "LAB",
}
_PHOTOMETRIC |= {32803: "a sensor's mosaic", 34892: "linear raw", 32844: "LogL", 32845: "LogLuv"}
# those that libtiff has everywhere: others make it write to standard error
_TIFF_COMPRESSIONS = frozenset(
    {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000}
)
_ODD_COMPRESSIONS = {34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 34933: "PNG", 34934: "JPEG XR"}
_ODD_COMPRESSIONS |= {50001: "WebP", 50002: "JPEG XL", 34713: "Nikon NEF", 32867: "Kodak DCR", 34661: "JBIG"}
MAX_CHANNELS = 6


def bare_tiff(data: bytes) -> Bare:
    """Reduce a TIFF or BigTIFF to the pixel entries of its first page.

    Source: TIFF 6.0, section 2; BigTIFF as in libtiff 4.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    count_code, entry_bytes, word = ("Q", 20, "Q") if big else ("H", 12, "I")
    try:
        (start,) = struct.unpack_from(order + word, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_code, data, start)
        first = start + struct.calcsize("<" + count_code)
        entries = [
            _TiffEntry.read(data, first + index * entry_bytes, order, big)
            for index in range(min(count, 65535))
        ]
        (further,) = struct.unpack_from(order + word, data, first + count * entry_bytes)
    except (struct.error, OverflowError):
        raise ImageFault("E_TRUNCATED", "the TIFF directory goes beyond the end of the file") from None
    by_tag = {entry.tag: entry for entry in entries}
    kept = [entry for entry in entries if entry.tag in _TIFF_KEPT]
    if any(entry.count > MAX_VALUES for entry in kept):
        raise ImageFault("E_BOMB", "a TIFF entry of too many values")
    table = struct.pack(order + count_code, len(kept)) + b"".join(entry.raw for entry in kept)
    # rewritten in place of a chain: the codec sees one page and no entry that is not about pixels
    place = len(data) + len(data) % 2
    reduced = data[: 8 if big else 4] + struct.pack(order + word, place) + data[16 if big else 8 :]
    bare = reduced + bytes(len(data) % 2) + table + struct.pack(order + word, 0)
    compression = by_tag[259].first if 259 in by_tag else 1
    if compression not in _TIFF_COMPRESSIONS:
        raise ImageFault("E_CODEC", f"TIFF of compression {_ODD_COMPRESSIONS.get(compression, compression)}")
    if 50706 in by_tag or (254 in by_tag and by_tag[254].first & 1):
        raise ImageFault("E_FORMAT", "camera raw: only a thumbnail could be read")
    if 277 in by_tag and by_tag[277].first > MAX_CHANNELS:
        raise ImageFault("E_SAMPLES", f"TIFF of {by_tag[277].first} samples a pixel")
    turn = by_tag[274].first if 274 in by_tag else 0
    bits, photometric = by_tag[258].first if 258 in by_tag else 1, by_tag[262].first if 262 in by_tag else 0
    if bits > 8 and photometric == 0:
        raise ImageFault("E_SAMPLES", f"TIFF of {bits}-bit samples, white is zero")
    form = {1: "", 2: " signed", 3: " float"}.get(by_tag[339].first if 339 in by_tag else 1, " odd")
    return Bare(
        bare,
        exif=_tiff_orientation(turn),
        xmp=by_tag[700].block(data) if 700 in by_tag else b"",
        several=further != 0,
        profile=34675 in by_tag,
        white=(1 << bits) - 1 if bits in {10, 12, 14} else 65535,
        samples=f"{bits}-bit{form} samples, {_PHOTOMETRIC.get(photometric, f'color space {photometric}')}",
    )


def _tiff_orientation(turn: int) -> bytes:
    """Return the smallest EXIF block that states an orientation."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, turn, 0) if turn else b""


@dataclass(frozen=True)
class _TiffEntry:
    tag: int
    count: int
    first: int
    raw: bytes
    place: int
    size: int

    @classmethod
    def read(cls, data: bytes, at: int, order: str, big: bool) -> _TiffEntry:
        tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
        inline, word = (8, "Q") if big else (4, "I")
        field = at + (12 if big else 8)
        size = _TIFF_SIZES.get(kind, 1) * count
        place = field if size <= inline else struct.unpack_from(order + word, data, field)[0]
        code = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        first = 0
        if code and count and place + struct.calcsize("<" + code) <= len(data):
            (first,) = struct.unpack_from(order + code, data, place)
        return cls(tag, count, first, data[at : field + inline], place, size)

    def block(self, data: bytes) -> bytes:
        return data[self.place : self.place + min(self.size, 1 << 20)]


_EXIF_START = re.compile(rb"II\*\0|MM\0\*")


def check_exif_claims(data: bytes) -> None:
    """Refuse a file whose EXIF entries together claim more bytes than fit in memory: libraries copy each of
    them.

    Raises:
        ImageFault: E_BOMB.

    """
    for _, found in zip(range(64), _EXIF_START.finditer(data), strict=False):
        base, order = found.start(), "<" if found[0][:1] == b"I" else ">"
        if base + 8 > len(data):
            return
        at = base + struct.unpack_from(order + "I", data, base + 4)[0]
        count = struct.unpack_from(order + "H", data, at)[0] if at + 2 <= len(data) else 0
        claimed = 0
        for entry in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
            kind, number = struct.unpack_from(order + "HI", data, entry + 2)
            claimed += min(_TIFF_SIZES.get(kind, 0) * number, len(data))
        if claimed > MAX_EXIF_BYTES:
            raise ImageFault("E_BOMB", "EXIF entries that claim more than 64 MiB")
