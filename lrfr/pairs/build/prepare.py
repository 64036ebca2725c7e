"""From whatever a source gives to the HR record: original JPEG bytes where they already fit, else a fresh
encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image import (
    DECODER_REVISION,
    ENCODER_REVISION,
    check_image,
    decode,
    encode_jpeg,
    remarks,
    square_fit,
)
from lrfr.core.landmarks import ALIGN_REVISION, align
from lrfr.pairs.align.checks import landmark_fault
from lrfr.pairs.format.manifests import Crop
from lrfr.pairs.sources.base import Content

Landmarks = tuple[float, ...]
# raised by hand when ``core.image.square_fit`` may give other pixels, or other JPEGs keep their bytes
FIT_REVISION = 1


@dataclass(frozen=True)
class Prepare:
    """How sources become HR crops.

    Attributes:
        size_px: side of the square crop.
        quality: JPEG quality of crops that are encoded anew (4:2:0).
        color: ``rgb``, or ``bgr`` for sources whose channels were swapped by whoever wrote them.
        aligned: whether five landmarks per face are given, and the crop is cut by them.

    """

    size_px: int = 112
    quality: int = 95
    color: str = "rgb"
    aligned: bool = False

    def describe(self) -> Crop:
        """Return what of this enters the base's identity, with the revisions of the code that does it."""
        cutter = ALIGN_REVISION if self.aligned else FIT_REVISION
        return Crop(
            self.size_px,
            self.quality,
            "bgr" if self.color == "bgr" else "rgb",
            self.aligned,
            decoder=DECODER_REVISION,
            cutter=cutter,
            encoder=ENCODER_REVISION,
        )

    def pixels(self, content: Content, landmarks: Landmarks | None = None) -> NDArray[np.uint8]:
        """Return the crop as uint8 ``[size, size, 3]`` RGB.

        Raises:
            ImageFault: the bytes are refused.

        """
        image = check_image(content) if isinstance(content, np.ndarray) else decode(content)
        if self.color == "bgr":
            image = np.ascontiguousarray(image[:, :, ::-1])
        if self.aligned:
            if landmarks is None:
                raise ImageFault("E_LANDMARK")
            points = np.array(landmarks, np.float64).reshape(5, 2)
            fault = landmark_fault(points, image.shape[0], image.shape[1])
            if fault:
                raise ImageFault("E_LANDMARK", fault)
            return align(image, points, self.size_px)
        return square_fit(image, self.size_px)

    def look(self, content: Content, landmarks: Landmarks | None = None) -> NDArray[np.uint8]:
        """Return some pixels as proof that the bytes decode, without encoding anything.

        Raises:
            ImageFault: the bytes are refused.

        """
        return decode(content) if self._fits(content) else self.pixels(content, landmarks)

    def _fits(self, content: Content) -> TypeGuard[bytes]:
        return (
            isinstance(content, bytes)
            and self.color == "rgb"
            and not self.aligned
            and _is_plain_jpeg(content, self.size_px)
        )

    def jpeg(self, content: Content, landmarks: Landmarks | None = None) -> bytes:
        """Return the HR payload.

        Raises:
            ImageFault: the bytes are refused.

        """
        # encoding a JPEG anew loses quality for nothing
        if self._fits(content):
            return content
        return encode_jpeg(self.pixels(content, landmarks), self.quality)


def _is_plain_jpeg(data: bytes, size_px: int) -> bool:
    """Return whether the bytes are a JPEG of the right size in RGB or gray, upright (only its header is
    read).
    """
    frame = _jpeg_frame(data)
    # gray stays gray: it decodes to three equal channels
    if frame is None or frame[:3] != (8, size_px, size_px) or frame[3] not in {1, 3}:
        return False
    # only EXIF can turn a picture, and reading it costs more than the rest of this test
    return not frame[4] or "W_ROTATED" not in remarks(data)


def _jpeg_frame(data: bytes) -> tuple[int, int, int, int, bool] | None:
    """Return (bits, height, width, components, has EXIF) from a JPEG's frame header, None where there is
    none.

    Source: ITU-T T.81, annex B: segments are 0xFF, marker, u16 length; the frame header is SOF0..SOF15 but
    DHT, JPG and DAC.
    """
    place, exif = 2, False
    if data[:2] != b"\xff\xd8":
        return None
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = (
                int.from_bytes(data[place + 5 : place + 7], "big"),
                int.from_bytes(data[place + 7 : place + 9], "big"),
            )
            return data[place + 4], height, width, data[place + 9], exif
        exif |= marker == 0xE1
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
