"""F-SKD: feature-similarity distillation (Shin et al., 2023).

``L = CosFace(student(LR)) + lambda * mean over layer1..4 of (1 - cos(flat f_T, flat f_S))``: the teacher sees
the HR face, the student the LR face of the same pair and flip. Other distances of
:data:`~lrfr.train.losses.distances.DISTANCES` give the baselines of its tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from torch import Tensor

from lrfr.core.errors import SpecError
from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.features import Features
from lrfr.train.backbones.nets import STAGES, Nets
from lrfr.train.backbones.parts.connector import Connector, Kind
from lrfr.train.heads.margins import Head, HeadSpec, classify
from lrfr.train.losses.contrast import TeacherQueue
from lrfr.train.losses.distances import DISTANCES, usual_weight
from lrfr.train.methods.base import Losses, Method, Parents, Wants, freeze_teacher, revision_of

_PUBLISHED = {"cosine": "fskd", "norm": "norm-kd", "askd": "a-skd"}


@dataclass(frozen=True, kw_only=True)
class Fskd(Method):
    """F-SKD: features of an HR teacher, cosine over four stages.

    Attributes:
        lambda_: weight of the distillation (written ``lambda`` in recipes); without it the distance's own
            (:data:`~lrfr.train.losses.distances.DISTANCES`): for F-SKD's cosine 5 as in the paper, 20 in the
            code of its time.
        distance: a name of :data:`~lrfr.train.losses.distances.DISTANCES`.
        margin_weight: weight of the margin; 0 is distillation alone, which needs no labels.
        logits: what ``distance: kl`` compares: logits with the margin, or scaled cosines without.
        contrast_weight: weight of a contrast with the teacher's faces of other people
            (:mod:`lrfr.train.losses.contrast`); 0 has none.
        contrast_scale: its inverse temperature.
        contrast_queue: how many of the teacher's faces it remembers.
        connector: layers between student and teacher of other widths
            (:class:`~lrfr.train.backbones.parts.connector.Connector`); they learn with the student.

    """

    unstated: ClassVar = {
        "head": "the paper states CosFace without s and m; the released code of its time has s 30, m 0.25",
        "lambda": "paper 5, released script 20",
        "backbone": "paper iResNet50; the released code ends it in a global average pool (iresnet50-gap)",
    }

    head: HeadSpec = field(default_factory=lambda: HeadSpec("cosface", 30.0, 0.25))
    lambda_: float | None = None
    distance: str = "cosine"
    margin_weight: float = 1.0
    logits: Literal["margin", "cosine"] = "margin"
    contrast_weight: float = 0.0
    contrast_scale: float = 20.0  # ours; MoCo has 1/0.07, that is 14
    contrast_queue: int = 8192
    connector: Kind = "none"

    def __post_init__(self) -> None:
        """Refuse a contrast that cannot work; take the distance's weight where none is given."""
        if self.lambda_ is None and self.distance in DISTANCES:
            object.__setattr__(self, "lambda_", usual_weight(self.distance))
        if self.contrast_weight < 0 or self.contrast_scale <= 0 or self.contrast_queue < 1:
            raise SpecError(
                "contrast_weight must be 0 or more, contrast_scale and contrast_queue positive; they are "
                f"{self.contrast_weight}, {self.contrast_scale} and {self.contrast_queue}"
            )

    def needs(self) -> Mapping[str, str]:
        """Return the teacher's role and method."""
        return {"teacher": "baseline"}

    def wants(self) -> Mapping[str, Wants]:
        """Return what must agree where no connector makes up for it."""
        plain, kl = self.connector == "none", self.distance == "kl"
        embedding = self.distance == "embedding" or self.contrast_weight > 0
        maps = len(STAGES) if self.distance in {"cosine", "fitnet", "norm"} else 0
        teacher = Wants(
            maps=maps if plain else 0, embedding=embedding and plain, head=kl, classes=kl, size=True
        )
        return {**super().wants(), "teacher": teacher}

    def revisions(self) -> Mapping[str, int]:
        """Add the distance's; a margin's statistics move once a step since their second."""
        own = {"statistics": 2} if self._with_statistics else {}
        return {**super().revisions(), "distance": revision_of(DISTANCES[self.distance]), **own}

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return ``net`` and ``head``, and the frozen ``teacher`` and ``teacher_head`` where a parent is
        given.
        """
        DISTANCES[self.distance]  # refused here, before anything is built
        nets = super().build(num_classes, parents, attribute_names)
        teacher = (parents or {}).get("teacher")
        freeze_teacher(nets, teacher)
        if self.connector != "none" and teacher is not None:
            nets["connector"] = Connector(self.connector, nets["net"], teacher["net"])
        if self.contrast_weight:
            # it holds the teacher's; a checkpoint is embedded with without either
            width = teacher["net"].emb_dim if "connector" in nets and teacher else nets["net"].emb_dim
            nets["queue"] = TeacherQueue(self.contrast_queue, width)
        return nets

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total``, ``margin`` and ``distill``, and ``contrast`` where it has a weight."""
        taps = STAGES if getattr(DISTANCES[self.distance], "maps", True) else ()
        student = nets["net"].run(batch.lr_bchw, taps)
        teacher = nets["teacher"].run(batch.hr_bchw, taps)
        if self.distance == "kl":
            student = self._with_logits(student, nets["head"], batch.label_b)
            teacher = self._with_logits(teacher, nets["teacher_head"].net, batch.label_b)
        elif self.distance in {"askd", "self-attention"} and not student.attention:
            raise SpecError(
                f"distance '{self.distance}' needs a backbone with attention",
                hint="use a '-cbam' backbone for teacher and student",
            )
        margin = self._margin(nets, student, batch.label_b)
        alike = nets["connector"](student, teacher) if "connector" in nets else student
        distill = DISTANCES[self.distance](alike, teacher)
        assert self.lambda_ is not None
        losses = {
            "total": self.margin_weight * margin + self.lambda_ * distill,
            "margin": margin,
            "distill": distill,
        }
        if self.contrast_weight:
            losses["contrast"] = nets["queue"](
                alike.embedding_bd, teacher.embedding_bd, batch.label_b, self.contrast_scale
            )
            losses["total"] = losses["total"] + self.contrast_weight * losses["contrast"]
        return losses

    def _margin(self, nets: Nets, student: Features, label_b: Tensor) -> Tensor:
        """Return the margin's loss; 0 where it has no weight and the view no identities for a head."""
        if "head" not in nets and not self.margin_weight:
            return student.embedding_bd.sum() * 0.0
        if self._with_statistics and student.logits_bc is not None:
            # a second look at the batch would let the margin's statistics move twice in a step
            return classify(student.logits_bc, label_b)
        margin: Tensor = nets["head"](student.embedding_bd, label_b)
        return margin

    @property
    def _with_statistics(self) -> bool:
        """Whether ``kl`` compares logits of a margin that follows the batches by running statistics."""
        kept = any(True for _ in self.head.build_margin().buffers())
        return self.distance == "kl" and self.logits == "margin" and kept

    @property
    def needs_identities(self) -> bool:
        """Whether the losses need labels: the margin does, and logits are of classes."""
        return bool(self.margin_weight) or self.distance == "kl"

    @property
    def published(self) -> str | None:
        """F-SKD's tables compare with the distances of others; a distance that they have not is no row."""
        return _PUBLISHED.get(self.distance, self.distance)

    def _with_logits(self, features: Features, head: Head, label_b: Tensor) -> Features:
        emb = features.embedding_bd
        logits = (
            head.logits(emb, label_b) if self.logits == "margin" else head.margin.scale * head.cosine(emb)
        )
        return replace(features, logits_bc=logits)
