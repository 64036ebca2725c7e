"""From a checkpoint to its networks, and to the function that embeds with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError
from lrfr.core.machine import checked_device, own_draws
from lrfr.train.backbones.nets import Nets
from lrfr.train.checkpoint import Checkpoint, load, load_model, resolve
from lrfr.train.weights.model_identity import ModelIdentity

_MANY_CLASSES = 2**20


@dataclass(frozen=True)
class Loaded:
    """A recognizer's checkpoint as networks.

    Attributes:
        nets: its networks in evaluation mode, averaged weights where it keeps them.
        identity: what they are.
        state: JSON state of the run when it was saved: step, metrics.

    """

    nets: Nets
    identity: ModelIdentity
    state: Mapping[str, Any]


def load_nets(path: Path, device: str = "cpu") -> Loaded:
    """Build the networks of a checkpoint or run and load its (averaged, where kept) weights.

    Raises:
        DataError: no checkpoint there, or damaged.
        SpecError: its method is unknown.
        EnvironmentFault: there is no such device.

    """
    folder = resolve(path)
    device = checked_device(device)
    checkpoint = load(folder, device)
    identity = ModelIdentity.read(checkpoint, folder)
    _check_classes(identity, checkpoint, folder)
    with own_draws():
        nets = identity.make().build(identity.num_classes, None, identity.attribute_names)
    nets = nets.to(device)
    tensors = checkpoint.model | checkpoint.ema
    # what was built for a teacher, layers towards it and what is kept of it, embeds nothing
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("connector.")}
    if "queue" in nets:
        own = {name: tensor for name, tensor in own.items() if not name.startswith("queue.")}
        del nets["queue"]
    load_model(nets, own, str(folder))
    return Loaded(nets.eval(), identity, checkpoint.state)


def _check_classes(identity: ModelIdentity, checkpoint: Checkpoint, folder: Path) -> None:
    """Refuse a number of classes that no checkpoint has, before a head of that size is built."""
    rows = max((len(tensor) for tensor in checkpoint.model.values() if tensor.ndim), default=0)
    if not 0 <= identity.num_classes <= max(_MANY_CLASSES, rows):
        raise DataError(f"damaged: {identity.num_classes} classes", file=str(folder), path="num_classes")


def load_embedder(path: Path | str, device: str = "cpu") -> Embedder:
    """Return the recognizer of a checkpoint or run folder.

    Raises:
        DataError: no checkpoint there, or damaged.
        SpecError: its method is unknown.

    """
    found = load_nets(Path(path), device)
    return found.identity.make().embedder(found.nets)
