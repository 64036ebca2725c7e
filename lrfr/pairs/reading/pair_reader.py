"""Reading the images of a view: what a reading process does, and all that it needs to know.

Torch is not part of it: it would take each process a second and 200 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.degrade.ops.resize import resize_batch
from lrfr.pairs.format.manifests import Up
from lrfr.pairs.format.reader import Folder, ShardSet
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import View
from lrfr.pairs.reading.variant_draw import draw_as_before, draw_variants


@dataclass(frozen=True)
class Images:
    """The images of some positions as they are read, before they become tensors.

    Attributes:
        hr_bhwc: uint8 ``[B, S, S, 3]`` RGB.
        lr_bhwc: uint8 ``[B, S, S, 3]`` RGB, upsampled; the very array of ``hr_bhwc`` in a view without
            variants.
        size_px_b: int64 ``[B]``, native side of the LR images.

    """

    hr_bhwc: NDArray[np.uint8]
    lr_bhwc: NDArray[np.uint8]
    size_px_b: NDArray[np.int64]


@dataclass(frozen=True)
class PairReader:
    """The images of a view by position. It holds no open file: it may be pickled and carried across a fork.

    Attributes:
        view: what is shown.
        digest: the id by which variants are drawn: the view's, one of a split's, or a former one.
        hr: the HR shards.
        lr: the LR shards of every variant.
        rows: int64 ``[n]``, row of the shards of every position.
        size_px: side of the HR crops.

    """

    view: View
    digest: str
    hr: ShardSet
    lr: list[ShardSet]
    rows: NDArray[np.int64]
    size_px: int
    lr_px: int = 0

    @property
    def lr_side(self) -> int:
        """Side of the LR faces that are read."""
        return (self.lr_px or self.size_px) if self.lr else self.size_px

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Weight of every variant."""
        return tuple(variant.weight for variant in self.view.variants)

    def read(
        self,
        positions: NDArray[np.int64],
        epoch: int,
        into: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    ) -> Images:
        """Read the images of positions.

        Args:
            positions: ``[B]``, 0 .. n - 1.
            epoch: decides which variant each shows.
            into: where HR and LR go, uint8 ``[B, S, S, 3]`` each; new memory without it.

        Raises:
            DataError: a shard or record is damaged; names it.

        """
        rows = self.rows[positions]
        hr, lr = into or (np.empty((len(rows), self.size_px, self.size_px, 3), np.uint8), None)
        for index, image in enumerate(self.hr.images(rows.tolist())):
            hr[index] = image
        if not self.lr:
            return Images(hr, hr, np.full(len(rows), self.size_px, np.int64))
        if lr is None:
            lr = np.empty((len(rows), self.lr_side, self.lr_side, 3), np.uint8)
        images = Images(hr, lr, np.empty(len(rows), np.int64))
        self._read_lr(positions, epoch, images)
        return images

    def shard_files(self, positions: NDArray[np.int64], epoch: int) -> list[tuple[Path, int, str]]:
        """Return (path, bytes, sha256) of the shards that positions are read from."""
        rows, found = self.rows[positions], self.hr.shard_files(self.rows[positions])
        if self.lr:
            drawn = self._drawn(positions, epoch)
            for number in np.unique(drawn).tolist():
                found += self.lr[number].shard_files(rows[drawn == number])
        return found

    def places(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what draws go by: positions, which show the same in all views of one id, whatever base they
        lie in; rows of the base under an id of before an upgrade.
        """
        return self.rows[positions] if self.is_former else positions

    @property
    def is_former(self) -> bool:
        """Whether the view is read under an id of before its store was upgraded."""
        return self.digest in self.view.former

    def _drawn(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the variant of every position."""
        draw = draw_as_before if self.is_former else draw_variants
        return draw(self.digest, epoch, self.places(positions), self.weights)

    def _read_lr(self, positions: NDArray[np.int64], epoch: int, images: Images) -> None:
        """Fill in LR and its native sides."""
        drawn = self._drawn(positions, epoch)
        rows = self.rows[positions]
        for number in np.unique(drawn).tolist():
            members = np.flatnonzero(drawn == number)
            wanted = rows[members].tolist()
            originals = [images.hr_bhwc[index] for index in members.tolist()]
            found = list(self.lr[number].images(wanted, originals))
            _upsample(found, self.view.variants[number].up, images.lr_bhwc, members)
            images.size_px_b[members] = self.lr[number].native_px(wanted, found)


def open_parts(store: StoreFiles, view: View, verify: str = "always") -> tuple[ShardSet, list[ShardSet]]:
    """Return the HR shards of a view, and those of every variant; rows run through the parts.

    Raises:
        DataError: a manifest is damaged, or a variant belongs to another base.

    """
    bases = [Folder(store.base(part.base), store.base_manifest(part.base)) for part in view.parts]
    hr, lr = ShardSet(bases, verify), []
    for number in range(len(view.variants)):
        folders = [
            Folder(store.lr(part.lr[number]), store.lr_manifest(part.lr[number])) for part in view.parts
        ]
        for base, folder in zip(bases, folders, strict=True):
            if folder.manifest.content != base.manifest.content:
                raise DataError(
                    "the variant belongs to another base", file=str(folder.path), hint="lrfr store verify"
                )
        lr.append(ShardSet(folders, verify, hr))
    return hr, lr


def _upsample(
    images: list[NDArray[np.uint8]], up: Up, result: NDArray[np.uint8], members: NDArray[np.int64]
) -> None:
    """Resize to the side of the result into ``result[members]``, all images of one size in one call."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    for shape, indices in groups.items():
        stack = np.stack([images[index] for index in indices])
        same = shape == result.shape[1:]
        result[members[indices]] = (
            stack if same else resize_batch(stack, result.shape[1], up.filter, up.antialias)
        )
