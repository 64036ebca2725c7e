"""What networks are, told without running them, and where a parent's is not what a method wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lrfr.train.backbones.nets import Backbone, Nets
from lrfr.train.backbones.parts.input_shift import without_shifts
from lrfr.train.methods.base import Wants


@dataclass(frozen=True)
class Structure:
    """A recognizer and its head in numbers.

    Attributes:
        width: size of its embedding.
        map_channels: of the maps after its stages; none of a foreign file.
        layers: shape of every tensor by name.
        classes: of its head; None without one.
        input_px: side of the faces that it was trained on; None for one that resizes what it gets.

    """

    width: int
    map_channels: tuple[int, ...]
    layers: Mapping[str, tuple[int, ...]]
    classes: int | None = None
    input_px: int | None = None


def structure_of(nets: Nets, input_px: int | None = None) -> Structure | None:
    """Return the structure of the networks of a run; None of one that is no plain recognizer."""
    net = nets["net"]
    if not hasattr(net, "emb_dim") or not hasattr(net, "tap_channels"):
        return None
    layers = {name: tuple(tensor.shape) for name, tensor in without_shifts(net.state_dict()).items()}
    classes = nets["head"].weight.shape[0] if "head" in nets else None
    taken = input_px if isinstance(net, Backbone) else None
    return Structure(int(net.emb_dim), tuple(net.tap_channels), layers, classes, taken)


def misfits(
    own: Structure, parent: Structure, wants: Wants, classes: int, faces_px: int
) -> tuple[list[str], bool]:
    """Return where a parent is not what a method wants of it.

    Args:
        own: the recognizer that is to be trained.
        parent: another run's.
        wants: what must agree.
        classes: identities of the view.
        faces_px: side of the view's faces.

    Returns:
        The differences in words, and whether the size of the faces is all of them.

    """
    said = []
    if wants.layers and own.layers != parent.layers:
        said.append("their layers are not the same")
    pairs = list(zip(own.map_channels, parent.map_channels, strict=False))[: wants.maps]
    if any(one != other for one, other in pairs):
        ours, theirs = (", ".join(map(str, side)) for side in zip(*pairs, strict=True))
        said.append(f"maps of {ours} and {theirs} channels")
    if wants.embedding and own.width != parent.width:
        said.append(f"embedding sizes {own.width} and {parent.width}")
    if wants.head and parent.classes is None:
        said.append("the parent has no head")
    elif wants.classes and classes and parent.classes not in (None, classes):
        said.append(f"{classes} classes in the view and {parent.classes} in the parent's head")
    if wants.size and parent.input_px not in (None, faces_px):
        size = f"it was trained on faces of {parent.input_px} px, and the view's have {faces_px}"
        return [*said, size], not said
    return said, False
