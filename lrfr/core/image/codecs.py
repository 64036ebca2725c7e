"""The codecs that Pillow offers, each opened by its name and never guessed, with caps before it decodes."""

from __future__ import annotations

import importlib
import io
import re
import struct
from typing import TYPE_CHECKING

from lrfr.core.errors import ImageFault
from lrfr.core.image.bare import Bare, bare_gif, bare_tiff, check_exif_claims
from lrfr.core.image.png_chunks import bare_png

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# kind: module of its plug-in
_PLUGINS = {
    "JPEG": "PIL.JpegImagePlugin",
    "PNG": "PIL.PngImagePlugin",
    "WEBP": "PIL.WebPImagePlugin",
    "BMP": "PIL.BmpImagePlugin",
    "GIF": "PIL.GifImagePlugin",
    "TIFF": "PIL.TiffImagePlugin",
    "JPEG2000": "PIL.Jpeg2KImagePlugin",
    "AVIF": "PIL.AvifImagePlugin",
    "QOI": "PIL.QoiImagePlugin",
    "TGA": "PIL.TgaImagePlugin",
    "PCX": "PIL.PcxImagePlugin",
    "PSD": "PIL.PsdImagePlugin",
    "DDS": "PIL.DdsImagePlugin",
    "ICO": "PIL.IcoImagePlugin",
    "HEIF": "pillow_heif",
    "JXL": "pillow_jxl",
}
_FEATURES = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
_MISSING = {
    "HEIF": "HEIC needs the package 'pillow-heif': pip install 'lrfr[heif]'",
    "JXL": "JPEG XL needs the package 'pillow-jxl-plugin'",
}
# decoders written in Python: about a microsecond a pixel
_SLOW_PIXELS = {"QOI": 4_000_000}
_SLOW_BYTES = {"ICO": 4 << 20}
_LONG_RUNS = 4 << 20
# what Pillow's plug-ins say of kinds that they do not read; all else that they say is about damage
_UNREAD = re.compile(
    "unsupported|unimplemented|unknown|cannot handle|not supported|image mode", re.IGNORECASE
)
_PNG_INSIDE = re.compile(rb"\x89PNG\r\n\x1a\n.{8}(.{8})", re.DOTALL)
MAX_ICON_SIDE = 1024


def bare_of(kind: str, data: bytes) -> Bare:
    """Return what the codec of ``kind`` is given of a file, and what the rest of it says.

    Raises:
        ImageFault: the file is damaged, or would take too much memory or time.

    """
    if kind in _BARE:
        return _BARE[kind](data)
    _check_slow(kind, data)
    return Bare(data)


_BARE = {"PNG": bare_png, "GIF": bare_gif, "TIFF": bare_tiff}


def _check_slow(kind: str, data: bytes) -> None:
    if kind in {"AVIF", "HEIF", "JXL"}:
        check_exif_claims(data)
    if len(data) > _SLOW_BYTES.get(kind, len(data)):
        raise ImageFault("E_BOMB", f"{kind} of {len(data)} bytes")
    if kind == "BMP" and len(data) > _LONG_RUNS and data[30:34] in {b"\x01\0\0\0", b"\x02\0\0\0"}:
        raise ImageFault("E_BOMB", f"run-length coded BMP of {len(data)} bytes")
    if (
        kind == "PSD"
        and int.from_bytes(data[30 + int.from_bytes(data[26:30], "big") :][:4], "big") > 16 << 20
    ):
        raise ImageFault("E_BOMB", "PSD with more than 16 MiB of resources")
    if kind == "ICO" and any(
        max(struct.unpack(">II", found[1])) > MAX_ICON_SIDE for found in _PNG_INSIDE.finditer(data)
    ):
        raise ImageFault("E_BOMB", f"an icon of more than {MAX_ICON_SIDE} pixels a side")


def open_picture(kind: str, bare: Bare) -> ImageFile:
    """Open a picture by the codec of its kind without decoding pixels.

    Raises:
        ImageFault: E_CODEC, E_FORMAT, E_SAMPLES, E_BOMB or E_TRUNCATED.

    """
    from PIL import Image, features

    if kind in _FEATURES and not features.check(_FEATURES[kind]):
        raise ImageFault("E_CODEC", f"this Pillow was built without {kind}")
    try:
        plugin = importlib.import_module(_PLUGINS[kind])
    except ImportError:
        raise ImageFault("E_CODEC", _MISSING.get(kind, kind)) from None
    if kind == "HEIF":
        plugin.register_heif_opener()
    try:
        picture = Image.OPEN[kind][0](io.BytesIO(bare.data), "")
    except Exception as error:
        raise _open_fault(kind, bare, error) from None
    if picture.width * picture.height > _SLOW_PIXELS.get(kind, 1 << 62):
        raise ImageFault("E_BOMB", f"{kind} of {picture.width}x{picture.height}")
    return picture


def _open_fault(kind: str, bare: Bare, error: Exception) -> ImageFault:
    text = _first_line(error)
    if _too_large(error):
        return ImageFault("E_BOMB", text)
    if any(part in text for part in ("unknown pixel mode", "unknown data organization", "-bit layers")):
        return ImageFault("E_SAMPLES", f"{kind} of {bare.samples}" if bare.samples else f"{kind}: {text}")
    if _UNREAD.search(text):
        return ImageFault("E_FORMAT", text if kind in text else f"{kind}: {text}")
    return ImageFault("E_TRUNCATED", f"the header of the {kind}: {text}")


def load_fault(bare: Bare, error: Exception) -> ImageFault:
    """Return why pixels could not be decoded."""
    return ImageFault("E_BOMB" if _too_large(error) else "E_TRUNCATED", _first_line(error))


def _too_large(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "Bomb" in type(error).__name__


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:80] or type(error).__name__
