"""Margin softmax heads, written to be stable and differentiable at cos = +-1.

A :class:`Margin` says what the target's and the other classes' cosines become; the :class:`Head` owns the
class weights and turns embeddings into logits and a loss; :mod:`lrfr.train.heads.partial_fc` shards the same
head over processes. Angular margins are in radians, additive cosine margins are plain cosines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.registry import Registry
from lrfr.train.backbones.features import full_precision
from lrfr.train.heads.exchange import observe_everywhere, share_of_rows

_EPS = 1e-7  # float32 resolves cosines near 1 to 6e-8; closer, the root's derivative overflows
_NO_IDENTITY = -1


class Margin(nn.Module):
    """Normalized softmax with scale ``s`` and no margin; the base of the others.

    ``revision`` is raised by hand when a margin's loss moves for the same constants.

    Args:
        scale: s, the inverse temperature of the logits.
        margin: m, 0 here.

    """

    revision: ClassVar[int] = 1
    normalized: ClassVar[bool] = True

    def __init__(self, scale: float = 64.0, margin: float = 0.0) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin

    def observe(self, cos_b: Tensor, norm_b: Tensor) -> None:
        """Update running statistics (training mode only); no gradient flows here."""

    def target(self, cos_b: Tensor, norm_b: Tensor) -> Tensor:
        """Return the target class's cosine with its margin, [B]."""
        return cos_b

    def others(self, cos_bc: Tensor, cos_target_b: Tensor) -> Tensor:
        """Return the non-target cosines [B, C] (entries of the target class are ignored by the caller)."""
        return cos_bc


class Softmax(Margin):
    """Plain linear softmax: neither embeddings nor weights are normalized (digits and the oldest
    baselines).
    """

    normalized: ClassVar[bool] = False

    def __init__(self, scale: float = 1.0, margin: float = 0.0) -> None:
        super().__init__(scale, margin)


class CosFace(Margin):
    """``s (cos theta_y - m)`` (Wang et al., CVPR 2018, Eq. 4); ``margin`` is a cosine."""

    def target(self, cos_b: Tensor, norm_b: Tensor) -> Tensor:
        """Subtract the margin."""
        return cos_b - self.margin


def add_angle(cos_b: Tensor, margin_rad: float) -> Tensor:
    """Return ``cos(theta + m)``; beyond ``theta = pi - m`` the monotone continuation ``cos theta - m sin(pi -
    m)``.

    The cosine is clamped before the square root: its derivative is infinite at +-1.
    """
    clamped = cos_b.clamp(-1 + _EPS, 1 - _EPS)
    turned = clamped * math.cos(margin_rad) - torch.sqrt(1 - clamped * clamped) * math.sin(margin_rad)
    return torch.where(
        cos_b > math.cos(math.pi - margin_rad), turned, cos_b - margin_rad * math.sin(math.pi - margin_rad)
    )


class ArcFace(Margin):
    """``s cos(theta_y + m)`` (Deng et al., CVPR 2019, Eq. 3), with the true gradient; ``margin`` in
    radians.
    """

    def target(self, cos_b: Tensor, norm_b: Tensor) -> Tensor:
        """Add the angular margin."""
        return add_angle(cos_b, self.margin)


class CurricularFace(Margin):
    """ArcFace whose hard negatives are weighted by ``t + cos`` (Huang et al., CVPR 2020, Eq. 10-12).

    ``t`` is the running mean of the target cosine: a buffer, kept in checkpoints. With ``update_t`` off it
    stays as loaded (BCT).
    """

    def __init__(
        self, scale: float = 64.0, margin: float = 0.5, momentum: float = 0.99, update_t: bool = True
    ) -> None:
        super().__init__(scale, margin)
        self.momentum, self.update_t = momentum, update_t
        self.t: Tensor
        self.register_buffer("t", torch.zeros(()))

    def observe(self, cos_b: Tensor, norm_b: Tensor) -> None:
        """Move ``t`` towards the batch's mean target cosine."""
        if self.update_t:
            # Eq. 12: t follows r, the batch's mean target cosine
            self.t.mul_(self.momentum).add_(cos_b.mean() * (1 - self.momentum))

    def target(self, cos_b: Tensor, norm_b: Tensor) -> Tensor:
        """Add the angular margin."""
        return add_angle(cos_b, self.margin)

    def others(self, cos_bc: Tensor, cos_target_b: Tensor) -> Tensor:
        """Weight the negatives that exceed the target after its margin."""
        clamped = cos_target_b.clamp(-1 + _EPS, 1 - _EPS)
        turned = clamped * math.cos(self.margin) - torch.sqrt(1 - clamped * clamped) * math.sin(self.margin)
        return torch.where(cos_bc > turned[:, None], cos_bc * (self.t.clone() + cos_bc), cos_bc)


class AdaFace(Margin):
    """Margins that follow image quality, read from the feature norm (Kim et al., CVPR 2022, Eq. 14-17).

    ``batch_mean`` and ``batch_std`` are running statistics of the norms (buffers); ``t_alpha`` is their
    update rate, 1 for the batch's own statistics as CATFace prints.
    """

    def __init__(
        self, scale: float = 64.0, margin: float = 0.4, h: float = 0.333, t_alpha: float = 0.01
    ) -> None:
        super().__init__(scale, margin)
        self.h, self.t_alpha = h, t_alpha
        self.batch_mean: Tensor
        self.batch_std: Tensor
        # where the released code starts; after some 100 batches of t_alpha 0.01 the start is forgotten
        self.register_buffer("batch_mean", torch.full((), 20.0))
        self.register_buffer("batch_std", torch.full((), 100.0))

    def observe(self, cos_b: Tensor, norm_b: Tensor) -> None:
        """Move the running mean and (unbiased) deviation of the clipped norms; one sample alone has no
        deviation.
        """
        norm_b = norm_b.clamp(1e-3, 100)  # the released code's range; AdaFace states none
        self.batch_mean.lerp_(norm_b.mean(), self.t_alpha)
        if norm_b.numel() > 1:
            self.batch_std.lerp_(norm_b.std(), self.t_alpha)

    def target(self, cos_b: Tensor, norm_b: Tensor) -> Tensor:
        """Turn by ``-m z`` and subtract ``m + m z``, z the clipped standardized norm."""
        z_b = (norm_b.detach().clamp(1e-3, 100) - self.batch_mean) / (self.batch_std + 1e-3) * self.h
        z_b = z_b.clamp(-1, 1)
        theta_b = torch.acos(cos_b.clamp(-1 + 1e-3, 1 - 1e-3)) - self.margin * z_b
        return torch.cos(theta_b.clamp(1e-3, math.pi - 1e-3)) - (self.margin + self.margin * z_b)


MARGINS: Registry[type[Margin]] = Registry(
    "head",
    "lrfr.heads",
    {
        "softmax": Softmax,
        "cosface": CosFace,
        "arcface": ArcFace,
        "adaface": AdaFace,
        "curricularface": CurricularFace,
    },
)

INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier": nn.init.xavier_uniform_,
    "normal": lambda weight: nn.init.normal_(weight, 0.0, 0.01),  # arcface_torch and CurricularFace
    "uniform": lambda weight: nn.init.uniform_(weight, -1, 1),
}


@dataclass(frozen=True)
class HeadSpec:
    """Which margin with which constants.

    Attributes:
        kind: a name of :data:`MARGINS`.
        scale: s.
        margin: m; radians for arcface, curricularface and adaface, a cosine for cosface.
        init: how the class weights start, a name of :data:`INITS`.
        t_alpha: update rate of AdaFace's norm statistics (1 = the batch's own).
        update_t: let CurricularFace's t move.

    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    kind: str = "cosface"
    scale: float = 64.0
    margin: float = 0.4
    init: str = "xavier"
    t_alpha: float = 0.01
    update_t: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        for name, table in ((self.kind, MARGINS), (self.init, INITS)):
            if name not in table:
                raise SpecError(f"unknown name '{name}' in a head", hint=did_you_mean(name, table))

    def build_margin(self) -> Margin:
        """Return the margin module."""
        extras: dict[str, dict[str, Any]] = {
            "adaface": {"t_alpha": self.t_alpha},
            "curricularface": {"update_t": self.update_t},
        }
        return MARGINS[self.kind](self.scale, self.margin, **extras.get(self.kind, {}))

    def build(self, emb_dim: int, num_classes: int) -> Head:
        """Return a head for ``num_classes`` identities."""
        return Head(self.build_margin(), emb_dim, num_classes, self.init)


class Head(nn.Module):
    """Class weights [C, D] and a margin: embeddings and labels to logits, or to the mean cross-entropy."""

    def __init__(self, margin: Margin, emb_dim: int, num_classes: int, init: str = "xavier") -> None:
        super().__init__()
        self.margin = margin
        self.weight = nn.Parameter(INITS[init](torch.empty(num_classes, emb_dim)))

    def cosine(self, embedding_bd: Tensor) -> Tensor:
        """Return the cosines to every class [B, C] (plain products for :class:`Softmax`), in float32."""
        with full_precision(embedding_bd):
            emb = embedding_bd.float() if embedding_bd.dtype != torch.float64 else embedding_bd
            if not self.margin.normalized:
                return F.linear(emb, self.weight)
            return F.linear(F.normalize(emb), F.normalize(self.weight)).clamp(-1, 1)

    def logits(self, embedding_bd: Tensor, labels_b: Tensor) -> Tensor:
        """Return scaled logits with the margin on each row's target, [B, C]; a row without an identity
        (label < 0) has no target, and so no margin.
        """
        known_b = labels_b >= 0
        if bool(known_b.all()):
            return self._with_margin(embedding_bd, labels_b, known_b)
        plain_bc = self.margin.scale * self.cosine(embedding_bd)
        told = self._with_margin(embedding_bd[known_b], labels_b[known_b], known_b)
        return plain_bc.index_copy(0, known_b.nonzero().squeeze(1), told)

    def _with_margin(self, embedding_bd: Tensor, labels_b: Tensor, known_b: Tensor) -> Tensor:
        """Return logits of rows that have an identity; ``known_b`` says which rows of the batch they are."""
        # gathered before the margin: the running statistics see plain cosines
        cos_bc = self.cosine(embedding_bd)
        cos_b = cos_bc.gather(1, labels_b[:, None]).squeeze(1)
        norm_b = embedding_bd.detach().norm(dim=1).to(cos_b.dtype)
        if self.training:
            observe_everywhere(self.margin, cos_b.detach(), norm_b, known_b)
        target_b = self.margin.target(cos_b, norm_b)
        others_bc = self.margin.others(cos_bc, cos_b.detach())
        return self.margin.scale * others_bc.scatter(1, labels_b[:, None], target_b[:, None])

    def forward(self, embedding_bd: Tensor, labels_b: Tensor) -> Tensor:
        """Return the mean cross-entropy over the rows that have an identity (label >= 0), such that its mean
        over processes is that over all rows.
        """
        known_b = labels_b >= 0
        if not bool(known_b.any()):
            return self._nothing(embedding_bd, known_b)
        if not bool(known_b.all()):
            embedding_bd, labels_b = embedding_bd[known_b], labels_b[known_b]
        logits_bc = self._with_margin(embedding_bd, labels_b, known_b)
        return F.cross_entropy(logits_bc, labels_b) * share_of_rows(known_b)

    def _nothing(self, embedding_bd: Tensor, known_b: Tensor) -> Tensor:
        """Return 0 where no row has an identity; the other processes' rows count for the statistics."""
        if self.training:
            none = embedding_bd.new_zeros(0)
            observe_everywhere(self.margin, none, none, known_b)
        share_of_rows(known_b)
        # every weight still gets a gradient, which processes wait for
        return self.cosine(embedding_bd).sum() * 0.0


def classify(logits_bc: Tensor, labels_b: Tensor) -> Tensor:
    """Return the mean cross-entropy over the rows that have an identity (label >= 0), weighted as
    :meth:`Head.forward`'s; 0 where none has.
    """
    known_b = labels_b >= 0
    share = share_of_rows(known_b)
    if not bool(known_b.any()):
        return logits_bc.sum() * 0.0  # every weight still gets a gradient, which processes wait for
    return F.cross_entropy(logits_bc, labels_b, ignore_index=_NO_IDENTITY) * share
