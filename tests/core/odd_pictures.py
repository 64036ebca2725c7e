"""Pictures of every kind that the field's folders hold, made by Pillow or byte by byte; none is anybody's file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from tests.pairs.zoo import exif, picture, rgba, save

RGB = Image.fromarray(picture(side=32)).crop((0, 0, 32, 24))
GRAY = RGB.convert("L")
CLEAR = rgba().crop((0, 0, 32, 24))
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def png(samples: np.ndarray, depth: int, color: int, *extra: bytes, interlaced: bool = False) -> bytes:
    """A PNG by hand: ``samples`` [H, W] or [H, W, C] of ``depth`` bits."""
    height, width = samples.shape[:2]
    passes = [
        (0, 8, 0, 8),
        (0, 8, 4, 8),
        (4, 8, 0, 4),
        (0, 4, 2, 4),
        (2, 4, 0, 2),
        (0, 2, 1, 2),
        (1, 2, 0, 1),
    ]
    rows = b""
    for top, down, left, across in passes if interlaced else [(0, 1, 0, 1)]:
        for row in samples[top::down, left::across]:
            if depth == 16:
                packed = row.astype(">u2").tobytes()
            elif depth == 8:
                packed = row.astype("u1").tobytes()
            else:
                bits = np.unpackbits(row.astype("u1")[:, None], axis=1)[:, 8 - depth :]
                packed = np.packbits(bits.reshape(-1)).tobytes()
            rows += b"\0" + packed
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    body = chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(entries: dict[int, tuple[int, tuple[int, ...]]], strips: list[bytes], further: int = 0) -> bytes:
    """A little-endian TIFF by hand: {tag: (type, values)} and its strips."""
    data = b"".join(strips)
    places = np.cumsum([8, *map(len, strips)])[:-1]
    entries = entries | {273: (4, tuple(places.tolist())), 279: (4, tuple(map(len, strips)))}
    start = 8 + len(data) + len(data) % 2
    table, tail = b"", b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        block = b"".join(struct.pack("<" + {1: "B", 3: "H", 4: "I"}[kind], value) for value in values)
        if len(block) > 4:
            block, tail = struct.pack("<I", after + len(tail)), tail + block + bytes(len(block) % 2)
        table += struct.pack("<HHI", tag, kind, len(values)) + block.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", start) + data + bytes(len(data) % 2)
    return head + struct.pack("<H", len(entries)) + table + struct.pack("<I", further) + tail


def tiff_fields(
    bits: tuple[int, ...], photometric: int, **others: int
) -> dict[int, tuple[int, tuple[int, ...]]]:
    named = {"planar": 284, "form": 339, "compression": 259, "subfile": 254, "dng": 50706, "fill": 266}
    fields = {256: (3, (32,)), 257: (3, (24,)), 258: (3, bits), 259: (3, (1,)), 262: (3, (photometric,))}
    fields |= {277: (3, (len(bits),)), 278: (3, (24,))}
    return fields | {named[name]: (3, (value,)) for name, value in others.items()}


def tiffs() -> Iterator[tuple[str, bytes]]:
    values = np.asarray(GRAY).astype(np.uint16)
    wide = np.asarray(RGB)
    yield "12-bit TIFF", tiff(tiff_fields((12,), 1), [_packed(values * 16 + values // 16, 12)])
    yield "16-bit TIFF", tiff(tiff_fields((16,), 1), [(values * 257).astype("<u2").tobytes()])
    yield "4-bit TIFF", tiff(tiff_fields((4,), 1), [_packed(values >> 4, 4)])
    yield "white is zero", tiff(tiff_fields((8,), 0), [values.astype("u1").tobytes()])
    yield "planar TIFF", tiff(tiff_fields((8, 8, 8), 2, planar=2), [wide[..., c].tobytes() for c in range(3)])
    yield "48-bit TIFF", tiff(tiff_fields((16, 16, 16), 2), [(wide.astype("<u2") * 257).tobytes()])
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"TIFF {compression}", save(RGB, "TIFF", compression=compression)
    yield "group 4", save(RGB.convert("1"), "TIFF", compression="group4")
    for mode in ("LA", "CMYK", "P", "YCbCr"):
        yield f"TIFF {mode}", save((CLEAR if mode == "LA" else RGB).convert(mode), "TIFF")
    yield "RGBA TIFF", save(CLEAR, "TIFF")
    yield "BigTIFF", save(RGB, "TIFF", big_tiff=True)


def _packed(values: np.ndarray, bits: int) -> bytes:
    ones = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(ones.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def pngs() -> Iterator[tuple[str, bytes]]:
    values = np.asarray(GRAY).astype(np.uint16)
    key = struct.pack(">H", int(values[5, 5]))
    yield "gray with a key", png(values, 8, 0, chunk(b"tRNS", key))
    yield (
        "16-bit gray with a key",
        png(values * 257, 16, 0, chunk(b"tRNS", struct.pack(">H", int(values[5, 5]) * 257))),
    )
    yield "one bit with a key", png(values > 127, 1, 0, chunk(b"tRNS", b"\0\0"))
    yield "RGB with a key", save(RGB, "PNG", transparency=RGB.getpixel((3, 3)))
    for depth in (1, 2, 4):
        yield f"{depth}-bit gray", png(values >> (8 - depth), depth, 0)
    yield "16-bit gray", png(values * 257 - values // 2, 16, 0)
    yield "48-bit", cv2.imencode(".png", np.asarray(RGB)[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    yield "64-bit", png(np.asarray(CLEAR).astype(np.uint16) * 257, 16, 6)
    yield "interlaced", png(np.asarray(RGB), 8, 2, interlaced=True)
    yield "interlaced 2-bit gray", png(values >> 6, 2, 0, interlaced=True)
    yield "palette", save(RGB.quantize(16), "PNG")
    yield "palette with a clear entry", save(RGB.quantize(16), "PNG", transparency=3)
    yield "palette with many alphas", save(RGB.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
    yield "LA", save(CLEAR.convert("LA"), "PNG")
    yield "RGBA", save(CLEAR, "PNG")


def netpbms() -> Iterator[tuple[str, bytes]]:
    values, head = np.asarray(GRAY).astype(np.uint16), "32 24\n%d\n"
    for maxval in (15, 100, 255, 1023, 4095, 65535):
        scaled = (values.astype(int) * maxval // 255).astype(">u2" if maxval > 255 else "u1")
        yield f"PGM of maxval {maxval}", b"P5\n# of a camera\n" + (head % maxval).encode() + scaled.tobytes()
        text = " ".join(map(str, scaled.reshape(-1).tolist())).encode()
        yield f"text PGM of maxval {maxval}", b"P2\n" + (head % maxval).encode() + text
    yield "PPM of maxval 4095", b"P6 32 24 4095\n" + (np.asarray(RGB).astype(">u2") * 16).tobytes()
    yield (
        "text PPM",
        b"P3 32 24 255\n" + b" ".join(b"%d" % value for value in np.asarray(RGB).reshape(-1)) + b"\n",
    )
    bits = (values > 127).astype(np.uint8)
    yield "PBM", b"P4 32 24\n" + np.packbits(bits, axis=1).tobytes()
    yield "text PBM", b"P1\n# no gaps\n32 24\n" + "".join(map(str, bits.reshape(-1).tolist())).encode()


def others() -> Iterator[tuple[str, bytes]]:
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            yield f"JPEG {mode} {progressive}", save(RGB.convert(mode), "JPEG", progressive=progressive)
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        yield f"JPEG {sampling}", save(RGB, "JPEG", subsampling=sampling)
    yield "JPEG in RGB", save(RGB, "JPEG", keep_rgb=True)
    yield "JPEG with restarts", save(RGB, "JPEG", restart_marker_blocks=1)
    yield "GIF", save(RGB.quantize(16), "GIF", transparency=3, interlace=1)
    yield "WebP", save(CLEAR, "WEBP", lossless=True)
    yield "lossy WebP", save(RGB, "WEBP")
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"BMP {mode}", save(CLEAR.convert(mode), "BMP")
    yield "BMP with alpha masks", _bmp_v4(np.asarray(CLEAR))
    for kind, mode in (
        ("TGA", "RGBA"),
        ("TGA", "L"),
        ("PCX", "RGB"),
        ("DDS", "RGBA"),
        ("QOI", "RGBA"),
        ("ICO", "RGBA"),
    ):
        yield f"{kind} {mode}", save(CLEAR.convert(mode), kind)
    yield "TGA RLE", save(RGB, "TGA", compression="tga_rle")
    yield "JPEG 2000", save(RGB, "JPEG2000")
    yield "JPEG 2000 LA", save(CLEAR.convert("LA"), "JPEG2000")
    yield "JPEG 2000 16 bits", save(Image.fromarray(np.asarray(GRAY).astype(np.uint16) * 257), "JPEG2000")
    yield "AVIF", save(CLEAR, "AVIF")
    yield "PSD", _psd(np.asarray(RGB))


def _bmp_v4(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape[:2]
    body = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = (
        struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 0, 0, 0, 0)
        + masks
        + b"BGRs"
        + bytes(48)
    )
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


def _psd(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape[:2]
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, height, width, 8, 3)
    return head + bytes(12) + b"\0\0" + pixels.transpose(2, 0, 1).tobytes()


def turned(orientation: int) -> Iterator[tuple[str, bytes]]:
    """The same picture with an orientation stated in every way that files state one."""
    block = exif(orientation)
    for kind, options in (
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("AVIF", {}),
    ):
        yield f"{kind} EXIF", save(RGB, kind, exif=block, **options)
    plain = png(np.asarray(RGB), 8, 2)
    for name, extra in (
        ("PNG eXIf behind its prefix", chunk(b"eXIf", block)),
        ("PNG of ImageMagick", chunk(b"tEXt", b"Raw profile type exif\0" + _profile(block))),
        (
            "PNG of ImageMagick, packed",
            chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(_profile(block))),
        ),
        ("PNG XMP", chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % orientation)),
        (
            "PNG XMP, packed",
            chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP % orientation)),
        ),
    ):
        yield name, plain[:33] + extra + plain[33:]
    yield "PNG eXIf at the end", plain[:-12] + chunk(b"eXIf", block[6:]) + plain[-12:]
    yield "JPEG XMP", save(RGB, "JPEG", xmp=XMP % orientation)
    yield "WebP XMP", save(RGB, "WEBP", lossless=True, xmp=XMP % orientation)
    yield "gray JPEG EXIF", save(GRAY, "JPEG", exif=block)
    yield "CMYK JPEG EXIF", save(RGB.convert("CMYK"), "JPEG", exif=block)


def _profile(block: bytes) -> bytes:
    return b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"


def animated() -> Iterator[tuple[str, bytes]]:
    other = Image.fromarray(picture(1, side=32)).crop((0, 0, 32, 24))
    for kind in ("GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"):
        yield kind, save(RGB, kind, save_all=True, append_images=[other])
