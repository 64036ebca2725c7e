"""The one way in for pictures, and that decoding leaves OpenCV as it found it."""

import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from lrfr.core.errors import ImageFault
from lrfr.core.image import decode, encode_jpeg, square_fit

LEVELS = cv2.utils.logging


@pytest.mark.parametrize("shape", [(112, 112), (140, 120), (60, 200), (31, 30)])
def test_square_fit_is_pillows_antialiased_bicubic_of_the_central_square(shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = Image.fromarray(image).crop((left, top, left + side, top + side))
    fitted = square_fit(image, 112)
    np.testing.assert_array_equal(fitted, np.asarray(square.resize((112, 112), Image.Resampling.BICUBIC)))
    assert fitted.flags.c_contiguous


def test_decoding_puts_the_log_level_of_opencv_back():
    before = LEVELS.getLogLevel()
    good = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    try:
        for level in (LEVELS.LOG_LEVEL_ERROR, LEVELS.LOG_LEVEL_INFO):
            LEVELS.setLogLevel(level)
            decode(good)
            with pytest.raises(ImageFault):
                decode(good[:-20])
            assert LEVELS.getLogLevel() == level
            threads = [threading.Thread(target=lambda: [decode(good) for _ in range(50)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert LEVELS.getLogLevel() == level
    finally:
        LEVELS.setLogLevel(before)
