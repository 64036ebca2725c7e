"""The card of a style generator: what it is, what it was trained on and what it does to identity. Read
without torch.

A weights file is a safetensors file whose header carries the card and a sha256 over card and tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.files import data_of, parsed
from lrfr.degrade.style.magnitude import IdentityCurve, IdentityRange

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
METADATA_KEY = "lrfr"  # one key only: safetensors writes several in random order
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_HEADER_BYTES = 4 * 1024 * 1024
SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Layout:
    """Size of a generator.

    Attributes:
        dim: channels of the first convolution; the bottleneck has 4 dim.
        n_res: residual blocks of the encoder, and again of the decoder.
        n_basis: style coordinates.
        latent: length of the style latent.
        residual: ours: as |z| grows, the input fades into its own quarter-size version plus what the decoder
            adds, with the weight 1 - exp(-|z| / 2). So z = 0 is exactly the identity, and the magnitude
            governs the degree from the first step on. Without it (as published) instance norm makes G blind
            to a common gain and offset of its input, whose brightness and contrast it cannot reconstruct.
        noise: ours: normal noise on the quarter-size maps before each styled block, with a learned gain a
            channel. A function of face and ten coordinates alone has no sensor noise to give.

    """

    dim: int
    n_res: int
    n_basis: int
    latent: int
    residual: bool = False
    noise: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes beyond reason, which only a damaged file asks for."""
        if not (1 <= self.dim <= 256 and 0 <= self.n_res <= 16 and 1 <= self.n_basis <= self.latent <= 1024):
            raise ValueError(f"no such generator: {self}")


# full is the published configuration
PRESETS: dict[str, Layout] = {
    "full": Layout(dim=64, n_res=3, n_basis=10, latent=128),
    "small": Layout(dim=32, n_res=3, n_basis=10, latent=64, residual=True, noise=True),
    "tiny": Layout(dim=16, n_res=2, n_basis=10, latent=32, residual=True, noise=True),
}


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself.

    Attributes:
        layout: size of the generator.
        size_px: side of the faces it was trained on.
        identity_range: target distance C(a) of a magnitude: what it was trained towards, as far as it
            reaches.
        curve: identity distance that was measured after training.
        provenance: preset, steps, seed and the digests of source, target and identity network.
        format: version of this layout of the file.

    """

    layout: Layout
    size_px: int
    identity_range: IdentityRange
    curve: IdentityCurve | None = None
    provenance: dict[str, str | int | float] = field(default_factory=dict)
    format: int = FORMAT

    def norm_for(self, magnitude: float) -> float:
        """Return the norm of z that gives ``magnitude`` its identity distance C(m); without a measured curve
        the magnitude itself.
        """
        return magnitude if self.curve is None else self.curve.norm_for(magnitude, self.identity_range)

    def to_json(self) -> str:
        """Return the canonical JSON text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class WeightsFile:
    """The bytes of a weights file and what its header says.

    Attributes:
        data: the whole safetensors file.
        card: the validated card.
        card_json: its text as it stands in the header.
        stated_sha256: checksum of card and tensors as the header states it; :func:`payload_sha256` must
            agree.

    """

    data: bytes
    card: Card
    card_json: str
    stated_sha256: str

    @property
    def digest(self) -> str:
        """Return the sha256 of the file, which names these weights in specs and traces."""
        return hashlib.sha256(self.data).hexdigest()


def find_weights(name: str) -> Path:
    """Return the file of a shipped generator's name, or the path itself.

    Raises:
        SpecError: there is no such file.

    """
    shipped = SHIPPED / f"{name}.safetensors"
    # False, too, for a name that no file can have
    path = shipped if os.path.isfile(shipped) else Path(name)
    if not os.path.isfile(path):
        known = [file.stem for file in SHIPPED.glob("*.safetensors")]
        raise SpecError(
            f"no style weights '{name}'", hint=f"give a path or a shipped name; {did_you_mean(name, known)}"
        )
    return path


def read_weights(path: Path) -> WeightsFile:
    """Read a weights file and check its card.

    Raises:
        DataError: not a weights file of this format, or damaged.

    """
    try:
        data = data_of(path, most=MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(f"style weights cannot be read: {error.strerror}", file=str(path)) from None
    try:
        length = int.from_bytes(data[:8], "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError("header too long")
        kept = parsed(data[8 : 8 + length])["__metadata__"][METADATA_KEY]
        note = parsed(str(kept).encode())
        card_json, stated = str(note["card"]), str(note["sha256"])
        card = TypeAdapter(Card).validate_python(parsed(card_json.encode()))
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        raise DataError(f"not a file of style weights ({type(error).__name__})", file=str(path)) from None
    if card.format != FORMAT:
        raise DataError(f"style weights of format {card.format}, expected {FORMAT}", file=str(path))
    return WeightsFile(data, card, card_json, stated)


def payload_sha256(card_json: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 over the card and every tensor's name, type, shape and bytes (CPU tensors, in order
    of name).
    """
    total = hashlib.sha256(card_json.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()
