"""Lossy codecs: ``jpeg`` (bytes equal to Pillow's), ``two_grid_jpeg`` (video-like: coded twice, on two grids)
and ``webp``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np

from lrfr.core.image import ImageU8, encode_jpeg
from lrfr.core.streams import Stream
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.values.distributions import Draw, Value
from lrfr.degrade.values.params import Whole, Word

COMPRESSION = "compression artifacts (7.3.9)"
MAX_TIMES = 16
_BLOCK = 8  # px of a block of JPEG


def _decode(data: Any) -> ImageU8:
    import cv2

    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


class Jpeg(Op):
    """Baseline JPEG at ``quality`` 1 to 100 with chroma ``subsampling``, ``times`` times in a row (a quality
    drawn for each).
    """

    iso: ClassVar[str | None] = COMPRESSION
    cost_ms: ClassVar[float] = 0.17
    severity_range: ClassVar[dict[str, Span]] = {"quality": Span(95, 8, whole=True)}

    times: Annotated[Value, Whole(1, MAX_TIMES)] = 1
    subsampling: Annotated[Value, Word(("420", "422", "444"))] = "420"
    quality: Annotated[Value, Whole(1, 100)]

    def sample(self, draw: Draw) -> Params:
        """Draw one quality for each pass; the record holds a list when there are several."""
        params = dict(super().sample(draw))
        times = params.pop("times")
        if times > 1 and self.severity is None:
            # a picture that is shared again and again is compressed at another quality each time
            params["quality"] = [params["quality"], *(draw(self.quality) for _ in range(times - 1))]
        elif times > 1:
            params["quality"] = [params["quality"]] * times
        return params

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Encode and decode each image (see :class:`Op`)."""
        result = []
        for image, p in zip(images, params, strict=True):
            coded = image
            for quality in p["quality"] if isinstance(p["quality"], list) else [p["quality"]]:
                coded = _decode(encode_jpeg(coded, quality, p["subsampling"]))
            result.append(coded)
        return result


class TwoGridJpeg(Op):
    """JPEG twice with the blocks of the first pass shifted against those of the second: a face cut out of
    coded video (``first``) and coded again (``quality``).

    A camera codes whole frames; the face's crop starts anywhere in their 8x8 blocks, and a recorder codes it
    on a grid of its own. ``shift_x`` and ``shift_y`` (px) say where the first grid begins; borders are
    repeated. The transform of intra-coded frames without their motion and deblocking, in bytes that are the
    same on every machine, as those of a video library of the day are not.
    """

    iso: ClassVar[str | None] = COMPRESSION
    cost_ms: ClassVar[float] = 0.35
    severity_range: ClassVar[dict[str, Span]] = {
        "first": Span(95, 8, whole=True),
        "quality": Span(95, 8, whole=True),
    }

    first: Annotated[Value, Whole(1, 100)]
    quality: Annotated[Value, Whole(1, 100)]
    shift_x: Annotated[Value, Whole(0, _BLOCK - 1)] = 4
    shift_y: Annotated[Value, Whole(0, _BLOCK - 1)] = 4
    subsampling: Annotated[Value, Word(("420", "422", "444"))] = "420"

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Encode and decode each image twice (see :class:`Op`)."""
        result = []
        for image, p in zip(images, params, strict=True):
            # as many px before the face as its first block has lost
            top, left = -p["shift_y"] % _BLOCK, -p["shift_x"] % _BLOCK
            frame = np.pad(image, ((top, 0), (left, 0), (0, 0)), mode="edge")
            coded = _decode(encode_jpeg(frame, p["first"], p["subsampling"]))
            crop = np.ascontiguousarray(coded[top:, left:])
            result.append(_decode(encode_jpeg(crop, p["quality"], p["subsampling"])))
        return result


class Webp(Op):
    """Lossy WebP at ``quality`` 1 to 100."""

    iso: ClassVar[str | None] = COMPRESSION
    cost_ms: ClassVar[float] = 1.5
    severity_range: ClassVar[dict[str, Span]] = {"quality": Span(95, 5, whole=True)}

    quality: Annotated[Value, Whole(1, 100)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Encode and decode each image (see :class:`Op`)."""
        import cv2

        result = []
        for image, p in zip(images, params, strict=True):
            # OpenCV encodes BGR
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            result.append(_decode(cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, p["quality"]])[1]))
        return result
