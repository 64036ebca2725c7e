"""Lossless codecs for degraded images: bytes, and CPU microseconds to encode and decode.

``python -m benchmarks.codecs [FACES] [--json FILE]``: FACES is a folder of JPEG faces; without it the
pictures of :mod:`benchmarks.shards` are taken. ``qoi`` and ``imagecodecs`` (WebP, LZ4) take part where they
are installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zstandard
from numpy.typing import NDArray

from lrfr.core.image import decode, square_fit
from lrfr.core.image.lossless import decode_lossless, encode_lossless

Image = NDArray[np.uint8]
Codec = tuple[Callable[[Image], bytes], Callable[[bytes, tuple[int, ...]], Image]]
ROUNDS = 5
PNG = {
    "PNG level 3 (OpenCV)": (3,),
    "PNG level 1, RLE, Paeth": (1, cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER_PAETH),
    "PNG level 1, RLE, fast filters": (1, cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FAST_FILTERS),
}


def pixels(data: bytes, shape: tuple[int, ...]) -> Image:
    """Return raw bytes as an image of its own."""
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def png(level: int, strategy: int | None = None, kind: int | None = None) -> Codec:
    """Return OpenCV's PNG with some settings."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, level]
    if strategy is not None and kind is not None:
        options += [cv2.IMWRITE_PNG_STRATEGY, strategy, cv2.IMWRITE_PNG_FILTER, kind]

    def encode(image: Image) -> bytes:
        return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1])

    def back(data: bytes, _: tuple[int, ...]) -> Image:
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)

    return encode, back


def deflated() -> Codec:
    """Return the standard library's deflate of differences to the left; its time alone tells how it compares
    with Zstandard.
    """

    def encode(image: Image) -> bytes:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
        columns = np.diff(image, axis=1, prepend=np.zeros_like(image[:, :1]))
        return packer.compress(columns.tobytes()) + packer.flush()

    def back(data: bytes, shape: tuple[int, ...]) -> Image:
        columns = np.frombuffer(zlib.decompress(data, -15), np.uint8).reshape(shape)
        return np.add.accumulate(columns, axis=1, dtype=np.uint8)

    return encode, back


def codecs() -> dict[str, Codec]:
    """Return every codec that is here."""
    found: dict[str, Codec] = {"raw": (lambda image: image.tobytes(), pixels)}
    found |= {name: png(*settings) for name, settings in PNG.items()}
    found["differences + deflate, Huffman only"] = deflated()
    packer, unpacker = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    found["raw + Zstandard 1"] = (
        lambda image: packer.compress(image.tobytes()),
        lambda data, shape: pixels(unpacker.decompress(data), shape),
    )
    found["differences + Zstandard 1 (the store's)"] = (
        encode_lossless,
        lambda data, shape: decode_lossless(data, *shape[:2]),
    )
    return found | _from("qoi", _qoi) | _from("imagecodecs", _imagecodecs)


def _from(package: str, make: Callable[[Any], dict[str, Codec]]) -> dict[str, Codec]:
    try:
        return make(importlib.import_module(package))
    except ImportError:
        return {}


def _qoi(qoi: Any) -> dict[str, Codec]:
    return {"QOI": (qoi.encode, lambda data, _: qoi.decode(data))}


def _imagecodecs(package: Any) -> dict[str, Codec]:
    return {
        "WebP lossless, method 0": (
            lambda image: bytes(package.webp_encode(image, level=0, lossless=True, method=0)),
            lambda data, _: package.webp_decode(data),
        ),
        "raw + LZ4": (
            lambda image: bytes(package.lz4_encode(image.tobytes(), header=True)),
            lambda data, shape: pixels(bytes(package.lz4_decode(data, header=True)), shape),
        ),
    }


def pictures(folder: Path | None) -> dict[str, list[Image]]:
    """Return sets of degraded images by their name."""
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import load_spec

    if folder:
        files = sorted(folder.rglob("*.jpg"))[:64]
        faces = [square_fit(decode(path.read_bytes()), 112) for path in files]
    else:
        from benchmarks.shards import natural

        faces = [natural(np.random.default_rng(number)) for number in range(64)]
    noise = np.random.default_rng(0)
    keys = [b"%d" % index for index in range(len(faces))]

    def noisy(channels: int) -> list[Image]:
        return [
            np.clip(face + noise.normal(0, 12, (112, 112, channels)), 0, 255).astype(np.uint8)
            for face in faces
        ]

    def small(side: int) -> list[Image]:
        return [cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in faces]

    found = {f"{side} px": small(side) for side in (7, 14, 28, 32, 40, 56, 80)}
    found |= {"112 px": faces, "112 px, color noise": noisy(3), "112 px, gray noise": noisy(1)}
    found["112 px, turbulence"] = [item.image for item in Pipeline(load_spec("turb")).run(keys, faces, 0)]
    return found


def measure(codec: Codec, images: list[Image]) -> dict[str, float]:
    """Return microseconds to encode and decode, and bytes; a codec that loses a bit is an error."""
    encode, back = codec
    packed = [encode(image) for image in images]
    for data, image in zip(packed, images, strict=True):
        assert np.array_equal(back(data, image.shape), image)
    times: dict[str, list[float]] = {"encode_us": [], "decode_us": []}
    for _ in range(ROUNDS):
        for name, work in (
            ("encode_us", lambda: [encode(image) for image in images]),
            ("decode_us", lambda: [back(data, images[0].shape) for data in packed]),
        ):
            start = time.process_time()
            work()
            times[name].append((time.process_time() - start) / len(images) * 1e6)
    found = {name: round(statistics.median(values), 1) for name, values in times.items()}
    return {**found, "bytes": round(statistics.mean(len(data) for data in packed), 1)}


def main() -> None:
    """Measure all and print a table, or write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faces", type=Path, nargs="?")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    found = {
        kind: {name: measure(codec, images) for name, codec in codecs().items()}
        for kind, images in pictures(arguments.faces).items()
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    for kind, rows in found.items():
        print(kind)
        for name, row in rows.items():
            print(f"  {name:40s}" + "".join(f"{key} {value:9.1f}   " for key, value in row.items()))


if __name__ == "__main__":
    main()
