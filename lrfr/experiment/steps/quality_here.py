"""Quality scores of a view's faces by a model, kept as a column of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.core.image import ImageU8
from lrfr.core.machine import torch_threads
from lrfr.eval.analysis.quality import agreement, norms
from lrfr.pairs.columns.column_store import ColumnWritten
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.store import Store
from lrfr.train.backbones.net_embedder import Embedder as NetEmbedder
from lrfr.train.backbones.net_embedder import to_input
from lrfr.train.backbones.parts.dropped import dropped_embeddings
from lrfr.train.checkpoint import digest_of, resolve
from lrfr.train.weights.load_nets import load_embedder

REVISION = 1  # raised by hand when the same model gives a face another score
Kind = Literal["norm", "dropout"]


@dataclass(frozen=True)
class QualityScores:
    """The function behind a column of quality: HR faces to one number each, on one thread.

    Attributes:
        model: a checkpoint or run.
        digest: of it.
        kind: ``norm``, the norm of the embedding, or ``dropout``, how far the network agrees with itself.
        passes: masks of ``dropout``.
        rate: what each drops.

    """

    model: Path
    digest: str
    kind: Kind = "norm"
    passes: int = 100
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in ("norm", "dropout") or self.passes < 2 or not 0 < self.rate < 1:
            raise SpecError(
                f"no quality by {self.kind}, {self.passes} passes, rate {self.rate:g}",
                hint="kind norm or dropout; two passes or more; a rate between 0 and 1",
            )

    @property
    def producer(self) -> str:
        """What names the numbers."""
        more = f", {self.passes} passes of rate {self.rate:g}" if self.kind == "dropout" else ""
        return f"quality {self.kind}{more} of {self.digest}, revision {REVISION}"

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return float32 [N]."""
        with torch_threads(1):
            embed = _opened(self.model, self.digest)
            if self.kind == "norm":
                return norms(embed(list(images)))
            side, _ = embed.route(*images[0].shape[:2])
            if images[0].shape[:2] != (side, side) or not isinstance(embed.nets, torch.nn.Module):
                raise SpecError(f"faces of {images[0].shape[0]} px, and a network of {side} px")
            return agreement(
                dropped_embeddings(embed.nets, to_input(np.stack(images)), self.passes, self.rate, 0).numpy()
            )


@lru_cache(maxsize=1)
def _opened(model: Path, digest: str) -> NetEmbedder:
    embed = load_embedder(model)
    if not isinstance(embed, NetEmbedder):
        raise SpecError("quality is of a checkpoint's network", file=str(model))
    embed.nets.eval()
    return embed


def write_quality(
    store: Store,
    view: str,
    model: Path,
    kind: Kind = "norm",
    *,
    column: str = "quality",
    runner: Runner | None = None,
) -> ColumnWritten:
    """Score the HR faces of a view's bases and keep the scores as a column, for
    :meth:`lrfr.Store.choose_rows`, ``train.weight_column`` and :meth:`lrfr.PairDataset.column`.

    Args:
        store: where.
        view: name of the view.
        model: checkpoint or run.
        kind: see :class:`QualityScores`.
        column: name of the column.
        runner: where it is computed; by default in this process.

    Raises:
        SpecError, DataError, LockedError: see :meth:`lrfr.Store.write_column`.

    """
    scores = QualityScores(Path(model).resolve(), digest_of(resolve(Path(model))), kind)
    return store.write_column(view, column, scores, producer=scores.producer, dtype="float32", runner=runner)
