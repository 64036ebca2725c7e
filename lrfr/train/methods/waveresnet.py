"""WaveResNet: cross-resolution distillation into a network that halves maps by wavelets.

``L = ArcFace(student(LR)) + lambda1 * T^2 KL(teacher logits || student logits) + lambda2 * sum_k
MSE(LL(z_H^k), LL(z_L^k))`` with z^1 and z^2 the outputs of the first two stages; the teacher is a plain
ResNet on the HR face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.parts.connector import Connector, Kind
from lrfr.train.backbones.table import build_backbone
from lrfr.train.heads.margins import Head, HeadSpec, classify
from lrfr.train.losses.distances import kl, wavelet_similarity
from lrfr.train.methods.base import Losses, Method, Parents, Wants, freeze_teacher, start_from

_TAPS = ("layer1", "layer2")


@dataclass(frozen=True, kw_only=True)
class WaveResNet(Method):
    """WaveResNet: logits and wavelet bands of an HR teacher.

    Attributes:
        wavelet: pywavelets name of the filter: of the similarity, and of the down-sampling where ``backbone``
            is a ``wave-`` one.
        temperature: T of the logit distillation.
        lambda1: weight of the logit distillation (paper: 1).
        lambda2: weight of the wavelet similarity (paper: 0.05).
        logits: compare logits with margin and scale, or scaled cosines.
        wavesim: element ``mean`` or per-sample ``sum`` of the squared difference.
        connector: layers between the first two maps of student and teacher, where their widths differ
            (:class:`~lrfr.train.backbones.parts.connector.Connector`); they learn with the student.

    """

    unstated: ClassVar = {
        "head": "the paper states ArcFace without s and m; FaceX-Zoo, whose recipe it shares, has s 32, m "
        "0.35",
        "wavelet": "not stated; WaveCNet's example uses bior3.3",
        "temperature": "not stated; FaceX-Zoo 4",
        "logits": "'including classification layers'; FaceX-Zoo's carry margin and scale",
        "wavesim": "printed both as a squared norm and as an MSE",
    }

    backbone: str = "wave-iresnet50"
    head: HeadSpec = field(default_factory=lambda: HeadSpec("arcface", 32.0, 0.35))
    wavelet: str = "haar"
    temperature: float = 4.0  # FaceX-Zoo, whose recipe the paper shares
    lambda1: float = 1.0
    lambda2: float = 0.05  # section III
    logits: Literal["margin", "cosine"] = "margin"
    wavesim: Literal["mean", "sum"] = "mean"
    connector: Kind = "none"

    def needs(self) -> Mapping[str, str]:
        """Return the teacher's role and method."""
        return {"teacher": "baseline"}

    def wants(self) -> Mapping[str, Wants]:
        """Return what must agree where no connector makes up for it."""
        maps = len(_TAPS) if self.connector == "none" else 0
        return {**super().wants(), "teacher": Wants(maps=maps, head=True, classes=True, size=True)}

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return ``net`` and ``head``, and the frozen ``teacher`` and ``teacher_head`` where a parent is
        given.
        """
        parents = parents or {}
        # a backbone without wavelets stays one: the plain twin that the paper compares with
        net = build_backbone(
            self.backbone, **({"wavelet": self.wavelet} if self.backbone.startswith("wave-") else {})
        )
        nets = Nets({"net": net, "head": self.head.build(net.emb_dim, num_classes)})
        start_from(nets, parents.get("init"))
        teacher = parents.get("teacher")
        freeze_teacher(nets, teacher)
        if self.connector != "none" and teacher is not None:
            nets["connector"] = Connector(self.connector, net, teacher["net"], maps=len(_TAPS), embeds=False)
        return nets

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total``, ``margin``, ``kd`` and ``wavelet``."""
        student = nets["net"].run(batch.lr_bchw, _TAPS)
        teacher = nets["teacher"].run(batch.hr_bchw, _TAPS)
        with_margin_bc = nets["head"].logits(student.embedding_bd, batch.label_b)
        margin = classify(with_margin_bc, batch.label_b)
        student_bc = (
            with_margin_bc
            if self.logits == "margin"
            else self._logits(nets["head"], student.embedding_bd, batch.label_b)
        )
        # a teacher that is wrapped to stay frozen has its head one level deeper
        teacher_bc = self._logits(nets["teacher_head"].net, teacher.embedding_bd, batch.label_b)
        kd = kl(student_bc, teacher_bc, self.temperature)
        alike = nets["connector"](student, teacher) if "connector" in nets else student
        pairs = zip(alike.taps, teacher.taps, strict=True)
        parts = [wavelet_similarity(s, t, self.wavelet, self.wavesim) for s, t in pairs]
        wavelet = sum(parts[1:], parts[0])
        return {
            "total": margin + self.lambda1 * kd + self.lambda2 * wavelet,
            "margin": margin,
            "kd": kd,
            "wavelet": wavelet,
        }

    def _logits(self, head: Head, embedding_bd: Tensor, label_b: Tensor) -> Tensor:
        if self.logits == "margin":
            return head.logits(embedding_bd, label_b)
        return head.margin.scale * head.cosine(embedding_bd)
