"""What reading hands over: one pair as an item, many as a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

from lrfr.core.errors import SpecError, shortly


class PairItem(TypedDict):
    """One pair, as a DataLoader hands it to its collate function (torch's default one works, too).

    Attributes:
        hr: uint8 ``[3, S, S]`` RGB, 0 .. 255.
        lr: uint8 ``[3, S, S]`` RGB, upsampled as the spec says (equal to ``hr`` in a view without variants).
        size_px: native side of the LR image in pixels.
        label: 0 .. num_classes - 1; -1 for no identity.
        attributes: int8 ``[A]``, 1, 0 or -1 for unknown.
        row: position in the dataset.
        key: the face's name in its source; bytes that are no UTF-8 stand as surrogates.
        columns: name to the row of each column that the dataset was asked for; only there if it was.

    """

    hr: torch.Tensor
    lr: torch.Tensor
    size_px: int
    label: int
    attributes: torch.Tensor
    row: int
    key: str
    columns: NotRequired[dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Batch:
    """Pairs of one step.

    Attributes:
        hr_bchw: uint8 ``[B, 3, S, S]`` RGB.
        lr_bchw: uint8 ``[B, 3, S, S]`` RGB, upsampled as the spec says (equal to ``hr_bchw`` in a view
            without variants), or of the side that :meth:`PairDataset.with_lr_side` was told.
        size_px_b: int64 ``[B]``, native side of the LR image.
        label_b: int64 ``[B]``, 0 .. num_classes - 1; -1 for no identity.
        attributes_ba: int8 ``[B, A]``, 1, 0 or -1 for unknown.
        row_b: int64 ``[B]``, position in the dataset: what a run may draw by, since views of one id show the
            same at it whatever base they lie in.
        columns: name to ``[B]`` or ``[B, D]`` of every column that was asked for.

    """

    hr_bchw: torch.Tensor
    lr_bchw: torch.Tensor
    size_px_b: torch.Tensor
    label_b: torch.Tensor
    attributes_ba: torch.Tensor
    row_b: torch.Tensor
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        columns = "".join(f", {name} {list(values.shape)}" for name, values in self.columns.items())
        pictures = f"hr {list(self.hr_bchw.shape)}, lr {list(self.lr_bchw.shape)} {self.hr_bchw.dtype}"
        return f"Batch({len(self)} pairs: {pictures}{columns})"

    def __len__(self) -> int:
        return len(self.row_b)

    def as_float(self) -> Batch:
        """Return the batch with images as float32 in [-1, 1]: ``(x / 255 - 0.5) / 0.5``."""
        return replace(self, hr_bchw=images_to_float(self.hr_bchw), lr_bchw=images_to_float(self.lr_bchw))

    def to(self, device: str | torch.device) -> Batch:
        """Return the batch on a device (a copy from pinned memory does not wait)."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; a DataLoader with ``pin_memory=True`` calls this."""
        return self.each(Tensor.pin_memory)

    def part(self, which: slice) -> Batch:
        """Return some of the pairs."""
        return self.each(lambda tensor: tensor[which])

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor changed alike, columns too."""
        changed = {name: change(column) for name, column in self.columns.items()}
        tensors = {item.name: change(getattr(self, item.name)) for item in fields(self)[:-1]}
        return replace(self, columns=changed, **tensors)


def collate(items: Sequence[PairItem]) -> Batch:
    """Make a batch of items: ``DataLoader(dataset, batch_size=64, collate_fn=collate)``.

    Args:
        items: of one dataset, at least one.

    Raises:
        SpecError: they are no items of a :class:`~lrfr.pairs.reading.dataset.PairDataset`.

    """
    if not isinstance(items, list | tuple) or not items or not all(map(_is_item, items)):
        raise SpecError(f"expected a list of one or more items of a PairDataset, got {shortly(items)}")
    names = items[0].get("columns", ())
    numbers = torch.tensor([(item["size_px"], item["label"], item["row"]) for item in items])
    return Batch(
        _stack([item["hr"] for item in items]),
        _stack([item["lr"] for item in items]),
        numbers[:, 0].contiguous(),
        numbers[:, 1].contiguous(),
        torch.stack([item["attributes"] for item in items]),
        numbers[:, 2].contiguous(),
        {name: torch.stack([item["columns"][name] for item in items]) for name in names},
    )


def _is_item(item: object) -> bool:
    """Return whether all fields are there, and tensors where they must be."""
    if not isinstance(item, dict) or not {"size_px", "label", "row"} <= item.keys():
        return False
    return all(isinstance(item.get(name), Tensor) for name in ("hr", "lr", "attributes"))


def _stack(images: list[torch.Tensor]) -> torch.Tensor:
    """Return ``[B, 3, H, W]`` in torch's channels_last layout."""
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def images_to_float(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as float32 in [-1, 1], in memory of their own."""
    return images.to(torch.float32).mul_(2.0 / 255.0).sub_(1.0)
