"""Lossy codecs: ``jpeg`` (bytes equal to Pillow's) and ``webp``."""

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
