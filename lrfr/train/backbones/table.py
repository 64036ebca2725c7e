"""Network architectures and the table of their presets.

Every entry makes a :class:`~lrfr.train.backbones.nets.Backbone`; ``-gap`` ends in a global average pool,
``-cbam`` has attention in every unit, ``wave-`` replaces strides by wavelets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lrfr.core.registry import Registry
from lrfr.train.backbones.iresnet import FaceXUnit, IResLayout, IResNet, IrUnit
from lrfr.train.backbones.mobilefacenet import MobileFaceNet, MobileLayout
from lrfr.train.backbones.nets import Backbone
from lrfr.train.backbones.resnet import Bottleneck, ResLayout, ResNet
from lrfr.train.backbones.zoo.inception import InceptionLayout, InceptionResNet
from lrfr.train.backbones.zoo.small_cnn import SmallCnn, SmallLayout
from lrfr.train.backbones.zoo.vit import Vit, VitLayout

Layout = IResLayout | ResLayout | MobileLayout | VitLayout | InceptionLayout | SmallLayout


@dataclass(frozen=True)
class Preset:
    """A class of networks with the layout that a name stands for.

    Attributes:
        net: the class.
        layout: what it is built from.
        help: one line for listings.

    """

    net: (
        type[IResNet]
        | type[ResNet]
        | type[MobileFaceNet]
        | type[Vit]
        | type[InceptionResNet]
        | type[SmallCnn]
    )
    layout: Layout
    help: str = ""

    @property
    def revision(self) -> int:
        """The revision of the class."""
        return self.net.revision

    def __call__(self, **overrides: Any) -> Backbone:
        """Return a network with freshly drawn weights; ``overrides`` replace fields of the layout."""
        make: Callable[..., Backbone] = self.net
        return make(replace(self.layout, **overrides))


_IRES_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    200: (6, 26, 60, 6),
}
_FACEX_UNITS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}
# one unit a stage, 16 channels, stride 2 in the stem: 0.57 M parameters, 0.028 GMAC, made for two CPU cores
_TINY = IResLayout((1, 1, 1, 1), width=16, emb_dim=128, stem_stride=2, final_px=4)
# one name for one network: no leading zero, no more numbers than anyone compares
_SIZED = re.compile(r"(.+)-([1-9]\d{0,3})d")
_DIGITS = ResLayout((3, 3, 3), width=16, pool=False, tail="gap")


def _iresnets(prefix: str, suffix: str, about: str, **fields: Any) -> dict[str, Preset]:
    return {
        f"{prefix}iresnet{depth}{suffix}": Preset(IResNet, IResLayout(units, **fields), about)
        for depth, units in _IRES_UNITS.items()
    }


def _facex(prefix: str, about: str, suffix: str = "", **fields: Any) -> dict[str, Preset]:
    # FaceX-Zoo's ResNet-ir drops 0.4 before its FC
    return {
        f"{prefix}facex-resnet{depth}{suffix}": Preset(
            IResNet, IResLayout(units, unit=FaceXUnit, dropout=0.4, **fields), about
        )
        for depth, units in _FACEX_UNITS.items()
    }


def _irs(suffix: str, about: str, **fields: Any) -> dict[str, Preset]:
    # AdaFace counts as iResNet does, but for its largest
    return {
        f"ir{depth + (depth == 100)}{suffix}": Preset(
            IResNet, IResLayout(_IRES_UNITS[depth], unit=IrUnit, dropout=0.4, **fields), about
        )
        for depth in (18, 34, 50, 100)
    }


def _vits() -> dict[str, Preset]:
    """Return the transformers by the names of where they are used."""
    wide = VitLayout(patch_px=9)
    token = VitLayout(size_px=224, patch_px=16, tail="token")
    small, large = VitLayout(mlp_ratio=5), VitLayout(depth=24, heads=16, mlp_ratio=3)
    layouts = {
        "vit-t": (replace(wide, dim=256), "ViT of arcface_torch, patches of 9 px"),
        "vit-s": (wide, "ViT of arcface_torch, patches of 9 px"),
        "vit-b": (replace(wide, depth=24), "ViT of arcface_torch, patches of 9 px"),
        "vit-cvl-s": (small, "ViT of CVLface, patches of 8 px"),
        "vit-cvl-b": (large, "ViT of CVLface, patches of 8 px"),
        "vit-cvl-s-kprpe": (
            replace(small, key_points=True),
            "the same with KP-RPE, for aligned faces",
        ),
        "vit-cvl-b-kprpe": (
            replace(large, key_points=True),
            "the same with KP-RPE, for aligned faces",
        ),
    }
    for size, dim in {"t": 192, "s": 384, "b": 768}.items():
        own = replace(token, dim=dim, heads=dim // 64)
        layouts[f"vit-timm-{size}"] = (own, "ViT of timm at 224 px, class token")
        layouts[f"vit-timm-{size}-112"] = (
            replace(own, size_px=112, patch_px=8),
            "ViT of timm at 112 px, patches of 8 px, class token",
        )
    return {name: Preset(Vit, layout, about) for name, (layout, about) in layouts.items()}


def _small() -> dict[str, Preset]:
    """Return the networks for small faces by their side, and MobileFaceNets whose maps are halved or
    quartered.
    """
    seven = SmallLayout()
    fourteen = SmallLayout(14, (96, 96, 192, 192), (1, 1, 2, 1))
    layouts = {
        "small-cnn": fourteen,
        "small-cnn-7": seven,
        "small-cnn-14": fourteen,
        "small-cnn-28": SmallLayout(28, (48, 96, 192, 192), (2, 1, 2, 1)),
        "small-cnn-7-large": SmallLayout(7, (256,) * 4, (1,) * 4, (2,) * 4),
        "small-cnn-14-large": SmallLayout(14, (192, 192, 384, 384), (1, 1, 2, 1), (2, 3, 4, 2)),
        "small-cnn-28-large": SmallLayout(28, (96, 192, 384, 384), (2, 1, 2, 1), (2, 4, 6, 3)),
    }
    about = "small faces as they are, {} px"
    found = {name: Preset(SmallCnn, one, about.format(one.side_px)) for name, one in layouts.items()}
    for side, final_px in {56: 4, 28: 2}.items():
        layout = MobileLayout(scale=1, final_px=final_px)
        found[f"mobilefacenet-small-{side}"] = Preset(
            MobileFaceNet, layout, f"MobileFaceNet, 1.2 M, at {side} px"
        )
    return found


def _tiny(about: str, **fields: Any) -> Preset:
    return Preset(IResNet, replace(_TINY, **fields), about)


class Backbones(Registry[Callable[..., Backbone]]):
    """The table, with every preset at every embedding size: ``iresnet50-256d`` is ``iresnet50`` with one of
    256 numbers.
    """

    def __getitem__(self, name: str) -> Callable[..., Backbone]:
        """Return the entry of ``name``.

        Raises:
            SpecError: no such name.
            EnvironmentFault: the package that offers it cannot be imported.

        """
        sized = _SIZED.fullmatch(name) if isinstance(name, str) and name not in self else None
        preset = self[sized[1]] if sized and sized[1] in self else None
        if sized is None or not isinstance(preset, Preset) or not hasattr(preset.layout, "emb_dim"):
            return super().__getitem__(name)
        layout = replace(preset.layout, emb_dim=int(sized[2]))
        return replace(preset, layout=layout, help=f"{preset.help}, embedding of {sized[2]}")


BACKBONES = Backbones(
    "backbone",
    "lrfr.backbones",
    {
        **_iresnets("", "", "iResNet of ArcFace and F-SKD"),
        **_iresnets("", "-gap", "iResNet that ends in a global average pool", tail="gap"),
        **_iresnets("", "-cbam", "iResNet with attention in every unit", attention=True),
        **_iresnets("wave-", "", "iResNet that halves maps by wavelets", wavelet="haar"),
        **_facex("", "ResNet-ir of FaceX-Zoo"),
        **_facex("wave-", "ResNet-ir that halves maps by wavelets", wavelet="haar"),
        **_facex("", "ResNet-ir of FaceX-Zoo with squeeze and excitation", suffix="-se", squeeze=True),
        **_irs("", "IR of AdaFace and CVLface"),
        **_irs("-se", "IR with squeeze and excitation", squeeze=True),
        **_vits(),
        **_small(),
        "inception-resnet-v1": Preset(InceptionResNet, InceptionLayout(), "FaceNet's net, made for 160 px"),
        "lrfr-resnet34": Preset(ResNet, ResLayout((3, 4, 6, 3)), "ResNet of MAug on CASIA"),
        "lrfr-resnet50": Preset(ResNet, ResLayout((3, 4, 6, 3), Bottleneck), "ResNet of MAug on MS1M"),
        "mobilefacenet": Preset(MobileFaceNet, MobileLayout(), "MobileFaceNet of arcface_torch, 2.06 M"),
        "mobilefacenet-small": Preset(MobileFaceNet, MobileLayout(scale=1), "MobileFaceNet, 1.2 M"),
        "mobilefacenet-half": Preset(
            MobileFaceNet, MobileLayout(scale=0.5), "MobileFaceNet of half the width, 0.77 M"
        ),
        "mobilefacenet-large": Preset(
            MobileFaceNet, MobileLayout((2, 8, 12, 4), scale=4), "the large MobileFaceNet of arcface_torch"
        ),
        "digit-resnet50": Preset(
            ResNet, ResLayout((3, 4, 6, 3), Bottleneck, pool=False, tail="gap"), "ResNet-50 for 32 px digits"
        ),
        "digit-resnet50-cbam": Preset(
            ResNet,
            ResLayout((3, 4, 6, 3), Bottleneck, pool=False, tail="gap", attention=True),
            "ResNet-50 with attention for 32 px digits",
        ),
        "digit-resnet20": Preset(ResNet, _DIGITS, "ResNet-20 for 32 px digits"),
        "digit-resnet56": Preset(ResNet, replace(_DIGITS, units=(9, 9, 9)), "ResNet-56 for 32 px digits"),
        "tiny": _tiny("iResNet for two CPU cores"),
        "tiny-gap": _tiny("the tiny one with a global average pool", tail="gap"),
        "tiny-cbam": _tiny("the tiny one with attention", attention=True),
        "tiny-facex": _tiny("the tiny one of FaceX-Zoo's units", unit=FaceXUnit, dropout=0.4),
        "tiny-ir": _tiny("the tiny one of AdaFace's units", unit=IrUnit, dropout=0.4),
        "tiny-ir-se": _tiny("with squeeze and excitation", unit=IrUnit, dropout=0.4, squeeze=True),
        "tiny-facex-se": _tiny("FaceX-Zoo's with them", unit=FaceXUnit, dropout=0.4, squeeze=True),
        "tiny-vit": Preset(
            Vit, VitLayout(patch_px=16, dim=64, depth=4, heads=2, emb_dim=128), "ViT for two CPU cores"
        ),
        "tiny-vit-kprpe": Preset(
            Vit,
            VitLayout(patch_px=16, dim=64, depth=4, heads=2, emb_dim=128, key_points=True),
            "ViT with key-point relative positions",
        ),
        "tiny-vit-timm": Preset(
            Vit, VitLayout(patch_px=16, dim=64, depth=4, heads=2, tail="token"), "ViT with a class token"
        ),
        "tiny-inception": Preset(
            InceptionResNet, InceptionLayout((1, 1, 1), 8, 128), "Inception-ResNet for two CPU cores"
        ),
        "wave-tiny": _tiny("the tiny one with wavelets", wavelet="haar"),
        "tiny-lrfr": Preset(
            ResNet,
            ResLayout((1, 1, 1, 1), width=16, emb_dim=128, stem_stride=2, final_px=4),
            "MAug's ResNet for two CPU cores",
        ),
        "tiny-mobilefacenet": Preset(
            MobileFaceNet, MobileLayout((1, 1, 1, 1), scale=1, emb_dim=128), "MobileFaceNet for two CPU cores"
        ),
        "tiny-digit": Preset(ResNet, replace(_DIGITS, units=(1, 1, 1)), "digits on two CPU cores"),
        "tiny-digit-cbam": Preset(
            ResNet, replace(_DIGITS, units=(1, 1, 1), attention=True), "digits with attention, two CPU cores"
        ),
    },
)


def at_width(name: str, numbers: int) -> str:
    """Return the name of the backbone ``name`` with an embedding of so many numbers; a name that states how
    many, or a network of which lrfr knows no other size, stays.

    Raises:
        SpecError: no such backbone.

    """
    preset = BACKBONES[name]
    usual = getattr(preset.layout, "emb_dim", numbers) if isinstance(preset, Preset) else numbers
    return name if _SIZED.fullmatch(name) or usual == numbers else f"{name}-{numbers}d"


def build_backbone(name: str, **overrides: Any) -> Backbone:
    """Return the backbone ``name`` with some fields of its layout replaced.

    Raises:
        SpecError: no such backbone.

    """
    return BACKBONES[name](**overrides)
