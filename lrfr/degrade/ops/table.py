"""The table of operators: a spec's ``op: name`` is looked up here, then among the entry points
``lrfr.ops``.
"""

from __future__ import annotations

from lrfr.core.registry import Registry
from lrfr.degrade.ops.albumentation import Albumentations
from lrfr.degrade.ops.base import Op
from lrfr.degrade.ops.blur import Defocus, GaussianBlur, KernelMix, MotionBlur, Sharpen
from lrfr.degrade.ops.codec import Jpeg, TwoGridJpeg, Webp
from lrfr.degrade.ops.misalign import Misalign
from lrfr.degrade.ops.noise import GaussianNoise, LowLight, PoissonNoise, ReadNoise, Speckle
from lrfr.degrade.ops.resize import Down, DownUp, Resize, Up
from lrfr.degrade.ops.style import Style
from lrfr.degrade.ops.tone import (
    Brightness,
    ColorCast,
    Contrast,
    Gamma,
    Grayscale,
    Identity,
    Illumination,
    Occlude,
    Saturation,
)
from lrfr.degrade.ops.turbulence import Turbulence

OPS: Registry[type[Op]] = Registry(
    "op",
    "lrfr.ops",
    {
        "resize": Resize,
        "down": Down,
        "up": Up,
        "down_up": DownUp,
        "gaussian_blur": GaussianBlur,
        "motion_blur": MotionBlur,
        "defocus": Defocus,
        "kernel_mix": KernelMix,
        "sharpen": Sharpen,
        "gaussian_noise": GaussianNoise,
        "poisson_noise": PoissonNoise,
        "speckle": Speckle,
        "read_noise": ReadNoise,
        "jpeg": Jpeg,
        "two_grid_jpeg": TwoGridJpeg,
        "webp": Webp,
        "gamma": Gamma,
        "brightness": Brightness,
        "contrast": Contrast,
        "saturation": Saturation,
        "low_light": LowLight,
        "illumination": Illumination,
        "color_cast": ColorCast,
        "grayscale": Grayscale,
        "occlude": Occlude,
        "misalign": Misalign,
        "identity": Identity,
        "turbulence": Turbulence,
        "style": Style,
        "albumentations": Albumentations,
    },
)
