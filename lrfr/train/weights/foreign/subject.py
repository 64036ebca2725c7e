"""A foreign model as what lrfr measures and teaches with: faces to embeddings, frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import digest_of
from lrfr.core.image import ImageU8, check_image
from lrfr.degrade.ops.resize import resize_batch
from lrfr.train.backbones.net_embedder import BATCH, InputSpec
from lrfr.train.weights.foreign.foreign_file import ForeignFile, is_graph
from lrfr.train.weights.foreign.input_contract import InputContract, Origin, Stated
from lrfr.train.weights.foreign.readings import Verdict, channel_gains, check_readings, embedded_faces_for
from lrfr.train.weights.foreign.runtimes.graph_cost import graph_counts
from lrfr.train.weights.foreign.runtimes.onnx_file import OnnxForward, read_facts
from lrfr.train.weights.foreign.runtimes.torch_program import TorchForward


class ForeignEmbedder:
    """``embed(images) -> float32 [N, D]`` of a foreign model, in processes of any kind.

    Args:
        source: the file and what is known of it.

    Attributes:
        contract: its input, as stated, else as the file says, else assumed.
        origin: which of these.
        digest: names its numbers: of the file's bytes, and of the contract where a statement changed that.

    Raises:
        SpecError: no such file, not trusted, or no such range.
        DataError: damaged, or no recognizer.
        EnvironmentFault: the extra [onnx] is missing.

    """

    def __init__(self, source: ForeignFile) -> None:
        self.source = source
        self.forward: OnnxForward | TorchForward
        if is_graph(source.path):
            facts = read_facts(source.path)
            read, origin, digest = facts.contract, facts.origin, facts.digest
            self.spec = facts.resize
            self.forward = OnnxForward(source.path, facts.batch)
        else:
            self.forward = TorchForward(source.path, source.trust_code)
            read, origin, digest = self.forward.contract, self.forward.origin, self.forward.digest
            self.spec = InputSpec(read.size_px)
        self.contract: InputContract = source.stated.over(read)
        self.origin: Origin = "stated" if source.stated != Stated() else origin
        self.digest = digest if self.contract == read else digest_of([digest, self.contract.as_dict()])

    def __reduce__(self) -> tuple[Any, ...]:
        return ForeignEmbedder, (self.source,)

    def __repr__(self) -> str:
        return f"ForeignEmbedder({str(self.source.path)!r}, {self.contract}, {self.origin})"

    @property
    def size_px(self) -> int:
        """Side of its input."""
        return self.contract.size_px

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D] of uint8 HWC RGB images of any sizes, in their order.

        Raises:
            ValueError: an image is not uint8 HWC RGB, or there is none.
            DataError: the model fails, or gives no embeddings.

        """
        if len(images) == 0:
            raise ValueError("expected at least one image")
        faces = [self._fit(check_image(image)) for image in images]
        parts = [np.stack(faces[start : start + BATCH]) for start in range(0, len(faces), BATCH)]
        return np.concatenate([self.forward(self.contract.apply(part)) for part in parts])

    def _fit(self, image: ImageU8) -> ImageU8:
        side = self.size_px
        if image.shape[:2] == (side, side):
            return image
        resized: ImageU8 = resize_batch(image[None], side, self.spec.filter, self.spec.antialias)[0]
        return resized

    def routes(self, height: int, width: int) -> list[tuple[int, ForeignEmbedder]]:
        """Return the input side and what runs for such an image: itself."""
        return [(self.size_px, self)]

    def counted(self) -> tuple[int, int, int] | None:
        """Return parameters, multiply-adds of one face and bytes of the weights, where the file tells."""
        return self._counts

    @cached_property
    def _counts(self) -> tuple[int, int, int] | None:
        return graph_counts(self.source.path, self.contract) if is_graph(self.source.path) else None

    def told(self) -> str:
        """Return what it takes, and how that is known; where it is a guess, what a few faces say of it."""
        checked = f"; {self.check()}" if self.origin == "assumed" else ""
        return f"{self.source.path.name} takes {self.contract} ({self.origin}){checked}"

    def check(
        self, faces: Sequence[ImageU8] | None = None, labels: NDArray[np.int64] | None = None
    ) -> Verdict:
        """Return what faces say of the contract; 64 embedded ones where none are given, and further draws of
        them for the order of the channels.
        """
        if faces is not None:
            return check_readings(self.forward, self.contract, faces, labels)
        verdict = check_readings(self.forward, self.contract, *embedded_faces_for())
        return replace(verdict, gains=channel_gains(self.forward, self.contract))
