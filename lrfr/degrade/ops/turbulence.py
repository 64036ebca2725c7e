"""Atmospheric turbulence: position-dependent shift and blur with the statistics of Kolmogorov turbulence.

Strength is D/r0, aperture over Fried's parameter; geometry is given in meters. The physics is in
``lrfr.degrade.turbulence`` (imported when the op runs, as it needs torch); see docs/turbulence.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from lrfr.core.files import data_of
from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.turbulence.physics.optics import Optics
from lrfr.degrade.turbulence.strength import CALIBRATIONS, MAX_BLUR_D_OVER_R0
from lrfr.degrade.values.distributions import Draw, Value, is_law, tidy
from lrfr.degrade.values.params import Real

_STRENGTHS = ("D_over_r0", "r0_m", "Cn2")
_OPTICS = ("aperture_m", "range_m", "wavelength_nm", "pixel_m")
# beyond these a crop shows no blur of the lens at all, or little else
_MIN_Q, _MAX_Q = 0.5, 4.0
# within 1 % of Nyquist sampling: less than the network's own error
_LEARNED_Q = (1.98, 2.02)
_WEIGHTS = Path(__file__).parent.parent / "turbulence" / "weights"


class Temporal(BaseModel):
    """A coherent sequence: variant v is frame v % ``frames``; ``rho`` is the tilt's correlation from one
    frame to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    frames: Annotated[int, Field(ge=1, le=256)]
    rho: Annotated[float, Field(ge=0, lt=1)]


class Turbulence(Op):
    """Look at a face through turbulent air.

    Attributes:
        D_over_r0: strength; 0.25 to 2 is CATFace's range, 10 is severe. In place of it ``r0_m`` (Fried's
            parameter in meters at the stated wavelength, spherical wave) or ``Cn2`` (in m^(-2/3), constant
            along the path).
        aperture_m: lens diameter D in meters.
        range_m: distance to the face in meters.
        wavelength_nm: mean wavelength in nanometers.
        pixel_m: size of a pixel on the face in meters. The defaults give Nyquist sampling, q = 2 pixels per
            lambda/D.
        mode: ``learned`` (phase-to-space network; needs q = 2) or ``exact`` (matrix DFT; q 0.5 to 4).
        calibration: ``physical``, or ``p2s2021`` / ``p2s2021_port`` with the strengths of the public P2S code
            (CATFace).
        optics: ``diffraction`` includes the blur of a perfect lens of that aperture, ``none`` takes it out.
        outer_scale_m: von Karman outer scale in meters; not given is Kolmogorov's infinity.
        temporal: variants become frames of a sequence, with one strength for all frames.
        sha256: digest of the shipped banks; filled in when the spec is read, so that the spec's own digest
            names the pixels.

    """

    portable: ClassVar[bool] = False
    cost_ms: ClassVar[float] = 5.0
    iso: ClassVar[str | None] = "sharpness (7.3.8)"
    severity_range: ClassVar[dict[str, Span]] = {"D_over_r0": Span(0.25, 4.0)}

    D_over_r0: Annotated[Value | None, Real(0, 100)] = None
    r0_m: Annotated[Value | None, Real(1e-4, 1e3)] = None
    Cn2: Annotated[Value | None, Real(0, 1e-9)] = None
    aperture_m: Annotated[float, Field(ge=1e-3, le=10, strict=True)] = 0.1
    range_m: Annotated[float, Field(ge=1, le=1e6, strict=True)] = 800.0
    wavelength_nm: Annotated[float, Field(ge=200, le=15_000, strict=True)] = 500.0
    pixel_m: Annotated[float, Field(ge=1e-6, le=10, strict=True)] = 0.002
    mode: Literal["learned", "exact"] = "learned"
    calibration: Literal["physical", "p2s2021", "p2s2021_port"] = "physical"
    optics: Literal["diffraction", "none"] = "diffraction"
    outer_scale_m: Annotated[float | None, Field(ge=0.01, le=1e6, strict=True)] = None
    temporal: Temporal | None = None
    sha256: StrictStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _pin_banks(cls, raw: Any) -> Any:
        """Write down the digest of the shipped banks; other banks than the stated ones are refused."""
        if not isinstance(raw, dict):
            return raw
        digest = banks_digest()
        if raw.get("sha256") not in (None, digest):
            raise ValueError(f"the shipped turbulence banks have sha256 {digest[:12]}..., not the one stated")
        return {**raw, "sha256": digest}

    @model_validator(mode="after")
    def _possible(self) -> Turbulence:
        given = [name for name in _STRENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            got = f"both {given[0]} and {given[1]}" if given else "none"
            raise ValueError(f"give the strength as one of D_over_r0, r0_m [m] or Cn2 [m^(-2/3)], got {got}")
        q = self._camera.pixels_per_airy
        how = (
            f"q = {q:.3g} pixels per lambda/D (= wavelength {self.wavelength_nm:g} nm x range "
            f"{self.range_m:g} m"
        )
        how += f" / (aperture {self.aperture_m:g} m x pixel {self.pixel_m:g} m))"
        if not _MIN_Q <= q <= _MAX_Q:
            raise ValueError(f"{how}; expected {_MIN_Q:g} to {_MAX_Q:g}")
        if self.mode == "learned" and not _LEARNED_Q[0] <= q <= _LEARNED_Q[1]:
            raise ValueError(
                f"{how}; the learned banks are for q = 2: use 'mode: exact', or pixel_m "
                f"{self.pixel_m * q / 2:.4g}"
            )
        strongest = MAX_BLUR_D_OVER_R0 / CALIBRATIONS[self.calibration].blur
        worst = max(self._strength(given[0], end) for end in _extent(getattr(self, given[0])))
        if worst > strongest:
            raise ValueError(
                f"D/r0 reaches {worst:.4g} (aperture {self.aperture_m:g} m); '{self.calibration}' covers 0 "
                f"to {strongest:.4g}"
            )
        return self

    @property
    def _camera(self) -> Optics:
        return Optics(self.aperture_m, self.range_m, self.wavelength_nm, self.pixel_m)

    def _strength(self, name: str, value: float) -> float:
        """Return D/r0 of a strength given as ``name``."""
        if name == "D_over_r0":
            return value
        return self.aperture_m / (value if name == "r0_m" else self._camera.r0_m(value))

    def sample(self, draw: Draw) -> Params:
        """Draw the strength; record it with everything that the picture depends on, in units."""
        if self.temporal is not None:
            # the strength of a sequence is drawn once, with its first frame
            draw = Draw(draw.stream.of_variant(first_frame(draw.stream.variant, self.temporal.frames)))
        drawn = super().sample(draw)
        name = next(name for name in _STRENGTHS if drawn[name] is not None)
        strength = tidy(self._strength(name, drawn[name]))
        r0_m = tidy(self.aperture_m / strength) if strength > 0 else None
        return {
            **({"severity": drawn["severity"]} if "severity" in drawn else {}),
            "D_over_r0": strength,
            "r0_m": r0_m,
            "Cn2": tidy(self._camera.cn2(r0_m)) if r0_m else 0.0,
            **{key: drawn[key] for key in _OPTICS},
            "q": tidy(self._camera.pixels_per_airy),
            **{key: drawn[key] for key in ("mode", "calibration", "optics", "outer_scale_m", "sha256")},
            "temporal": self.temporal.model_dump() if self.temporal else None,
        }

    def prepare(self) -> None:
        """Load the banks, so that damaged files stop a run before its first face."""
        from lrfr.degrade.turbulence.banks import shipped_bank
        from lrfr.degrade.turbulence.p2s import BANKS

        for name in BANKS:
            shipped_bank(name)

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Degrade each image (see :class:`Op`); sizes may differ."""
        from lrfr.degrade.turbulence.batch import run_batch

        return run_batch(images, params, streams)


def first_frame(variant: int, frames: int) -> int:
    """Return the variant that begins the sequence that ``variant`` belongs to."""
    return variant - variant % frames


def _extent(value: Value) -> tuple[float, float]:
    return value.extent() if is_law(value) else (float(value), float(value))  # type: ignore[union-attr, arg-type]


def banks_digest() -> str:
    """Return the sha256 (hex) over the shipped banks."""
    digest = hashlib.sha256()
    for path in sorted(_WEIGHTS.glob("*.safetensors")):
        digest.update(data_of(path))
    return digest.hexdigest()
