"""What the residual recognizers share: a stem, stages ``layer1..4`` of units, a tail, and taps by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from lrfr.train.backbones.features import Features, full_precision
from lrfr.train.backbones.nets import STAGES, Backbone
from lrfr.train.backbones.parts.wavelet import WaveConv2d

Gates = tuple[Tensor, Tensor]


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, wavelet: str | None = None) -> nn.Conv2d:
    """Return a convolution without bias; with ``wavelet`` a stride of two becomes a WaveConv."""
    if wavelet is not None and stride == 2:
        return WaveConv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False, wavelet=wavelet)
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)


class Unit(nn.Module):
    """One residual unit."""

    def attend(self, x_bchw: Tensor) -> tuple[Tensor, Gates | None]:
        """Return the unit's output and, for CBAM units, the (channel, spatial) gates."""
        raise NotImplementedError

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return the unit's output."""
        return self.attend(x_bchw)[0]


class Staged(Backbone):
    """A backbone with ``stem``, ``layer1..`` and ``embed_map``; subclasses make the layers."""

    def stem(self, x_bchw: Tensor) -> Tensor:
        """Return the stem's map."""
        raise NotImplementedError

    def embed_map(self, x_bchw: Tensor) -> Tensor:
        """Return the embedding [B, D] of the last stage's map."""
        raise NotImplementedError

    def walk(self) -> Iterator[tuple[str, str, Unit]]:
        """Yield (stage, unit name, unit) in order; the names are those that :meth:`run` takes."""
        for stage in STAGES:
            for index, unit in enumerate(getattr(self, stage, ())):
                yield stage, f"{stage}.{index}", unit

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding, the named taps in network order, and the attention gates of CBAM units."""
        found: dict[str, Tensor] = {}
        gates: list[Gates] = []
        x_bchw = self.stem(x_bchw)
        for stage, name, unit in self.walk():
            x_bchw, gate = unit.attend(x_bchw)
            found[name] = found[stage] = x_bchw
            if gate is not None:
                gates.append(gate)
        return Features(
            self.embed_map(x_bchw), tuple(found[name] for name in found if name in taps), tuple(gates)
        )

    def add_tail(self, channels: int, final_px: int, emb_dim: int, dropout: float) -> None:
        """Make ``bn2``, ``dropout``, ``fc`` and ``features`` (insightface's names)."""
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels * final_px**2, emb_dim)
        self.features = nn.BatchNorm1d(emb_dim)

    def run_tail(self, x_bchw: Tensor) -> Tensor:
        """Return BN, dropout, flatten, FC, BN; the FC in full precision, as in the released codes."""
        flat = self.dropout(self.bn2(x_bchw)).flatten(1)
        with full_precision(x_bchw):
            embedding: Tensor = self.features(self.fc(flat.float()))
        return embedding
