"""Network architectures and the table of their presets.

Every entry makes a :class:`~lrfr.train.backbones.nets.Backbone`; ``-gap`` ends in a global average pool,
``-cbam`` has attention in every unit, ``wave-`` replaces strides by wavelets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lrfr.core.registry import Registry
from lrfr.train.backbones.iresnet import FaceXUnit, IResNet
from lrfr.train.backbones.mobilefacenet import MobileFaceNet
from lrfr.train.backbones.nets import Backbone
from lrfr.train.backbones.resnet import Bottleneck, ResNet

_IRES_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    200: (6, 26, 60, 6),
}
# one unit a stage, 16 channels, stride 2 in the stem: 0.57 M parameters, 0.028 GMAC, made for two CPU cores
_TINY: dict[str, Any] = {"units": (1, 1, 1, 1), "width": 16, "emb_dim": 128, "stem_stride": 2, "final_px": 4}

_FACEX_UNITS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}
_FACEX: dict[str, Any] = {"unit": FaceXUnit, "dropout": 0.4}

BACKBONES: Registry[Callable[..., Backbone]] = Registry(
    "backbone",
    "lrfr.backbones",
    {
        **{f"iresnet{depth}": partial(IResNet, units) for depth, units in _IRES_UNITS.items()},
        **{
            f"iresnet{depth}-gap": partial(IResNet, units, tail="gap") for depth, units in _IRES_UNITS.items()
        },
        **{
            f"iresnet{depth}-cbam": partial(IResNet, units, attention=True)
            for depth, units in _IRES_UNITS.items()
        },
        **{
            f"wave-iresnet{depth}": partial(IResNet, units, wavelet="haar")
            for depth, units in _IRES_UNITS.items()
        },
        **{
            f"facex-resnet{depth}": partial(IResNet, units, **_FACEX) for depth, units in _FACEX_UNITS.items()
        },
        **{
            f"wave-facex-resnet{depth}": partial(IResNet, units, **_FACEX, wavelet="haar")
            for depth, units in _FACEX_UNITS.items()
        },
        "lrfr-resnet34": partial(ResNet, (3, 4, 6, 3)),
        "lrfr-resnet50": partial(ResNet, (3, 4, 6, 3), block=Bottleneck),
        "mobilefacenet": MobileFaceNet,
        "mobilefacenet-small": partial(MobileFaceNet, scale=1),
        "digit-resnet50": partial(ResNet, (3, 4, 6, 3), block=Bottleneck, pool=False, tail="gap"),
        "digit-resnet20": partial(ResNet, (3, 3, 3), width=16, pool=False, tail="gap"),
        "digit-resnet56": partial(ResNet, (9, 9, 9), width=16, pool=False, tail="gap"),
        "tiny": partial(IResNet, **_TINY),
        "tiny-gap": partial(IResNet, **_TINY, tail="gap"),
        "tiny-cbam": partial(IResNet, **_TINY, attention=True),
        "tiny-facex": partial(IResNet, **_TINY, **_FACEX),
        "wave-tiny": partial(IResNet, **_TINY, wavelet="haar"),
        "tiny-lrfr": partial(ResNet, (1, 1, 1, 1), width=16, emb_dim=128, stem_stride=2, final_px=4),
        "tiny-mobilefacenet": partial(MobileFaceNet, (1, 1, 1, 1), scale=1, emb_dim=128),
        "tiny-digit": partial(ResNet, (1, 1, 1), width=16, pool=False, tail="gap"),
    },
)


def build_backbone(name: str, **overrides: Any) -> Backbone:
    """Return the backbone ``name`` with some of its arguments replaced.

    Raises:
        SpecError: no such backbone.

    """
    return BACKBONES[name](**overrides)
