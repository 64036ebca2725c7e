"""The one way from untrusted bytes to pixels: kind, caps, pixels, orientation, alpha and remarks together.

Content decides what a file is (:mod:`lrfr.core.image.content_kind`); a codec is opened by that name alone
and is given the file without its metadata (:mod:`lrfr.core.image.bare`), after the caps. Plain JPEGs go to
OpenCV, all else to Pillow, with Pillow's pixels in both cases. Every refusal is an :class:`ImageFault` with
a reason code of :data:`~lrfr.core.image.content_kind.PICTURE_CODES`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from lrfr.core.errors import ImageFault
from lrfr.core.image.bare import Bare
from lrfr.core.image.codecs import bare_of, load_fault, open_picture
from lrfr.core.image.content_kind import content_of, suffix_fits
from lrfr.core.image.encoder import ImageU8
from lrfr.core.image.jpeg_header import JpegHeader, decode_muted, decode_plain, read_jpeg_header
from lrfr.core.image.netpbm import decode_netpbm, read_netpbm_header
from lrfr.core.image.orientation import orientation_of, upright
from lrfr.core.image.silence import may_silence, mute_libtiff, silent_stderr
from lrfr.core.image.to_rgb import to_rgb

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# raised by hand when decoding may give other pixels: it names bases
DECODER_REVISION = 2

MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 4
MAX_ASPECT = 16.0

REMARKS = {
    "W_ANIMATED": "only the first of several frames, pages or pictures is used",
    "W_ROTATED": "turned upright by its EXIF or XMP orientation",
    "W_PROFILE": "its color profile is ignored",
    "W_ALPHA": "transparency was composited over black",
    "W_TRAILING": "bytes after the end of the image are ignored",
    "W_CONSTANT": "all pixels are equal",
    "W_SUFFIX": "the content is not what the file name says",
    "W_DUPLICATE": "the same bytes appear under another key",
}


class Picture(NamedTuple):
    """A decoded file.

    Attributes:
        pixels: uint8 [H, W, 3] RGB, upright.
        kind: format, such as ``JPEG``.
        remarks: what is unusual about the file: keys of :data:`REMARKS`.
        plain: whether it is a plain, upright JPEG, whose bytes can be kept as they are.

    """

    pixels: ImageU8
    kind: str
    remarks: tuple[str, ...]
    plain: bool = False


def decode(data: bytes) -> ImageU8:
    """Decode untrusted image bytes to uint8 HWC RGB.

    The orientation is applied, 16-bit samples are scaled to 8 bits, alpha is composited over black, color
    profiles are ignored, animations and pages give their first.

    Raises:
        ImageFault: with the reason code; nothing else.

    """
    return read_picture(data).pixels


def read_picture(data: bytes, name: str = "", *, silent: bool = False) -> Picture:
    """Decode as :func:`decode`, and say what is unusual.

    Args:
        data: a file's bytes.
        name: of the file, to compare its suffix with the content.
        silent: whether standard error is at nothing already (``silence.silent_where_allowed``).

    Raises:
        ImageFault: with the reason code; nothing else.

    """
    kind, plain = _kind(data), False
    if kind == "JPEG":
        header = read_jpeg_header(data)
        pixels, found = _decode_jpeg(header, silent)
        plain = header.plain and header.upright
    elif kind == "PPM":
        pixels, found = _decode_netpbm(data)
    else:
        pixels, found = _by_pillow(kind, bare_of(kind, data))
    return Picture(pixels, kind, found if suffix_fits(kind, name) else (*found, "W_SUFFIX"), plain)


def probe(data: bytes) -> tuple[str, int, int]:
    """Return (format, width, height) from the header alone, before any turn; never decodes pixels.

    Raises:
        ImageFault: the file is refused.

    """
    kind = _kind(data)
    if kind == "PPM":
        netpbm = read_netpbm_header(data)
        width, height = netpbm.width, netpbm.height
    elif kind == "JPEG":
        jpeg = read_jpeg_header(data)
        width, height = jpeg.width, jpeg.height
    else:
        with _quiet():
            width, height = open_picture(kind, bare_of(kind, data)).size
    _check_extent(width, height)
    return kind, width, height


def _kind(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if not data:
        raise ImageFault("E_EMPTY")
    content = content_of(data)
    if not content.kind:
        raise ImageFault("E_FORMAT", content.name)
    return content.kind


def _check_extent(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageFault("E_BOMB", f"{width}x{height}")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageFault("E_SIZE", f"{width}x{height}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageFault("E_ASPECT", f"{width}x{height}")


_Decoded = tuple[ImageU8, tuple[str, ...]]


def _decode_jpeg(header: JpegHeader, silent: bool) -> _Decoded:
    _check_extent(header.width, header.height)
    decode_by_opencv = decode_muted if silent else decode_plain
    pixels = decode_by_opencv(header.bare.data) if header.plain else None
    return _by_pillow("JPEG", header.bare) if pixels is None else _finished(pixels, header.bare)


def _decode_netpbm(data: bytes) -> _Decoded:
    header = read_netpbm_header(data)
    _check_extent(header.width, header.height)
    pixels, trailing = decode_netpbm(data, header)
    return pixels, ("W_TRAILING",) if trailing else ()


def _by_pillow(kind: str, bare: Bare) -> _Decoded:
    with _quiet():
        picture = open_picture(kind, bare)
        _check_extent(*picture.size)
        try:
            _load(picture, kind)
            pixels, alpha = to_rgb(picture, bare.white)
        except ImageFault:
            raise
        except Exception as error:
            raise load_fault(bare, error) from None
        info = picture.info
        bare = bare._replace(
            exif=bare.exif or _bytes(info.get("exif")),
            xmp=bare.xmp or _bytes(info.get("xmp")),
            profile=bare.profile or bool(info.get("icc_profile")),
            several=bare.several or (kind in _COUNTED and getattr(picture, "n_frames", 1) > 1),
        )
    return _finished(pixels, bare, alpha)


def _load(picture: ImageFile, kind: str) -> None:
    # of Pillow's libraries libtiff alone speaks
    if kind != "TIFF" or mute_libtiff() or not may_silence():
        picture.load()
        return
    with silent_stderr():
        picture.load()


# their number of frames stands in the header
_COUNTED = {"WEBP", "AVIF", "HEIF", "JXL"}


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _finished(pixels: ImageU8, bare: Bare, alpha: bool = False) -> _Decoded:
    if not (bare.exif or bare.xmp or bare.several or bare.profile or alpha or bare.trailing):
        return pixels, ()
    turn = orientation_of(bare.exif, bare.xmp) if bare.exif or bare.xmp else 1
    found = {
        "W_ANIMATED": bare.several,
        "W_ROTATED": turn != 1,
        "W_PROFILE": bare.profile,
        "W_ALPHA": alpha,
        "W_TRAILING": bare.trailing,
    }
    return upright(pixels, turn), tuple(name for name, said in found.items() if said)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings to ourselves: the reason code says it all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
