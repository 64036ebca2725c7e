"""The families of public recognizers: how their authors name tensors, and what their nets take.

One entry a family, data alone. Names are facts of the authors' released code; what is written here maps them
to the names of :data:`~lrfr.train.backbones.table.BACKBONES`. The first family of the table that a file
matches is taken; ``--family`` overrules it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lrfr.train.weights.foreign.input_contract import InputContract, parse_range

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Family:
    """How one public program names its weights.

    Attributes:
        about: what it is, one line.
        mark: the tensor of the picture's convolution; what stands before this name is the prefix.
        backbones: patterns of the backbones that its files fill.
        contract: what its nets take, as its authors feed them.
        has: patterns of tensors that its files have, besides ``mark``.
        lacks: patterns of tensors that they do not have.
        prefix: pattern of the prefix, where that is what tells it apart.
        rules: pattern and replacement, each applied to every name in turn.
        ignored: patterns of tensors that no embedding needs (heads, masks, hints).
        optional: patterns of tensors that its files lack and a fresh network has right.
        norm_eps: of its batch norms, where it is not torch's.
        convert: name of a function of :mod:`~lrfr.train.weights.foreign.names.conversions` for tensors that
            are kept in another form.

    """

    about: str
    mark: str
    backbones: tuple[str, ...]
    contract: InputContract = field(default_factory=InputContract)
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    prefix: str = ""
    rules: Rules = ()
    ignored: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    norm_eps: float | None = None
    convert: str = ""


def _takes(text: str, *, bgr: bool = False, size_px: int = 112) -> InputContract:
    mean, std = parse_range(text)
    return InputContract(size_px, channels="bgr" if bgr else "rgb", mean=mean, std=std)


_ENDS: Rules = (
    (r"^input_layer\.0\.", "conv1."),
    (r"^input_layer\.1\.", "bn1."),
    (r"^input_layer\.2\.", "prelu."),
    (r"^output_layer\.0\.", "bn2."),
    (r"^output_layer\.3\.", "fc."),
    (r"^output_layer\.4\.", "features."),
    (r"\.shortcut_layer\.", ".downsample."),
)
# units with a batch norm between convolution and PReLU, and units without
_NORMED: Rules = (
    *_ENDS,
    (r"\.res_layer\.0\.", ".bn1."),
    (r"\.res_layer\.1\.", ".conv1."),
    (r"\.res_layer\.2\.", ".bn2."),
    (r"\.res_layer\.3\.", ".prelu."),
    (r"\.res_layer\.4\.", ".conv2."),
    (r"\.res_layer\.5\.", ".bn3."),
    (r"\.res_layer\.se_block\.", ".se."),
)
_BARE: Rules = (
    *_ENDS,
    (r"\.res_layer\.0\.", ".bn1."),
    (r"\.res_layer\.1\.", ".conv1."),
    (r"\.res_layer\.2\.", ".prelu."),
    (r"\.res_layer\.3\.", ".conv2."),
    (r"\.res_layer\.4\.", ".bn3."),
    (r"\.res_layer\.5\.fc", ".se.fc"),
)
_PLAIN_TAIL = (r"^features\.(weight|bias)$",)  # their last norm neither scales nor shifts
_BLOCK: Rules = (
    (r"\.model\.", ".layers."),
    (r"\.conv_dw\.", ".layers.1."),
    (r"\.project\.", ".layers.2."),
    (r"^(layers\.[2-7]\.(?:layers\.\d+\.)?)conv\.(?=conv|bn|prelu)", r"\1layers.0."),
    (r"\.conv\.weight$", ".layers.0.weight"),
    (r"\.bn\.(?=weight|bias|running|num)", ".layers.1."),
    (r"\.prelu\.weight$", ".layers.2.weight"),
)
_MOBILE: Rules = (
    (r"^conv1\.", "layers.0."),
    (r"^conv2_dw\.", "layers.1."),
    (r"^conv_23\.", "layers.2."),
    (r"^conv_3\.", "layers.3."),
    (r"^conv_34\.", "layers.4."),
    (r"^conv_4\.", "layers.5."),
    (r"^conv_45\.", "layers.6."),
    (r"^conv_5\.", "layers.7."),
    (r"^conv_6_sep\.", "conv_sep."),
    (r"^(?:output_layer\.)?conv_6_dw\.", "features.layers.0."),
    (r"^(?:output_layer\.)?linear\.", "features.layers.2."),
    (r"^(?:output_layer\.)?bn\.", "features.layers.3."),
    *_BLOCK,
)
_IRES = (r"layer1\.0\.bn1\.weight", r"layer1\.0\.prelu\.weight")

FAMILIES: Mapping[str, Family] = {
    "mobilefacenet": Family(
        "MobileFaceNet of insightface's arcface_torch, every width",
        "layers.0.layers.0.weight",
        ("*mobilefacenet*",),
    ),
    "facex-mobilefacenet": Family(
        "MobileFaceNet of FaceX-Zoo and InsightFace_Pytorch",
        "conv1.conv.weight",
        ("mobilefacenet-small", "mobilefacenet-small-*", "tiny-mobilefacenet"),
        _takes("127.5/128", bgr=True),
        has=(r"(output_layer\.)?conv_6_dw\.conv\.weight",),
        rules=_MOBILE,
    ),
    "magface": Family(
        "MagFace: iResNet inside a 'features' module",
        "conv1.weight",
        ("iresnet*", "tiny*"),
        _takes("0,1", bgr=True),
        has=_IRES,
        prefix=r"(?:.*\.)?features\.(?:module\.)?",
        norm_eps=2e-5,
    ),
    "askd": Family(
        "A-SKD: iResNet with its own CBAM",
        "input_layer.0.weight",
        ("*-cbam",),
        has=(r"layer1\.0\.channel_layer\.shared_mlp\.0\.weight",),
        rules=(
            *_NORMED,
            (r"\.channel_layer\.shared_mlp\.", ".cbam.mlp."),
            (r"\.spatial_layer\.conv\.", ".cbam.spatial.0."),
        ),
        optional=(r"\.cbam\.spatial\.1\.",),
        convert="askd_gates",
    ),
    "cvlface": Family(
        "CVLface: AdaFace's IR inside a 'net' module",
        "input_layer.0.weight",
        ("ir[0-9]*", "ir-*", "tiny-ir*"),
        has=(r"body\.0\.res_layer\.5\.running_mean",),
        prefix=r"(?:.*\.)?net\.",
        rules=_NORMED,
        optional=_PLAIN_TAIL,
        convert="stages_of_body",
    ),
    "adaface": Family(
        "AdaFace: IR-18, 34, 50, 101, with SE where they have it",
        "input_layer.0.weight",
        ("ir[0-9]*", "ir-*", "tiny-ir*"),
        _takes("-1,1", bgr=True),
        has=(r"body\.0\.res_layer\.5\.running_mean",),
        rules=_NORMED,
        optional=_PLAIN_TAIL,
        convert="stages_of_body",
    ),
    "curricularface": Family(
        "CurricularFace and face.evoLVe: IR without a middle norm",
        "input_layer.0.weight",
        ("facex-*", "tiny-facex*"),
        has=(r"body\.0\.res_layer\.4\.running_mean",),
        lacks=(r"output_layer\.4\.weight",),
        rules=_BARE,
        optional=_PLAIN_TAIL,
        convert="stages_of_body",
    ),
    "facex": Family(
        "FaceX-Zoo and InsightFace_Pytorch: ResNet-ir and -irse",
        "input_layer.0.weight",
        ("facex-*", "tiny-facex*"),
        _takes("127.5/128", bgr=True),
        has=(r"body\.0\.res_layer\.4\.running_mean",),
        rules=_BARE,
        convert="stages_of_body",
    ),
    "lrfr": Family(
        "LRFR (MAug): ResNet with an output_layer",
        "conv1.weight",
        ("lrfr-*", "tiny-lrfr"),
        has=(r"layer1\.0\.conv1\.weight", r"output_layer\.3\.weight"),
        rules=_ENDS,
    ),
    "facenet": Family(
        "facenet-pytorch: InceptionResnetV1 at 160 px",
        "conv2d_1a.conv.weight",
        ("inception-*", "tiny-inception"),
        _takes("127.5/128", size_px=160),
        ignored=(r"^logits\.",),
    ),
    "kprpe": Family(
        "ViT of CVLface with key-point relative positions (KP-RPE), at the template's landmarks",
        "patch_embed.proj.weight",
        ("vit-cvl-*-kprpe", "tiny-vit-kprpe"),
        has=(r"keypoint_linear\..*",),
        ignored=(r"^mask_token$",),
    ),
    "vit": Family(
        "ViT of arcface_torch and CVLface",
        "patch_embed.proj.weight",
        ("vit-?", "vit-cvl-?", "tiny-vit"),
        has=(r"feature\.0\.weight", "pos_embed"),
        ignored=(r"^mask_token$",),
    ),
    "timm": Family(
        "ViT of timm with a class token",
        "patch_embed.proj.weight",
        ("vit-timm-*", "tiny-vit-timm"),
        has=("cls_token", "pos_embed"),
        ignored=(r"^head\.", r"^pre_logits\."),
    ),
    "fskd": Family(
        "F-SKD: iResNet with hints or CBAM",
        "conv1.weight",
        ("iresnet*", "tiny*"),
        has=(*_IRES, r"(layer1\.0\.attention\.ChannelGate|hint_layer1)\..*"),
        rules=(
            (r"\.attention\.ChannelGate\.mlp\.1\.", ".cbam.mlp.0."),
            (r"\.attention\.ChannelGate\.mlp\.3\.", ".cbam.mlp.2."),
            (r"\.attention\.SpatialGate\.spatial\.conv\.", ".cbam.spatial.0."),
            (r"\.attention\.SpatialGate\.spatial\.bn\.", ".cbam.spatial.1."),
        ),
        ignored=(r"^hint_layer\d\.", r"^conv_bridge\."),
    ),
    "insightface": Family(
        "insightface's arcface_torch, BTNet, and lrfr export --safetensors",
        "conv1.weight",
        ("*",),
    ),
}
