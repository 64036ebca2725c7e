"""Tensors that a family keeps in another form, brought into ours; the network's function stays the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
_UNIT = re.compile(r"^body\.(\d+)\.")


def stages_of_body(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return units that are numbered through (``body.7``) by stage (``layer2.4``): a stage begins where the
    channels change.
    """
    widths = {
        int(found[1]): len(tensor)
        for name, tensor in tensors.items()
        if (found := _UNIT.match(name)) and name.endswith(".res_layer.1.weight")
    }
    place, stage, first = {}, 0, 0
    for unit in sorted(widths):
        if stage == 0 or widths[unit] != widths[unit - 1 if unit - 1 in widths else unit]:
            stage, first = stage + 1, unit
        place[unit] = f"layer{stage}.{unit - first}."

    def renamed(name: str) -> str:
        found = _UNIT.match(name)
        unit = int(found[1]) if found else -1
        return place[unit] + name[found.end() :] if found and unit in place else name

    return {renamed(name): tensor for name, tensor in tensors.items()}


def askd_gates(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return A-SKD's gates as our CBAM's: 1x1 convolutions as a linear layer, the 3x3 kernel over (mean,
    maximum) as the middle of a 7x7 kernel over (maximum, mean), and a norm after it that changes nothing.
    """
    found: Tensors = {}
    for name, tensor in tensors.items():
        if ".channel_layer.shared_mlp." in name and tensor.ndim == 4:
            found[name] = tensor.flatten(1)
            found[name.removesuffix("weight") + "bias"] = torch.zeros(len(tensor))
        elif name.endswith(".spatial_layer.conv.weight") and tensor.shape[1:] == (2, 3, 3):
            wide = torch.zeros(1, 2, 7, 7, dtype=tensor.dtype)
            wide[:, :, 2:5, 2:5] = tensor.flip(1)
            found[name] = wide
            norm = name.removesuffix("spatial_layer.conv.weight") + "cbam.spatial.1."
            # torch adds its eps of 1e-5 to the variance, and divides by the root
            found[f"{norm}running_var"] = torch.full((1,), 1 - 1e-5)
        else:
            found[name] = tensor
    return found


CONVERSIONS: Mapping[str, Callable[[Mapping[str, Tensor]], Tensors]] = {
    "": dict,
    "stages_of_body": stages_of_body,
    "askd_gates": askd_gates,
}
