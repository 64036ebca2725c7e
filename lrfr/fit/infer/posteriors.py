"""Amortized marginal posteriors: a small network reads a face's statistics and says, for every variable of
the prior, how probable each class is.

It is trained on simulated faces alone. Populations are not read off its posteriors: they are among the
summaries that :mod:`lrfr.fit.infer.matching` makes agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrfr.fit.infer.bank import Bank
from lrfr.fit.infer.prior_space import Variable

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
_WIDTH = 256
_CLIP = 6.0
_BATCH = 256
_RATE = 2e-3
_HELD = 0.1
# without these it grows too sure of itself
_DROPOUT, _DECAY, _NOISE = 0.3, 1e-2, 0.2


@dataclass(frozen=True)
class Scale:
    """Statistics brought to median 0 and spread 1 of the bank, cut where they are far outside."""

    middle: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, stats: NDArray[np.float32]) -> Scale:
        """Return the scale of a bank."""
        low, middle, high = np.quantile(stats, [0.16, 0.5, 0.84], axis=0)
        spread = np.maximum((high - low) / 2, 0.25 * stats.std(axis=0))
        return cls(middle.astype(np.float32), np.maximum(spread, 1e-4).astype(np.float32))

    def __call__(self, stats: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scaled statistics."""
        scaled: NDArray[np.float32] = np.clip((stats - self.middle) / self.spread, -_CLIP, _CLIP)
        return scaled


class Reader:
    """A trained network with its scale and how many classes each variable has."""

    def __init__(self, net: torch.nn.Module, scale: Scale, counts: Sequence[int]) -> None:
        self._net, self._scale, self._counts = net, scale, counts

    def posteriors(self, stats: NDArray[np.float32]) -> list[Floats]:
        """Return for each variable float64 [N, classes]."""
        import torch

        with torch.no_grad():
            raw = self._net(torch.from_numpy(self._scale(stats)))
        parts = torch.split(raw, list(self._counts), dim=1)
        return [torch.softmax(part.double(), dim=1).numpy() for part in parts]


def train_reader(
    bank: Bank,
    variables: Sequence[Variable],
    seed: int,
    epochs: int = 30,
    each: Callable[[int, int], None] | None = None,
) -> Reader:
    """Train on a bank; what is best on a tenth of it is kept.

    Args:
        bank: simulated faces.
        variables: of the prior.
        seed: of weights and order.
        epochs: passes over the bank.
        each: told (passes done, passes).

    """
    import torch

    counts = [variable.count for variable in variables]
    scale = Scale.of(bank.stats)
    order = np.random.default_rng([seed, 7]).permutation(len(bank))
    held = max(1, int(len(bank) * _HELD))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _net(bank.stats.shape[1], sum(counts))
        data = [torch.from_numpy(scale(bank.stats)), torch.from_numpy(bank.classes.astype(np.int64))]
        best = _run(net, data, (order[held:], order[:held]), counts, epochs=epochs, each=each)
    net.load_state_dict(best)
    net.eval()
    return Reader(net, scale, counts)


def _net(width_in: int, width_out: int) -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(
        nn.Linear(width_in, _WIDTH),
        nn.SiLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(_WIDTH, _WIDTH),
        nn.SiLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(_WIDTH, width_out),
    )


def _run(
    net: torch.nn.Module,
    data: Sequence[torch.Tensor],
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
    counts: Sequence[int],
    *,
    epochs: int,
    each: Callable[[int, int], None] | None,
) -> Mapping[str, Any]:
    import torch

    stats, classes = data
    train, held = (torch.from_numpy(part) for part in parts)
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    steps = epochs * -(-len(train) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    best, least = {k: v.clone() for k, v in net.state_dict().items()}, float("inf")
    for epoch in range(epochs):
        net.train()
        shuffled = train[torch.randperm(len(train))]
        for start in range(0, len(shuffled), _BATCH):
            rows = shuffled[start : start + _BATCH]
            noisy = stats[rows] + _NOISE * torch.randn(len(rows), stats.shape[1])
            loss = _loss(net(noisy), classes[rows], counts)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            found = float(_loss(net(stats[held]), classes[held], counts))
        if found < least:
            best, least = {k: v.clone() for k, v in net.state_dict().items()}, found
        if each:
            each(epoch + 1, epochs)
    return best


def _loss(raw: torch.Tensor, classes: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    import torch

    parts = torch.split(raw, list(counts), dim=1)
    losses = [torch.nn.functional.cross_entropy(part, classes[:, v]) for v, part in enumerate(parts)]
    return torch.stack(losses).sum()
