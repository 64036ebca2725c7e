"""The style generator as a task of the loop: faces of a step, pictures between, weights at its end."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from lrfr.core.image import encode_png
from lrfr.degrade.inspect.magnitude_sheet import magnitude_sheet
from lrfr.degrade.inspect.picture_grid import tile
from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import Card
from lrfr.degrade.style.weight_files import load_weights, pack, save_weights, unpack
from lrfr.train.backbones.net_embedder import to_input
from lrfr.train.engine.task import Sight, Task
from lrfr.train.losses.draws import onto, rows
from lrfr.train.methods.base import Losses
from lrfr.train.style.identity_cost import Acceptance, accept, measure_curve
from lrfr.train.style.image_sets import ImageSet
from lrfr.train.style.recognizer import Recognizer
from lrfr.train.style.trainer import Trainer

WEIGHTS = "style.safetensors"
CURVE_FACES = 64
GRID_MAGNITUDES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True)
class CfsmData:
    """What a run learns from."""

    source: ImageSet
    target: ImageSet
    recognizer: Recognizer


@dataclass(frozen=True)
class Faces:
    """One step's share of faces, float32 in [-1, 1]."""

    source_bchw: Tensor
    target_bchw: Tensor


class StyleTask(Task[Faces]):
    """A generator's run over a source and a target set.

    The last ``2 * CURVE_FACES`` source faces are held back: half for the curve, half for the figures.

    Args:
        trainer: generator and critics.
        data: what they learn from.
        identity: JSON kept in every checkpoint; its plain values become the weights' provenance.
        int8: keep the finished weights as 8-bit integers.

    Attributes:
        revision: raised by hand when the same settings train another generator.
        folder: folder of the run, where pictures go.
        acceptance: figures of the finished weights, None before.

    """

    revision: ClassVar[int] = 1

    def __init__(
        self, trainer: Trainer, data: CfsmData, identity: Mapping[str, object], folder: Path, int8: bool
    ) -> None:
        self.trainer, self.data, self.identity, self.folder, self.int8 = trainer, data, identity, folder, int8
        self.state, self.settings = trainer.state, trainer.settings
        self.seen = data.source.length - 2 * CURVE_FACES
        self.acceptance: Acceptance | None = None

    def batches(self, start: int, end: int) -> Iterator[Faces]:
        """Yield this process's faces of each step."""
        for step in range(start, end):
            yield Faces(
                self._faces("source", self.data.source, self.seen, step),
                self._faces("target", self.data.target, self.data.target.length, step),
            )

    def _faces(self, name: str, images: ImageSet, length: int, step: int) -> Tensor:
        size = self.settings.batch_size
        places = rows(self.settings.seed, name, length, step * size, size)[self.trainer.world.share(size)]
        return onto(to_input(images.read(places.tolist())), torch.device(self.trainer.world.device))

    def step(self, item: Faces, step: int) -> Losses:
        """Take one step of the generator and one of the critics."""
        return self.trainer.step(step, item.source_bchw, item.target_bchw)

    def due(self, step: int) -> bool:
        """Draw every ``grid_every`` steps and at the end."""
        return step % self.settings.grid_every == 0 or step == self.settings.steps

    def look(self, step: int) -> Sight:
        """Draw held-back faces at each norm of z, and a row of target faces beside them."""
        settings, source, target = self.settings, self.data.source, self.data.target
        card = Card(settings.layout, settings.size_px, settings.identity_range)
        faces = list(source.read(range(self.seen, source.length, CURVE_FACES // 2)))
        targets = list(target.read(range(min(len(GRID_MAGNITUDES) + 1, target.length))))
        generator = copy.deepcopy(self.trainer.averaged).cpu()  # pictures are rendered on the CPU
        sheets = {
            "styles": magnitude_sheet(generator, card, faces, GRID_MAGNITUDES),
            "targets": tile([targets]),
        }
        (self.folder / "grids").mkdir(exist_ok=True)
        for kind, sheet in sheets.items():
            (self.folder / "grids" / f"{kind}-{step:08d}.png").write_bytes(encode_png(sheet))
        return Sight({"grid": f"grids/styles-{step:08d}.png"})

    def finish(self) -> None:
        """Measure and write the averaged generator with its calibration, and judge what was written."""
        settings, recognizer = self.settings, self.data.recognizer
        generator = self._rounded()
        held = to_input(self.data.source.read(range(self.seen, self.data.source.length)))
        held = held.to(self.trainer.world.device)
        curve = measure_curve(generator, recognizer, held[:CURVE_FACES], settings.seed)
        kept = settings.identity_range.within(curve)
        provenance = {
            key: value
            for key, value in self.identity.items()
            if isinstance(value, str | int | float) and key != "method"
        }
        card = Card(settings.layout, settings.size_px, kept, curve, provenance)
        save_weights(self.folder / WEIGHTS, generator, card, int8=self.int8)
        written = load_weights(str(self.folder / WEIGHTS)).generator.to(self.trainer.world.device)
        self.acceptance = accept(
            written, recognizer, held[CURVE_FACES:], curve=curve, wanted=kept, seed=settings.seed + 1
        )

    def _rounded(self) -> StyleGenerator:
        """Return the averaged generator as its file will hold it."""
        generator = self.trainer.averaged
        if self.int8:
            generator.load_state_dict(unpack(pack(generator.state_dict())))
        return generator
