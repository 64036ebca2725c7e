"""QualNet-LM (Kim et al., CVPR 2021): features that an inverse i-RevNet can turn back into the HR face.

Step 1, on HR faces: ``L = CosFace + w L1(clip(decoder(map), 0, 1), HR)``; it is the "+Dec" teacher of
F-SKD's tables. Step 2 starts from step 1, sees LR faces and keeps the decoder as it is, so that the map of an
LR face must decode into the HR face: the same loss with the HR face as target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lrfr.core.errors import SpecError
from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.nets import STAGES, Backbone, Nets
from lrfr.train.backbones.parts.reversible import InverseDecoder
from lrfr.train.heads.margins import HeadSpec
from lrfr.train.methods.base import Losses, Method, Parents, start_from


@dataclass(frozen=True, kw_only=True)
class QualNet(Method):
    """QualNet-LM: maps that decode into the HR face.

    Attributes:
        step: 1 trains recognizer and decoder on HR, 2 the recognizer on LR under the decoder.
        rec_weight: weight of the reconstruction.
        blocks: blocks of the decoder's stages, the last of which keeps the side; a map that is halved less
            often has fewer of the first.
        freeze_bn: step 2 keeps the scales and shifts of batch norms (statistics move).

    """

    unstated: ClassVar = {
        "rec_weight": "F-SKD's tables do not say; an unofficial code has 1",
        "blocks": "iRevNet-300; an unofficial code has 6, 16, 72, 6",
        "freeze_bn": "not stated; an unofficial code freezes them in step 2",
        "head": "the released F-SKD code has s 30, m 0.25",
    }

    head: HeadSpec = field(default_factory=lambda: HeadSpec("cosface", 30.0, 0.25))
    step: Literal[1, 2] = 1
    rec_weight: float = 1.0
    blocks: tuple[int, ...] = (6, 16, 72, 6)
    freeze_bn: bool = True

    def __post_init__(self) -> None:
        """Refuse a decoder without blocks."""
        if not self.blocks or min(self.blocks) < 1:
            raise SpecError(f"blocks must be positive, are {list(self.blocks)}")

    @property
    def published(self) -> str | None:
        """Step 1 is F-SKD's HR network "+Dec", step 2 QualNet-LM."""
        return "qualnet-step1" if self.step == 1 else None

    def needs(self) -> Mapping[str, str]:
        """Return step 1's role and method, for step 2."""
        return {"step1": "qualnet"} if self.step == 2 else {}

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return ``net``, ``head`` and ``decoder``; in step 2 they start as step 1's."""
        nets = super().build(num_classes, parents, attribute_names)
        stage, channels, halvings = decoded_map(nets["net"], self.input.size_px)
        blocks = (*self.blocks[: halvings - 1], self.blocks[-1])
        if len(blocks) != halvings:
            raise SpecError(
                f"blocks has {len(self.blocks)} stages; {stage} of {self.backbone} needs {halvings}"
            )
        nets["decoder"] = InverseDecoder(channels, blocks, stage)
        if self.step == 2:
            before = (parents or {}).get("step1")
            start_from(nets, before)
            if before is not None:
                nets["decoder"].load_state_dict(before["decoder"].state_dict())
            nets["decoder"].requires_grad_(False)
            if self.freeze_bn:
                for module in nets["net"].modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm):
                        module.requires_grad_(False)
        return nets

    def train_mode(self, nets: Nets) -> None:
        """Keep step 2's decoder in evaluation mode."""
        super().train_mode(nets)
        if self.step == 2:
            nets["decoder"].eval()

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total``, ``margin`` and ``reconstruction``."""
        seen = nets["net"].run(batch.hr_bchw if self.step == 1 else batch.lr_bchw, (nets["decoder"].stage,))
        margin = nets["head"](seen.embedding_bd, batch.label_b)
        face = nets["decoder"](seen.taps[0]).float().clamp(0, 1)
        reconstruction = (face - (batch.hr_bchw.float() + 1) / 2).abs().mean()
        return {
            "total": margin + self.rec_weight * reconstruction,
            "margin": margin,
            "reconstruction": reconstruction,
        }


def decoded_map(net: Backbone, size_px: int) -> tuple[str, int, int]:
    """Return the last stage whose map is the face halved some times: its name, channels and halvings.

    Raises:
        SpecError: the network has none.

    """
    net.eval()
    with torch.no_grad():
        taps = net.run(torch.zeros(1, 3, size_px, size_px)).taps
    net.train()
    return _of_taps(taps, size_px)


def _of_taps(taps: Sequence[Tensor], size_px: int) -> tuple[str, int, int]:
    for stage, tap in reversed(list(zip(STAGES, taps, strict=False))):
        side, halvings = size_px, 0
        while side > tap.shape[-1] and side % 2 == 0:
            side, halvings = side // 2, halvings + 1
        if side == tap.shape[-1] and halvings > 1:
            return stage, tap.shape[1], halvings
    raise SpecError(f"no stage of this backbone has a map of {size_px} px halved")
