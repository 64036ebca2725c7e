"""From whatever a source gives to the HR record: original JPEG bytes where they already fit, else a fresh
encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image import (
    DECODER_REVISION,
    ENCODER_REVISION,
    check_image,
    decode,
    encode_jpeg,
    is_plain_jpeg,
    read_picture,
    square_fit,
)
from lrfr.core.landmarks import ALIGN_REVISION, align
from lrfr.pairs.align.checks import landmark_fault
from lrfr.pairs.format.manifests import Crop, FaceFinder
from lrfr.pairs.format.records import JPEG, decode_payload
from lrfr.pairs.sources.base import Content

Landmarks = tuple[float, ...]
# raised by hand when ``core.image.square_fit`` may give other pixels, or other JPEGs keep their bytes
FIT_REVISION = 1


class Cut(NamedTuple):
    """What a look at a face saw.

    Attributes:
        pixels: the crop, uint8 ``[size, size, 3]`` RGB.
        remarks: what is unusual about the bytes: keys of :data:`~lrfr.core.image.REMARKS`.
        kept: the bytes, where they are the HR payload as they are.

    """

    pixels: NDArray[np.uint8]
    remarks: tuple[str, ...]
    kept: bytes | None = None


@dataclass(frozen=True)
class Prepare:
    """How sources become HR crops.

    Attributes:
        size_px: side of the square crop.
        quality: JPEG quality of crops that are encoded anew (4:2:0).
        color: ``rgb``, or ``bgr`` for sources whose channels were swapped by whoever wrote them.
        aligned: whether five landmarks per face are given, and the crop is cut by them.
        finder: what finds them; None where they are given, and then each is checked.

    """

    size_px: int = 112
    quality: int = 95
    color: str = "rgb"
    aligned: bool = False
    finder: FaceFinder | None = None

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
            finder=self.finder,
        )

    def picture(self, content: Content) -> NDArray[np.uint8]:
        """Return a whole picture, upright, as uint8 ``[h, w, 3]`` RGB.

        Raises:
            ImageFault: the bytes are refused.

        """
        return self._ordered(check_image(content) if isinstance(content, np.ndarray) else decode(content))

    def _ordered(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(image[:, :, ::-1]) if self.color == "bgr" else image

    def pixels(self, content: Content, landmarks: Landmarks | None = None) -> NDArray[np.uint8]:
        """Return the crop as uint8 ``[size, size, 3]`` RGB.

        Raises:
            ImageFault: the bytes are refused.

        """
        return self._cut(self.picture(content), landmarks)

    def _cut(self, image: NDArray[np.uint8], landmarks: Landmarks | None) -> NDArray[np.uint8]:
        if self.aligned:
            if landmarks is None:
                raise ImageFault("E_LANDMARK")
            points = np.array(landmarks, np.float64).reshape(5, 2)
            # what a detector found is cut as lrfr align cuts it
            fault = "" if self.finder else landmark_fault(points, image.shape[0], image.shape[1])
            if fault:
                raise ImageFault("E_LANDMARK", fault)
            return align(image, points, self.size_px)
        return square_fit(image, self.size_px)

    def look(
        self, content: Content, landmarks: Landmarks | None = None, name: str = "", *, silent: bool = False
    ) -> Cut:
        """Return the crop, without encoding anything, as proof that the bytes decode (``silent``: see
        :func:`~lrfr.core.image.read_picture`).

        Raises:
            ImageFault: the bytes are refused.

        """
        if isinstance(content, np.ndarray):
            return Cut(self._seen(check_image(content), landmarks), ())
        picture = read_picture(content, name, silent=silent)
        # a plain, upright JPEG has the size that its header says
        if picture.plain and self._kept and picture.pixels.shape[:2] == (self.size_px, self.size_px):
            return Cut(picture.pixels, picture.remarks, content)
        return Cut(self._seen(picture.pixels, landmarks), picture.remarks)

    def _seen(self, image: NDArray[np.uint8], landmarks: Landmarks | None) -> NDArray[np.uint8]:
        """Return what will be cut, or the whole picture where its faces are still to be found."""
        unknown = self.finder is not None and landmarks is None
        return image if unknown else self._cut(self._ordered(image), landmarks)

    def stored(self, cut: Cut) -> tuple[bytes, NDArray[np.uint8]]:
        """Return the HR payload of a crop that was looked at, as :meth:`jpeg` does, and its pixels."""
        if cut.kept is not None:
            return cut.kept, cut.pixels
        payload = encode_jpeg(cut.pixels, self.quality)
        return payload, decode_payload(payload, JPEG, self.size_px, self.size_px)

    @property
    def _kept(self) -> bool:
        return self.color == "rgb" and not self.aligned

    def _fits(self, content: Content) -> TypeGuard[bytes]:
        return self._kept and isinstance(content, bytes) and is_plain_jpeg(content, self.size_px)

    def jpeg(self, content: Content, landmarks: Landmarks | None = None) -> bytes:
        """Return the HR payload.

        Raises:
            ImageFault: the bytes are refused.

        """
        # encoding a JPEG anew loses quality for nothing
        if self._fits(content):
            return content
        return encode_jpeg(self.pixels(content, landmarks), self.quality)
