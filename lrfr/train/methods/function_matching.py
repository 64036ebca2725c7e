"""Function matching: a student of small faces imitates a teacher's embedding of the sharp, aligned ones.

``L = mean_i w_i (1 - cos(s_i, t_i)) + c InfoNCE_w(s_i, t_i; queue)``: s_i is the student's embedding of the
LR face at the student's own side, t_i the teacher's of the HR face, kept once for all runs, so that no
teacher runs in training. Faces without identity and mixes of faces (source ``mixup``) teach as others do
(Beyer et al., CVPR 2022: the same picture, a very long training, mixes). Errors of alignment on the LR side
alone (op ``misalign``) leave the target where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from lrfr.core.errors import SpecError
from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.net_embedder import InputSpec
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.teacher import FrozenTeacher
from lrfr.train.losses.contrast import TeacherQueue
from lrfr.train.methods.base import Losses, Method, Parents, Wants


@dataclass(frozen=True, kw_only=True)
class FunctionMatching(Method):
    """Function matching: a student of small faces imitates the teacher's embedding of sharp ones.

    Attributes:
        contrast_weight: c; 0 has no contrast.
        contrast_scale: its inverse temperature.
        contrast_queue: how many of the teacher's faces it remembers; as many as there are, if memory allows.
        contrast_limit: entries that the teacher itself finds as alike as this are left out of the contrast
            (:class:`~lrfr.train.losses.contrast.TeacherQueue`).
        norm_power: p of the weights ``w_i = n_i^p / mean n^p``, n_i the norm of the teacher's embedding: a
            blurred, turned or mixed HR face, of which the teacher says little, has a small one. 0 weighs all
            alike.
        progressive_steps: in the first so many steps small faces begin larger: none is shown below a side
            that falls from the student's own to that of the smallest, evenly in its logarithm. 0 begins with
            all sizes.
        smallest_px: where it falls to.

    """

    backbone: str = "small-cnn"
    input: InputSpec = field(default_factory=lambda: InputSpec(14))
    contrast_weight: float = 0.5
    contrast_scale: float = 20.0
    contrast_queue: int = 16384
    contrast_limit: float = 0.5
    norm_power: float = 0.0
    progressive_steps: int = 0
    smallest_px: int = 7

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        positive = {
            "contrast_scale": self.contrast_scale,
            "contrast_queue": self.contrast_queue,
            "smallest_px": self.smallest_px,
        }
        bad = [f"{name} must be positive, is {value}" for name, value in positive.items() if value <= 0]
        least = {"contrast_weight": self.contrast_weight, "progressive_steps": self.progressive_steps}
        bad += [f"{name} must be 0 or more, is {value}" for name, value in least.items() if value < 0]
        if not 0 < self.contrast_limit <= 1:
            bad.append(f"contrast_limit must be above 0 and at most 1, is {self.contrast_limit}")
        if self.progressive_steps and self.smallest_px > self.input.size_px:
            bad.append(f"smallest_px {self.smallest_px} is above input.size_px {self.input.size_px}")
        if bad:
            raise SpecError("; ".join(bad))

    def needs(self) -> Mapping[str, str]:
        """Return the teacher's role and method."""
        return {"teacher": "baseline"}

    def wants(self) -> Mapping[str, Wants]:
        """Return what must agree; a start for another side of the input is fitted where that is possible,
        which is only tried.
        """
        return {"teacher": Wants(embedding=True, size=True)}

    @property
    def width_of(self) -> str:
        """The student's embedding has as many numbers as the teacher's."""
        return "teacher"

    @property
    def needs_identities(self) -> bool:
        """Labels only keep a person out of the own contrast."""
        return False

    @property
    def lr_px(self) -> int:
        """The student sees LR faces at its own side."""
        return self.input.size_px

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return ``net`` and the contrast's ``queue``, and the frozen ``teacher`` where a parent is given."""
        nets = super().build(0, parents, attribute_names)  # labels have no head
        if parents and "teacher" in parents:
            nets["teacher"] = FrozenTeacher(parents["teacher"]["net"])
        if self.contrast_weight:
            nets["queue"] = TeacherQueue(self.contrast_queue, nets["net"].emb_dim)
        return nets

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total`` and ``distill``, and ``contrast`` where it has a weight."""
        student_bd = nets["net"](self._shown(batch, step)).float()
        teacher_bd = nets["teacher"](batch.hr_bchw).float()
        weight_b = self._weights(teacher_bd)
        cosine_b = F.cosine_similarity(student_bd, teacher_bd)
        losses = {"distill": (weight_b * (1 - cosine_b)).sum() / weight_b.sum()}
        losses["total"] = losses["distill"]
        if self.contrast_weight:
            faces = (student_bd, teacher_bd, batch.label_b, self.contrast_scale)
            losses["contrast"] = nets["queue"](*faces, limit=self.contrast_limit, weight_b=weight_b)
            losses["total"] = losses["distill"] + self.contrast_weight * losses["contrast"]
        return losses

    def _weights(self, teacher_bd: Tensor) -> Tensor:
        """Return the weights of the faces; their mean is 1."""
        powers_b = teacher_bd.norm(dim=1).clamp_min(1e-6) ** self.norm_power
        weights_b: Tensor = powers_b / powers_b.mean()
        return weights_b

    def least_px(self, step: int) -> int:
        """Return the side below which no face is shown in a step; 0 for none."""
        if step >= self.progressive_steps:
            return 0
        side, share = self.input.size_px, step / self.progressive_steps
        return round(float(side * (self.smallest_px / side) ** share))

    def _shown(self, batch: Batch, step: int) -> Tensor:
        """Return the LR faces at the student's side, those that are too small for this step from their HR
        face.
        """
        least_px, x_bchw = self.least_px(step), _resized(batch.lr_bchw, self.input.size_px)
        if not least_px:
            return x_bchw
        # of all faces: to ask which are too small would let a GPU's host wait
        larger = _resized(_resized(batch.hr_bchw, least_px), self.input.size_px)
        return torch.where((batch.size_px_b < least_px)[:, None, None, None], larger, x_bchw)


def _resized(x_bchw: Tensor, side_px: int) -> Tensor:
    """Return images of another side by the antialiased bicubic filter; those of that side as they are."""
    if x_bchw.shape[-1] == side_px:
        return x_bchw
    return F.interpolate(
        x_bchw.float(), (side_px, side_px), mode="bicubic", antialias=True, align_corners=False
    ).clamp(-1, 1)
