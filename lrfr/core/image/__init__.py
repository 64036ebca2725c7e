"""The one image type of lrfr, uint8 HWC RGB, and its guarded decoding and encoding."""

from lrfr.core.image.content_kind import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    PICTURE_CODES,
    READ_SUFFIXES,
    content_of,
    looks_like_picture,
    suffix_fits,
)
from lrfr.core.image.decoder import DECODER_REVISION, REMARKS, Picture, decode, probe, read_picture
from lrfr.core.image.encoder import (
    ENCODER_REVISION,
    ImageU8,
    check_image,
    encode_jpeg,
    encode_png,
    square_fit,
)
from lrfr.core.image.jpeg_header import is_plain_jpeg

__all__ = [
    "DECODER_REVISION",
    "ENCODER_REVISION",
    "HEAD_BYTES",
    "IMAGE_SUFFIXES",
    "PICTURE_CODES",
    "READ_SUFFIXES",
    "REMARKS",
    "ImageU8",
    "Picture",
    "check_image",
    "content_of",
    "decode",
    "encode_jpeg",
    "encode_png",
    "is_plain_jpeg",
    "looks_like_picture",
    "probe",
    "read_picture",
    "square_fit",
    "suffix_fits",
]
