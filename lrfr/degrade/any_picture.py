"""Every kind of picture that users hold, to uint8 RGB and back to the kind that it came as."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault, SpecError, as_path
from lrfr.core.files import read_bytes
from lrfr.core.image import ImageU8, decode

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "NDArray[Any] | Image | str | Path"

WANTED = (
    "expected a PIL image, a path, or an array [H, W, 3] or [H, W] of uint8 in 0..255 or of floats in 0..1"
)


def as_face(picture: Picture) -> ImageU8:
    """Return a picture as uint8 [H, W, 3] RGB.

    Args:
        picture: a PIL image of any mode of 8 bits (transparency is composited over black), the path of an
            image file, or an array: [H, W, 3] RGB, [H, W, 1] or [H, W] gray; uint8, or floats in [0, 1],
            which are rounded to the nearest of 256 levels.

    Raises:
        SpecError: something else; the message says what is wanted.
        ImageFault: the file is no usable image.

    """
    if isinstance(picture, np.ndarray):
        if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size:
            return picture
        return _array_as_face(picture)
    if isinstance(picture, str | Path):
        path = as_path(picture, "a picture")
        try:
            return decode(read_bytes(path))
        except ImageFault as fault:
            fault.file = str(picture)
            raise
    if hasattr(picture, "getbands") and hasattr(picture, "convert"):
        return _pil_as_face(picture)
    tensor = hasattr(picture, "numpy") and hasattr(picture, "permute")
    hint = "an image tensor becomes one by: tensor.permute(1, 2, 0).numpy()" if tensor else None
    raise SpecError(f"{WANTED}; got {type(picture).__name__}", hint=hint)


def _array_as_face(array: NDArray[Any]) -> ImageU8:
    got = f"got {array.dtype} {list(array.shape)}"
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        first = array.ndim == 3 and array.shape[0] in (1, 3)
        raise SpecError(f"{WANTED}; {got}", hint="channels go last" if first else None)
    if array.dtype != np.uint8:
        if array.dtype.kind != "f":
            raise SpecError(f"{WANTED}; {got}")
        low, high = float(array.min()), float(array.max())
        if not (low >= 0.0 and high <= 1.0):
            raise SpecError(f"floats must lie in 0..1, these run from {low:g} to {high:g}", hint=WANTED)
        array = np.rint(array * 255.0).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _pil_as_face(picture: Any) -> ImageU8:
    if picture.mode[0] in "IF":  # Pillow would cut their values off at 255 without a word
        hint = "bring it to 8 bits first, or give its path: files of 16 bits are scaled"
        raise SpecError(f"expected a PIL image of 8 bits a channel, got mode {picture.mode}", hint=hint)
    if "A" in picture.getbands() or "transparency" in picture.info:
        from PIL import Image

        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return np.array(picture.convert("RGB"), np.uint8)


def like(picture: Picture, face: ImageU8) -> Any:
    """Return uint8 [h, w, 3] RGB as the kind of ``picture``: PIL for PIL, floats in [0, 1] of the same dtype
    for floats, else uint8. Gray pictures come back in three channels.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype.kind == "f":
            return (face / 255.0).astype(picture.dtype)
        return face
    if isinstance(picture, str | Path):
        return face
    from PIL import Image

    return Image.fromarray(face)


def key_of(picture: Picture, face: ImageU8) -> bytes:
    """Return the sample key of a picture that comes without one: the name of a file, else the digest of the
    pixels, so that neither order nor batch decides what is drawn.
    """
    if isinstance(picture, str | Path):
        return Path(picture).name.encode("utf-8", "surrogateescape")
    import xxhash

    digest = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(face).data)
    return b"xxh3:%b:%dx%d" % (digest.encode(), *face.shape[:2])


def key_bytes(key: object) -> bytes:
    """Return a key given as bytes, text or whole number.

    Raises:
        SpecError: it is something else.

    """
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        try:
            return key.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise SpecError("a key is text that can be encoded, got a lone surrogate") from None
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return b"%d" % int(key)
    raise SpecError(f"a key is bytes, text or a whole number, got {type(key).__name__}")


def key_text(key: bytes) -> str:
    """Return a key as JSON-able text (lossless)."""
    return key.decode("utf-8", "surrogateescape")
