"""Margin softmax heads, written to be stable and differentiable at cos = +-1.

A :class:`Margin` says what the target's and the other classes' cosines become; the :class:`Head` owns the
class weights and turns embeddings into logits and a loss; :mod:`lrfr.train.heads.partial_fc` shards the same
head over processes. Angular margins are in radians, additive cosine margins are plain cosines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.registry import Registry
from lrfr.train.backbones.features import full_precision
from lrfr.train.heads.exchange import observe_all, observe_everywhere, share_of_rows
from lrfr.train.heads.margin_kinds import (
    AdaFace,
    ArcFace,
    CosFace,
    CurricularFace,
    Margin,
    Softmax,
    add_angle,
    mean_of,
    rows_cost_nothing,
)

__all__ = [
    "INITS",
    "MARGINS",
    "AdaFace",
    "ArcFace",
    "CosFace",
    "CurricularFace",
    "Head",
    "HeadSpec",
    "Margin",
    "Softmax",
    "add_angle",
    "classify",
    "mean_of",
    "rows_cost_nothing",
]

_NO_IDENTITY = -1

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
        if not rows_cost_nothing(labels_b):
            return self._whole(embedding_bd, labels_b, known_b)
        if bool(known_b.all()):
            return self._with_margin(embedding_bd, labels_b, known_b)
        plain_bc = self.margin.scale * self.cosine(embedding_bd)
        told = self._with_margin(embedding_bd[known_b], labels_b[known_b], known_b)
        return plain_bc.index_copy(0, known_b.nonzero().squeeze(1), told)

    def _whole(self, embedding_bd: Tensor, labels_b: Tensor, known_b: Tensor) -> Tensor:
        """Return the logits of all rows, of which some may have no identity; no row is chosen."""
        cos_bc, place_b1 = self.cosine(embedding_bd), labels_b.clamp(min=0)[:, None]
        cos_b = cos_bc.gather(1, place_b1).squeeze(1)
        norm_b = embedding_bd.detach().norm(dim=1).to(cos_b.dtype)
        if self.training:
            observe_all(self.margin, cos_b.detach(), norm_b, known_b)
        target_b1 = self.margin.target(cos_b, norm_b)[:, None]
        told_bc = self.margin.others(cos_bc, cos_b.detach()).scatter(1, place_b1, target_b1)
        return self.margin.scale * torch.where(known_b[:, None], told_bc, cos_bc)

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
        if not rows_cost_nothing(labels_b):
            return classify(self._whole(embedding_bd, labels_b, known_b), labels_b)
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
    if not rows_cost_nothing(labels_b):
        loss = F.cross_entropy(logits_bc, labels_b, ignore_index=_NO_IDENTITY, reduction="sum")
        return loss / known_b.sum().clamp(min=1) * share
    if not bool(known_b.any()):
        return logits_bc.sum() * 0.0  # every weight still gets a gradient, which processes wait for
    return F.cross_entropy(logits_bc, labels_b, ignore_index=_NO_IDENTITY) * share
