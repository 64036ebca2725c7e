"""The image zoo: files as they are met in the wild, each with what must become of it.

``zoo()`` yields (name, bytes, expected): a reason code, or a set of remarks that the accepted image must
carry.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

Entry = tuple[str, bytes, str | set[str]]


def picture(seed: int = 0, side: int = 64) -> np.ndarray:
    """Smooth colorful noise, uint8 [side, side, 3]."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def save(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
        for tag, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def zoo() -> Iterator[Entry]:
    yield from _truncated()
    yield from _not_images()
    yield from _extents()
    yield from _colors()
    yield from _containers()
    yield from _metadata()


def _truncated() -> Iterator[Entry]:
    rgb = picture()
    for kind, data in (
        ("jpeg", save(rgb, "JPEG", quality=90)),
        ("png", save(rgb, "PNG")),
        ("webp", save(rgb, "WEBP", lossless=True)),
    ):
        for percent in range(5, 100, 5):
            cut = data[: len(data) * percent // 100]
            yield f"{kind} cut to {percent} %", cut, "E_TRUNCATED|E_FORMAT"
    jpeg = save(rgb, "JPEG", quality=90)
    for missing in (1, 2, 3):
        yield f"jpeg without its last {missing} bytes", jpeg[:-missing], "E_TRUNCATED"
    scan = jpeg.index(b"\xff\xda")
    yield "jpeg header only", jpeg[:scan], "E_TRUNCATED"
    for kind in ("GIF", "BMP", "TIFF", "PPM"):
        data = save(rgb, kind)
        yield f"{kind.lower()} cut in half", data[: len(data) // 2], "E_TRUNCATED|E_FORMAT"


def _not_images() -> Iterator[Entry]:
    yield "zero bytes", b"", "E_EMPTY"
    yield "text", b"a note, not a picture\n" * 9, "E_FORMAT"
    yield "web page", b"<!DOCTYPE html><html><body>404 not found</body></html>", "E_FORMAT"
    yield "eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "E_FORMAT"
    yield "pdf", b"%PDF-1.7\n1 0 obj\n", "E_FORMAT"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "E_FORMAT"
    yield "avif", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + bytes(64), "E_FORMAT|E_TRUNCATED|E_CODEC"
    yield "heic", b"\0\0\0\x20ftypheic\0\0\0\0mif1heic" + bytes(64), "E_FORMAT|E_TRUNCATED|E_CODEC"
    yield "random bytes", np.random.default_rng(1).bytes(4096), "E_FORMAT"


def _extents() -> Iterator[Entry]:
    yield "png claiming 20000x20000", png_claiming(20_000, 20_000), "E_BOMB"
    yield "png claiming 8001x8001", png_claiming(8001, 8001), "E_BOMB"
    yield "png claiming 2**31-1", png_claiming(2**31 - 1, 2**31 - 1), "E_BOMB|E_FORMAT"
    yield "one pixel", save(picture(side=8)[:1, :1], "PNG"), "E_SIZE"
    yield "3x2000", save(np.zeros((3, 2000, 3), np.uint8), "PNG"), "E_SIZE|E_ASPECT"
    yield "8x2000", save(np.zeros((8, 2000, 3), np.uint8), "PNG"), "E_ASPECT"
    yield "all black", save(np.zeros((64, 64, 3), np.uint8), "PNG"), {"W_CONSTANT"}
    yield "constant gray", save(np.full((64, 64, 3), 127, np.uint8), "JPEG"), {"W_CONSTANT"}


def _colors() -> Iterator[Entry]:
    rgb = Image.fromarray(picture())
    yield "cmyk jpeg", save(rgb.convert("CMYK"), "JPEG", quality=95), set()
    yield "gray jpeg", save(rgb.convert("L"), "JPEG"), set()
    yield "gray png", save(rgb.convert("L"), "PNG"), set()
    yield "one-bit png", save(rgb.convert("1"), "PNG"), set()
    yield "palette png", save(rgb.quantize(16), "PNG"), set()
    yield "palette png with transparency", save(rgb.quantize(16), "PNG", transparency=3), {"W_ALPHA"}
    yield "rgba png", save(rgba(), "PNG"), {"W_ALPHA"}
    yield "rgba webp", save(rgba(), "WEBP", lossless=True), {"W_ALPHA"}
    yield "gray and alpha png", save(rgba().convert("LA"), "PNG"), {"W_ALPHA"}
    yield "16-bit gray png", save(Image.fromarray(picture()[..., 0].astype(np.uint16) * 257), "PNG"), set()
    yield "progressive jpeg", save(rgb, "JPEG", progressive=True), set()
    yield "jpeg with restart markers", save(rgb, "JPEG", restart_marker_blocks=4), set()


def rgba() -> Image.Image:
    image = Image.fromarray(picture()).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))))
    return image


def _containers() -> Iterator[Entry]:
    rgb, other = Image.fromarray(picture()), Image.fromarray(picture(1))
    yield "animated gif", save(rgb, "GIF", save_all=True, append_images=[other], duration=40), {"W_ANIMATED"}
    yield "animated png", save(rgb, "PNG", save_all=True, append_images=[other]), {"W_ANIMATED"}
    yield (
        "animated webp",
        save(rgb, "WEBP", save_all=True, append_images=[other], lossless=True),
        {"W_ANIMATED"},
    )
    yield "multi-page tiff", save(rgb, "TIFF", save_all=True, append_images=[other]), {"W_ANIMATED"}
    yield "float tiff", save(Image.fromarray(picture()[..., 0].astype(np.float32)), "TIFF"), "E_SAMPLES"
    yield "mpo", save(rgb, "MPO", save_all=True, append_images=[other]), {"W_ANIMATED"}
    jpeg = save(rgb, "JPEG", quality=90)
    yield "two jpegs in one file", jpeg + save(other, "JPEG", quality=50) + b"x", {"W_TRAILING"}
    yield "jpeg with garbage behind", jpeg + b"\0\1\2 garbage", {"W_TRAILING"}
    yield "png with garbage behind", save(rgb, "PNG") + b"garbage", {"W_TRAILING"}
    for kind in ("BMP", "GIF", "TIFF", "PPM", "WEBP"):
        yield f"plain {kind.lower()}", save(rgb, kind), set()


def _metadata() -> Iterator[Entry]:
    rgb = Image.fromarray(picture())
    for orientation in range(1, 9):
        flags = {"W_ROTATED"} if orientation > 1 else set()
        yield (
            f"jpeg with orientation {orientation}",
            save(rgb, "JPEG", quality=95, exif=exif(orientation)),
            flags,
        )
    yield "jpeg with broken exif", save(rgb, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\0\0"), set()
    yield (
        "jpeg with a color profile",
        save(rgb, "JPEG", icc_profile=b"not really a profile" * 8),
        {"W_PROFILE"},
    )
