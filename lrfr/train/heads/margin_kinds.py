"""What a margin makes of the cosines of targets and of other classes, and the statistics that it keeps."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

_EPS = 1e-7  # float32 resolves cosines near 1 to 6e-8; closer, the root's derivative overflows


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

    def observe_known(self, cos_b: Tensor, norm_b: Tensor, known_b: Tensor) -> None:
        """Update them by the rows that have an identity, others among them: :meth:`observe` of those. Margins
        with statistics overwrite it to spare a GPU the choice of rows, for which the host would wait.
        """
        if any(True for _ in self.buffers()) and bool(known_b.any()):
            self.observe(cos_b[known_b], norm_b[known_b])

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


def mean_of(x_b: Tensor, known_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over the known rows, 0 where there are none, and their number; both stay on the
    device.
    """
    count = known_b.sum().to(x_b.dtype)
    return torch.where(known_b, x_b, torch.zeros_like(x_b)).sum() / count.clamp(min=1), count


def rows_cost_nothing(x: Tensor) -> bool:
    """Return whether the host may choose rows by their values: a GPU would have to finish its work first."""
    return x.device.type == "cpu"


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

    def observe_known(self, cos_b: Tensor, norm_b: Tensor, known_b: Tensor) -> None:
        """Move ``t`` by the rows that have an identity; without any it stays."""
        if self.update_t:
            mean, count = mean_of(cos_b, known_b)
            moved = self.t * self.momentum + mean * (1 - self.momentum)
            self.t.copy_(torch.where(count > 0, moved, self.t))

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

    def observe_known(self, cos_b: Tensor, norm_b: Tensor, known_b: Tensor) -> None:
        """Move them by the rows that have an identity."""
        norm_b = norm_b.clamp(1e-3, 100)
        mean, count = mean_of(norm_b, known_b)
        squares = torch.where(known_b, (norm_b - mean).square(), torch.zeros_like(norm_b)).sum()
        std = (squares / (count - 1).clamp(min=1)).sqrt()
        for own, seen, least in ((self.batch_mean, mean, 1), (self.batch_std, std, 2)):
            own.copy_(torch.where(count >= least, own.lerp(seen.to(own.dtype), self.t_alpha), own))

    def target(self, cos_b: Tensor, norm_b: Tensor) -> Tensor:
        """Turn by ``-m z`` and subtract ``m + m z``, z the clipped standardized norm."""
        z_b = (norm_b.detach().clamp(1e-3, 100) - self.batch_mean) / (self.batch_std + 1e-3) * self.h
        z_b = z_b.clamp(-1, 1)
        theta_b = torch.acos(cos_b.clamp(-1 + 1e-3, 1 - 1e-3)) - self.margin * z_b
        return torch.cos(theta_b.clamp(1e-3, math.pi - 1e-3)) - (self.margin + self.margin * z_b)
