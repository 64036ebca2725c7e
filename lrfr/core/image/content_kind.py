"""What a file is: told by its content, never by its name; and every suffix that pictures go by.

For whoever lists files: :data:`IMAGE_SUFFIXES` holds the suffixes of all pictures, also of those that are
not read, so that each of them is seen, tried and refused with its reason; :func:`looks_like_picture` tells a
picture under another name from its first :data:`HEAD_BYTES`. The codes that refuse a picture are
:data:`PICTURE_CODES`.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass

HEAD_BYTES = 1024

#: codes of :data:`lrfr.core.errors.REASONS` that :func:`~lrfr.core.image.decoder.decode` raises
PICTURE_CODES = (
    "E_EMPTY",
    "E_FORMAT",
    "E_CODEC",
    "E_SAMPLES",
    "E_BOMB",
    "E_SIZE",
    "E_ASPECT",
    "E_TRUNCATED",
)

_SUFFIXES = {
    "JPEG": ".jpg .jpeg .jpe .jfif .jfi .jif .mpo",
    "PNG": ".png .apng",
    "WEBP": ".webp",
    "BMP": ".bmp .dib",
    "GIF": ".gif",
    "TIFF": ".tif .tiff",
    "PPM": ".ppm .pgm .pbm .pnm",
    "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx .jpm",
    "AVIF": ".avif .avifs",
    "HEIF": ".heic .heif .heics .heifs .hif",
    "JXL": ".jxl",
    "QOI": ".qoi",
    "TGA": ".tga .icb .vda .vst",
    "PCX": ".pcx",
    "PSD": ".psd",
    "DDS": ".dds",
    "ICO": ".ico",
}
_KIND_BY_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
READ_SUFFIXES = frozenset(_KIND_BY_SUFFIX)
UNREAD_SUFFIXES = frozenset(
    ".pam .pfm .exr .hdr .svg .svgz .eps .wmf .emf .xbm .xpm .sgi .ras .cur .icns .psb .xcf .jxr .wdp .bpg"
    " .flif .djvu .fits .dcm .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .raf .orf .rw2 .pef .srw"
    " .x3f".split()
)
IMAGE_SUFFIXES = READ_SUFFIXES | UNREAD_SUFFIXES


@dataclass(frozen=True)
class ContentKind:
    """What a file's first bytes say.

    Attributes:
        kind: a key of the formats that are read, or "" for all others.
        name: what people call it, "" where nothing is known.
        picture: whether it is a picture, read or not.

    """

    kind: str
    name: str
    picture: bool


_READ = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("WEBP", rb"RIFF.{4}WEBP"),
    ("GIF", rb"GIF8[79]a"),
    ("BMP", rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00"),
    ("PPM", rb"P[1-6][\s#]"),
    ("JPEG2000", rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("JXL", rb"\x00\x00\x00\x0cJXL \r\n\x87\n|\xff\x0a"),
    ("QOI", rb"qoif"),
    ("PCX", rb"\x0a[\x00\x02\x03\x04\x05]\x01[\x01\x02\x04\x08]"),
    ("PSD", rb"8BPS\x00\x01"),
    ("DDS", rb"DDS \x7c\x00\x00\x00"),
    ("ICO", rb"\x00\x00\x01\x00[^\x00]\x00.{3}\x00"),
)
# no two ways to match the same comments: a page of them would be tried in all ways
_COMMENTS = rb"(?:<!--(?:(?!-->).)*-->\s*)*"
_UNREAD = (
    ("camera raw (CR2)", rb"II\*\x00.{4}CR"),
    ("camera raw", rb"FUJIFILMCCD-RAW|IIR[OS]|IIU\x00|FOVb|.{4}ftypcrx"),
    ("PAM", rb"P7[\s#]"),
    ("PFM", rb"P[Ff]\s"),
    ("OpenEXR", rb"v/1\x01"),
    ("Radiance HDR", rb"#\?(RADIANCE|RGBE)"),
    ("SVG, a drawing", rb"\s*(<\?xml[^>]*>\s*)?" + _COMMENTS + rb"(<!DOCTYPE svg[^>]*>\s*)?<svg"),
    ("EPS, a page", rb"%!PS|\xc5\xd0\xd3\xc6"),
    ("WMF, a drawing", rb"\xd7\xcd\xc6\x9a"),
    ("EMF, a drawing", rb"\x01\x00\x00\x00.{36} EMF"),
    ("XPM", rb"/\* XPM \*/"),
    ("XBM", rb"\s*#define \S+_width"),
    ("SGI", rb"\x01\xda[\x00\x01][\x01\x02]"),
    ("Sun raster", rb"\x59\xa6\x6a\x95"),
    ("ICNS", rb"icns"),
    ("a mouse cursor", rb"\x00\x00\x02\x00[^\x00]\x00.{3}\x00"),
    ("PSB", rb"8BPS\x00\x02"),
    ("XCF", rb"gimp xcf"),
    ("JPEG XR", rb"II\xbc"),
    ("BPG", rb"BPG\xfb"),
    ("FLIF", rb"FLIF"),
    ("DjVu", rb"AT&TFORM"),
    ("FITS", rb"SIMPLE  ="),
    ("DICOM", rb".{128}DICM"),
)
_OTHER = (
    ("a PDF document", rb"%PDF"),
    ("a web page", rb"\s*" + _COMMENTS + rb"(<!doctype\s+)?<?html"),
    ("a Git LFS pointer, not the file itself", rb"version https://git-lfs"),
    ("gzip data", rb"\x1f\x8b"),
    ("a zip archive", rb"PK[\x03\x05\x07]"),
    ("compressed data", rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!|\x04\x22\x4d\x18"),
    ("a tar archive", rb".{257}ustar"),
    (
        "a video",
        rb".{4}(ftyp|moov|mdat|wide)|\x1a\x45\xdf\xa3|RIFF.{4}AVI |\x00\x00\x01[\xba\xb3]|FLV\x01|OggS",
    ),
    ("a sound", rb"RIFF.{4}WAVE|ID3|fLaC"),
    ("a numpy array", rb"\x93NUMPY"),
    ("HDF5", rb"\x89HDF"),
    ("an SQLite file", rb"SQLite format 3"),
    ("XML", rb"\s*<\?xml"),
    ("JSON", rb"\s*[\[{]\s*[\"\[{\]}]"),
    ("nothing but zero bytes", rb"\x00{64}"),
    ("text", rb"(\xef\xbb\xbf)?[\t\n\r\x20-\x7e]{16}"),
)


def _compiled(table: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, re.Pattern[bytes]], ...]:
    return tuple(
        (name, re.compile(pattern, re.DOTALL | re.IGNORECASE * (b"<" in pattern))) for name, pattern in table
    )


_READ_PATTERNS, _UNREAD_PATTERNS, _OTHER_PATTERNS = _compiled(_READ), _compiled(_UNREAD), _compiled(_OTHER)
_TIFF = re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+")


def content_of(head: bytes) -> ContentKind:
    """Tell what a file is from its first :data:`HEAD_BYTES` (or all of its bytes)."""
    head = head[:HEAD_BYTES]
    for kind, pattern in _READ_PATTERNS:
        if pattern.match(head):
            return ContentKind(kind, kind, picture=True)
    kind = _box_kind(head)
    if kind:
        return ContentKind(kind, kind, picture=True)
    for name, pattern in _UNREAD_PATTERNS:
        if pattern.match(head):
            return ContentKind("", name, picture=True)
    if _TIFF.match(head):
        return ContentKind("TIFF", "TIFF", picture=True)
    for name, pattern in _OTHER_PATTERNS:
        if pattern.match(head):
            return ContentKind("", name, picture=False)
    return ContentKind("TGA", "TGA", picture=True) if _is_tga(head) else ContentKind("", "", picture=False)


def looks_like_picture(head: bytes) -> bool:
    """Return whether the first :data:`HEAD_BYTES` of a file are those of a picture, of a format that is read
    or not. Vector drawings count; documents, web pages and videos do not.
    """
    return content_of(head).picture


def _box_kind(head: bytes) -> str:
    """Return AVIF or HEIF by the brands of an ISO base media file, "" for others."""
    if head[4:8] != b"ftyp":
        return ""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"} else ""


def _is_tga(head: bytes) -> bool:
    """Return whether 18 bytes can be a TGA header: the format has no magic number, so all of it must fit."""
    if len(head) < 18:
        return False
    _, has_map, picture, start, length, depth = struct.unpack_from("<BBBHHB", head)
    left, top, width, height, bits, flags = struct.unpack_from("<HHHHBB", head, 8)
    mapped = picture in {1, 9}
    gray = picture in {3, 11}
    fits = bits == 8 if mapped else bits in {8, 16} if gray else bits in {16, 24, 32}
    colors = (
        (has_map == 1 and start == 0 and 0 < length <= 256 and depth in {16, 24, 32})
        if mapped
        else (has_map == 0 and start == length == depth == 0)
    )
    return (
        picture in {1, 2, 3, 9, 10, 11}
        and fits
        and colors
        and width > 0 < height
        and flags & 0xC0 == 0
        and max(left, top) <= max(width, height)
    )


def suffix_fits(kind: str, name: str) -> bool:
    """Return whether a file name's suffix says what the content is (one that no picture has says nothing)."""
    if kind == "JPEG" and name.endswith(".jpg"):
        return True
    return _KIND_BY_SUFFIX.get(os.path.splitext(name)[1].lower(), kind) == kind
