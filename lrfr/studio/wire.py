"""How pictures travel to the page: frames of a JSON head and raw pixels, in one long answer."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence

from lrfr.core.image import ImageU8, encode_png
from lrfr.degrade.inspect.contact_sheet import Fixed, caption
from lrfr.degrade.inspect.trace_file import pixels_sha256
from lrfr.studio.face_book import Face
from lrfr.studio.picture_pieces import Shown, Step


def frame(head: Mapping[str, object], images: Sequence[ImageU8] = ()) -> bytes:
    """Return a frame: 4 bytes (the head's length, little-endian), the head as JSON with the ``sizes`` of its
    pictures, then their pixels, RGB row by row.
    """
    sizes = [[image.shape[1], image.shape[0]] for image in images]
    text = json.dumps({**head, "sizes": sizes}).encode()
    return struct.pack("<I", len(text)) + text + b"".join(image.tobytes() for image in images)


def read_frames(data: bytes) -> Iterator[tuple[Mapping[str, object], list[bytes]]]:
    """Yield the heads of frames and the pixels of their pictures: what a script does with an answer."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        head = json.loads(data[at + 4 : at + 4 + length])
        at += 4 + length
        pixels = []
        for width, height in head["sizes"]:
            pixels.append(data[at : at + width * height * 3])
            at += width * height * 3
        yield head, pixels


def hr_frame(face: Face) -> bytes:
    """Return an HR face."""
    return frame({"kind": "hr", "face": face.id, "name": face.name}, [face.pixels])


def face_frame(item: Shown, fixed: Fixed | None = None) -> bytes:
    """Return a degraded face: native pixels, then as the network sees it."""
    return frame(_head(item), [item.degraded.image, item.seen])


def _head(item: Shown) -> Mapping[str, object]:
    trace = item.degraded.trace
    return {
        "kind": "face",
        "face": item.face.id,
        "draw": item.draw,
        "variant": trace.variant,
        "seed": trace.seed,
        "caption": caption(trace),
    }


def face_json(item: Shown) -> Mapping[str, object]:
    """Return a degraded face for a script: what was drawn, the sha256 of its pixels, PNG in base64."""
    image = item.degraded.image
    return {
        **_head(item),
        "name": item.face.name,
        "trace": item.degraded.trace.as_json(),
        "px": list(image.shape[:2]),
        "sha256": pixels_sha256(image),
        "png": png_text(image),
    }


def step_json(step: Step) -> Mapping[str, object]:
    """Return a face after a step, for page and script."""
    head = {"id": step.id, "op": step.op, "params": dict(step.params)}
    return {**head, "px": list(step.image.shape[:2]), "png": png_text(step.image)}


def png_text(image: ImageU8) -> str:
    """Return a picture as PNG in base64."""
    return base64.b64encode(encode_png(image)).decode()
