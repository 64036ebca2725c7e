"""What a training of the style generator is: every number of it belongs to the run's identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from pydantic import TypeAdapter, ValidationError

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.strict_yaml import parse_assignment
from lrfr.degrade.style.generator_card import PRESETS, Layout
from lrfr.degrade.style.magnitude import IdentityRange
from lrfr.train.style.discriminator import MIN_SCALE_PX


@dataclass(frozen=True, kw_only=True)
class CfsmSettings:
    """Settings; the defaults are those of the released code (Liu et al., ECCV 2022) unless a comment says
    otherwise.

    Attributes:
        preset: size of the generator, a key of :data:`~lrfr.degrade.style.generator_card.PRESETS`.
        size_px: side of the faces, a multiple of 4 and at least 32.
        steps: optimizer steps; style steps and, where the layout needs them, reconstruction steps take turns.
        batch_size: faces of one step.
        lr: learning rate of both Adams, which have betas (0.5, 0.999).
        critics_lr: another rate for the critics; 0 takes ``lr``.
        identity_weights: (share of the run, lambda_id from there on).
        identity_range: target identity distance of a magnitude.
        ema_decay: of the averaged generator, which is the one that is kept; 0 keeps the last.
        amp: ``none``, ``bf16`` or ``fp16`` (with loss scaling) autocast.
        discriminator_dim: channels of the critics' first convolution; 0 takes twice the generator's, 64 at
            most.
        seed: first weights, order of the faces and styles.
        threads: CPU threads, 0 for all usable cores; a run keeps the number it began with.
        save_every: steps between checkpoints.
        grid_every: steps between pictures.

    """

    preset: str = "tiny"
    size_px: int = 112
    steps: int = 2000
    batch_size: int = 32
    lr: float = 1e-4
    critics_lr: float = 0.0
    identity_weights: tuple[tuple[float, float], ...] = (
        (0.0, 8.0),
        (0.2, 5.0),
        (0.35, 2.0),
    )  # three runs of 4, 3 and 12 epochs
    identity_range: IdentityRange = field(default_factory=IdentityRange)
    ema_decay: float = 0.995  # none there; a short training ends on a less accidental generator with it
    amp: Literal["none", "bf16", "fp16"] = "none"
    discriminator_dim: int = 0
    seed: int = 0
    threads: int = 0
    save_every: int = 200
    grid_every: int = 500

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.preset not in PRESETS:
            raise SpecError(f"no preset '{self.preset}'", hint=did_you_mean(self.preset, PRESETS))
        if self.size_px < MIN_SCALE_PX or self.size_px % 4:
            raise SpecError(
                f"expected a side of {MIN_SCALE_PX} px or more that is a multiple of 4, got {self.size_px}"
            )
        if (
            min(self.steps, self.batch_size, self.save_every, self.grid_every) < 1
            or self.lr <= 0
            or not 0 <= self.ema_decay < 1
        ):
            raise SpecError(
                "steps, batch size, intervals and learning rate must be positive, ema_decay in [0, 1)"
            )

    @property
    def layout(self) -> Layout:
        """Return the generator's sizes."""
        return PRESETS[self.preset]

    @property
    def critic_dim(self) -> int:
        """Return the channels of the critics' first convolution."""
        return self.discriminator_dim or min(2 * self.layout.dim, 64)

    def identity_weight(self, step: int) -> float:
        """Return lambda_id of a step."""
        return [weight for share, weight in self.identity_weights if step >= share * self.steps][-1]


def load_settings(given: Mapping[str, object], overrides: Sequence[str] = ()) -> CfsmSettings:
    """Return settings from some of their fields, with texts ``key=value`` laid over them.

    Args:
        given: field to value.
        overrides: for example ``identity_range.high=0.5`` or ``amp=bf16``.

    Raises:
        SpecError: unknown key, or a value that is not allowed, with its key.

    """
    plain: dict[str, object] = {**dataclasses.asdict(CfsmSettings()), **given}
    nested = cast(dict[str, object], plain["identity_range"])
    for text in overrides:
        key, value = parse_assignment(text, example="steps=1000")
        group, _, last = key.rpartition(".")
        place = {"": plain, "identity_range": nested}.get(group, {})
        if last not in place:
            known = [*plain, *(f"identity_range.{name}" for name in nested)]
            raise SpecError(f"unknown setting '{key}'", file="--set", hint=did_you_mean(key, known))
        place[last] = value
    try:
        return TypeAdapter(CfsmSettings).validate_python(plain)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise SpecError("; ".join(faults), file="--set") from None
