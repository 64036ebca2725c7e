"""What "the student should be like the teacher" means: one function a distance, one table.

Every entry of :data:`DISTANCES` takes the student's and the teacher's
:class:`~lrfr.train.backbones.features.Features` and returns a scalar. The functions above the table work on
plain tensors, in float32 whatever the networks computed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lrfr.core.registry import Registry
from lrfr.train.backbones.features import Features
from lrfr.train.backbones.parts.wavelet import dwt_ll, low_pass


def _flat(x: Tensor) -> Tensor:
    x = x.flatten(1)
    return x if x.dtype == torch.float64 else x.float()


def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the batch mean of ``1 - cos`` over everything but the batch, flattened (F-SKD, Eq. 3)."""
    return (1 - F.cosine_similarity(_flat(student), _flat(teacher))).mean()


def fitnet(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference over all elements (FitNets, Romero et al., ICLR 2015)."""
    return F.mse_loss(_flat(student), _flat(teacher))


def norm(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of the per-sample L2 norms (F-SKD, Table 4)."""
    return F.mse_loss(_flat(student).norm(dim=1), _flat(teacher).norm(dim=1))


def attention_map(x_bchw: Tensor, kind: str = "sq") -> Tensor:
    """Return the spatial attention map [B, H*W]: ``mean``, ``sq`` (mean of squares) or ``sum`` over
    channels.
    """
    x_bchw = x_bchw if x_bchw.dtype == torch.float64 else x_bchw.float()
    reduced = {
        "mean": lambda: x_bchw.mean(1),
        "sq": lambda: x_bchw.square().mean(1),
        "sum": lambda: x_bchw.sum(1),
    }[kind]()
    return reduced.flatten(1)


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of L2-normalized attention maps (Zagoruyko & Komodakis, ICLR 2017,
    their code's form).
    """
    return F.mse_loss(F.normalize(attention_map(student)), F.normalize(attention_map(teacher)))


def kl(student_bc: Tensor, teacher_bc: Tensor, temperature: float = 4.0) -> Tensor:
    """Return ``T^2 KL(softmax(teacher / T) || softmax(student / T))``, mean over the batch (Hinton et al.,
    2015).
    """
    student_log = F.log_softmax(_flat(student_bc) / temperature, dim=1)
    teacher_log = F.log_softmax(_flat(teacher_bc) / temperature, dim=1)
    # T^2 keeps the gradient's size when T changes (Hinton et al., section 2)
    return F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True) * temperature**2


def _pairwise(x_bd: Tensor) -> Tensor:
    """Return L2 distances [B, B] divided by their mean over the non-zero ones; the gradient at zero distance
    is zero.
    """
    # the root has no derivative at zero, and the diagonal is zero: it is left out before the root
    squared = (x_bd[:, None] - x_bd[None]).square().sum(2)
    apart = squared > 0
    distance = torch.where(
        apart, torch.where(apart, squared, torch.ones_like(squared)).sqrt(), torch.zeros_like(squared)
    )
    return distance / (distance.sum() / apart.sum().clamp(min=1)).clamp(min=1e-12)


def _angles(x_bd: Tensor) -> Tensor:
    """Return the cosines of the angles at each anchor, [B, B, B]."""
    unit = F.normalize(x_bd[None] - x_bd[:, None], dim=2)
    return unit @ unit.transpose(1, 2)


def rkd(
    student_bd: Tensor, teacher_bd: Tensor, distance_weight: float = 1.0, angle_weight: float = 2.0
) -> Tensor:
    """Return relational distillation: smooth-L1 on normalized pairwise distances and on triplet angles (Park
    et al., CVPR 2019).
    """
    student_bd, teacher_bd = _flat(student_bd), _flat(teacher_bd)
    by_distance = F.smooth_l1_loss(_pairwise(student_bd), _pairwise(teacher_bd))
    by_angle = F.smooth_l1_loss(_angles(student_bd), _angles(teacher_bd))
    return distance_weight * by_distance + angle_weight * by_angle


def wavelet_similarity(
    student: Tensor, teacher: Tensor, wavelet: str = "haar", reduction: str = "mean"
) -> Tensor:
    """Return the squared difference of the LL bands (WaveResNet): element ``mean``, or ``sum`` a sample, mean
    over the batch.
    """
    taps = low_pass(wavelet)
    difference = _flat(dwt_ll(student.float() if student.dtype != torch.float64 else student, taps)) - _flat(
        dwt_ll(teacher.float() if teacher.dtype != torch.float64 else teacher, taps)
    )
    return difference.square().mean() if reduction == "mean" else difference.square().sum(1).mean()


def logexp(student_bd: Tensor, teacher_bd: Tensor, p: float = 1.0, reduction: str = "paper") -> Tensor:
    """Return the LogExp distance ``1/(p D) log(1 + sum_d (exp(|x_d - y_d|^p) - 1))`` (MAug, Eq. 5; with p 1
    Eq. 3).

    ``paper`` is per sample, mean over the batch; ``official`` is the released code's single log over the
    whole batch, divided by p and by the batch size instead of by D.
    """
    # expm1 and log1p: the gap of two unit vectors is small, and exp(x) - 1 would lose its digits
    terms = torch.expm1((_flat(student_bd) - _flat(teacher_bd)).abs() ** p)
    if reduction == "official":
        return torch.log1p(terms.sum()) / p / terms.shape[0]
    return (torch.log1p(terms.sum(1)) / (p * terms.shape[1])).mean()


def mse(student: Tensor, teacher: Tensor, reduction: str = "mean") -> Tensor:
    """Return the squared difference: element ``mean``, or ``batch``, the mean over the batch of each sample's
    sum (BTNet, Eq. 2).
    """
    squared = (_flat(student) - _flat(teacher)).square()
    return squared.mean() if reduction == "mean" else squared.sum(1).mean()


def attention_pair(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """Return ``2 - cos - cos`` of a pair of attention tensors (CATFace, Eq. 11-12)."""
    return cosine(student[0], teacher[0]) + cosine(student[1], teacher[1])


# at 5, the weight of F-SKD, its gradient is some thousand times the margin's
NORM_WEIGHT = 0.001

Compare = Callable[[Features, Features], Tensor]


@dataclass(frozen=True)
class Distance:
    """An entry of :data:`DISTANCES`.

    Attributes:
        compare: student's and teacher's features to a scalar.
        help: one line for listings.
        weight: lambda where nobody sets one.
        source: of the weight.
        revision: raised by hand when the scalar moves for the same features.
        maps: whether it compares feature maps or attention; one that compares embeddings or logits alone
            works with teachers that give nothing else, and with teachers whose embeddings are kept.

    """

    compare: Compare
    help: str
    revision: int = 1
    weight: float = 5.0
    source: str = "F-SKD, section 4.3"
    maps: bool = True

    def __call__(self, student: Features, teacher: Features) -> Tensor:
        """Return the distance as a scalar."""
        return self.compare(student, teacher)


def _mean_over_taps(of_pair: Callable[[Tensor, Tensor], Tensor]) -> Compare:
    def distance(student: Features, teacher: Features) -> Tensor:
        return torch.stack([of_pair(s, t) for s, t in zip(student.taps, teacher.taps, strict=True)]).mean()

    return distance


def _askd(student: Features, teacher: Features) -> Tensor:
    """Mean over CBAM units of half the summed cosine distances of channel and spatial gates (A-SKD, Eq.
    5).
    """
    return self_attention(student, teacher) / (2 * len(student.attention))


def self_attention(student: Features, teacher: Features) -> Tensor:
    """Return the sum over branches of :func:`attention_pair` (CATFace)."""
    pairs = zip(student.attention, teacher.attention, strict=True)
    return torch.stack([attention_pair(s, t) for s, t in pairs]).sum()


def _kl(student: Features, teacher: Features) -> Tensor:
    assert student.logits_bc is not None and teacher.logits_bc is not None
    return kl(student.logits_bc, teacher.logits_bc)


def _wavelet(student: Features, teacher: Features) -> Tensor:
    """Sum over the first two stages (WaveResNet)."""
    return wavelet_similarity(student.taps[0], teacher.taps[0]) + wavelet_similarity(
        student.taps[1], teacher.taps[1]
    )


def _logexp(reduction: str) -> Compare:
    return lambda s, t: logexp(F.normalize(s.embedding_bd), F.normalize(t.embedding_bd), reduction=reduction)


def _branch(student: Features, teacher: Features) -> Tensor:
    """Last tap and raw embedding (BTNet's code)."""
    return mse(student.taps[-1], teacher.taps[-1]) + mse(student.embedding_bd, teacher.embedding_bd)


_CODE = "F-SKD's released code, CASIA, multi-resolution"
DISTANCES: Registry[Compare] = Registry(
    "distance",
    "lrfr.losses",
    {
        "cosine": Distance(_mean_over_taps(cosine), "1 - cos of flattened maps, mean over stages (F-SKD)"),
        "fitnet": Distance(
            _mean_over_taps(fitnet), "squared difference of maps (FitNets)", weight=1.5, source=_CODE
        ),
        "norm": Distance(
            _mean_over_taps(norm),
            "squared difference of the maps' norms (F-SKD, Table 4)",
            weight=NORM_WEIGHT,
            source="not stated; ours: a gradient like the margin's",
        ),
        "at": Distance(
            _mean_over_taps(attention_transfer),
            "normalized spatial attention maps (AT)",
            weight=1000.0,
            source=_CODE,
        ),
        "askd": Distance(_askd, "channel and spatial gates of CBAM units (A-SKD)", weight=80.0, source=_CODE),
        "rkd": Distance(
            lambda s, t: rkd(s.embedding_bd, t.embedding_bd),
            "distances and angles in a batch",
            weight=40.0,
            maps=False,
            source=_CODE,
        ),
        "kl": Distance(
            _kl, "softened logits (Hinton et al.)", weight=1.0, source="WaveResNet, section III", maps=False
        ),
        "wavelet": Distance(
            _wavelet,
            "LL bands of the first two stages (WaveResNet)",
            weight=0.05,
            source="WaveResNet, section III",
        ),
        "logexp": Distance(
            _logexp("paper"),
            "LogExp of unit embeddings (MAug, Eq. 3)",
            weight=1.0,
            source="MAug, Table 5",
            maps=False,
        ),
        "logexp-official": Distance(
            _logexp("official"),
            "LogExp as MAug's released code has it",
            weight=1.0,
            source="MAug, Table 5",
            maps=False,
        ),
        "embedding": Distance(
            lambda s, t: cosine(s.embedding_bd, t.embedding_bd),
            "1 - cos of embeddings",
            source="ours",
            maps=False,
        ),
        "self-attention": Distance(
            self_attention,
            "attention and values of two branches (CATFace)",
            weight=0.5,
            source="CATFace, section 4.1.4",
        ),
        "branch": Distance(
            _branch, "last map and raw embedding (BTNet)", weight=0.5, source="BTNet, section 3.3"
        ),
    },
)


def usual_weight(distance: str) -> float:
    """Return the weight of a distance where nobody sets one; those of other packages have F-SKD's."""
    return float(getattr(DISTANCES[distance], "weight", 5.0))
