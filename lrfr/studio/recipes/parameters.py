"""What the page must know of an op's parameters beside the schema: units, and what a law draws."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lrfr.core.streams import stream
from lrfr.degrade.ops.base import Op
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import Choice, Draw, Law, RandInt

DRAWS, BINS = 600, 24

# (op or *, parameter) -> unit; "" for a plain number
UNITS: Mapping[tuple[str, str], str] = {
    ("*", "size"): "px",
    ("*", "ratio"): "",
    ("*", "factor"): "",
    ("*", "angle"): "°",
    ("*", "sigma"): "px",
    ("*", "sigma_x"): "px",
    ("*", "sigma_y"): "px",
    ("*", "gray_p"): "",
    ("*", "severity"): "",
    ("*", "photons"): "photons at white",
    ("*", "quality"): "",
    ("gaussian_noise", "sigma"): "gray levels",
    ("speckle", "sigma"): "",
    ("motion_blur", "length"): "px",
    ("defocus", "radius"): "px",
    ("kernel_mix", "beta"): "",
    ("kernel_mix", "beta_plateau"): "",
    ("kernel_mix", "cutoff"): "rad/px",
    ("sharpen", "amount"): "",
    ("sharpen", "threshold"): "gray levels",
    ("poisson_noise", "scale"): "",
    ("read_noise", "electrons"): "e⁻",
    ("read_noise", "full_well"): "e⁻",
    ("jpeg", "times"): "passes",
    ("two_grid_jpeg", "first"): "",
    ("two_grid_jpeg", "shift_x"): "px",
    ("two_grid_jpeg", "shift_y"): "px",
    ("gamma", "gamma"): "",
    ("low_light", "exposure"): "",
    ("illumination", "strength"): "",
    ("color_cast", "red"): "",
    ("color_cast", "green"): "",
    ("color_cast", "blue"): "",
    ("occlude", "area"): "of the face",
    ("occlude", "aspect"): "",
    ("occlude", "x"): "of the side",
    ("occlude", "y"): "of the side",
    ("occlude", "fill"): "gray levels",
    ("misalign", "roll"): "°",
    ("misalign", "scale"): "",
    ("misalign", "shift_x"): "of the side",
    ("misalign", "shift_y"): "of the side",
    ("misalign", "landmark_px"): "px",
    ("misalign", "landmark_share"): "of the side",
    ("turbulence", "D_over_r0"): "",
    ("turbulence", "r0_m"): "m",
    ("turbulence", "Cn2"): "m^(-2/3)",
    ("turbulence", "aperture_m"): "m",
    ("turbulence", "range_m"): "m",
    ("turbulence", "wavelength_nm"): "nm",
    ("turbulence", "pixel_m"): "m",
    ("turbulence", "outer_scale_m"): "m",
    ("style", "magnitude"): "",
    ("style", "direction"): "",
}


def unit_of(op: str, name: str) -> str | None:
    """Return a parameter's unit, "" for a plain number; None where nobody has said it."""
    return UNITS.get((op, name), UNITS.get(("*", name)))


# where a slider begins and ends when the allowed range is far wider than what anybody uses
_USUAL: Mapping[str, tuple[float, float]] = {
    "size": (4, 112),
    "ratio": (0.05, 1),
    "factor": (1, 16),
    "length": (1, 31),
    "radius": (0, 8),
    "sigma": (0, 8),
    "sigma_x": (0.05, 8),
    "sigma_y": (0.05, 8),
    "photons": (8, 2048),
    "electrons": (0, 60),
    "full_well": (100, 10_000),
    "exposure": (0.02, 1),
    "scale": (0, 2),
    "amount": (0, 4),
    "gamma": (0.2, 5),
    "angle": (-180, 360),
    "red": (0, 2),
    "green": (0, 2),
    "blue": (0, 2),
    "quality": (1, 100),
    "magnitude": (0, 6),
    "strength": (0, 1),
    "area": (0, 1),
    "landmark_share": (0, 0.2),
}
_OWN: Mapping[tuple[str, str], tuple[float, float]] = {
    ("gaussian_noise", "sigma"): (0, 60),
    ("speckle", "sigma"): (0, 1),
    ("misalign", "scale"): (0.5, 2),
    ("brightness", "factor"): (0, 3),
    ("contrast", "factor"): (0, 3),
    ("saturation", "factor"): (0, 3),
    ("turbulence", "D_over_r0"): (0, 10),
    ("kernel_mix", "size"): (3, 51),
    ("sharpen", "size"): (3, 151),
}


def ranges() -> dict[str, dict[str, list[float]]]:
    """Return, for every op, where the sliders of its parameters begin and end."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, op in OPS.items():
        for key in op.model_fields:
            usual = _OWN.get((name, key), _USUAL.get(key))
            if usual is None and key in op.severity_range:
                span = op.severity_range[key]
                usual = min(span.mild, span.worst), max(span.mild, span.worst)
            if usual is not None:
                found.setdefault(name, {})[key] = [float(end) for end in usual]
    return found


_MILD = 0.4  # of the way from the mild end to the worst: what a step that is added begins with
_NEEDED: Mapping[str, object] = {
    "filter": "bicubic",
    "antialias": True,
    "angle": 0,
    "family": "iso",
    "transform": "GaussianBlur",
}
_SIZES: Mapping[str, Mapping[str, object]] = {"resize": {"size": 56}, "up": {"size": 112}}


def starters() -> dict[str, dict[str, object]]:
    """Return, for every op, a step to begin with."""
    found: dict[str, dict[str, object]] = {}
    for name, op in OPS.items():
        spans = {key: span.at(_MILD) for key, span in op.severity_range.items()}
        needed = {
            key: _NEEDED[key]
            for key, info in op.model_fields.items()
            if info.is_required() and key not in spans and key in _NEEDED
        }
        found[name] = {"op": name, **spans, **needed, **_SIZES.get(name, {})}
    return found


def defaults() -> dict[str, dict[str, object]]:
    """Return, for every op, the parameters that have plain defaults."""
    return {
        name: {
            key: info.default
            for key, info in op.model_fields.items()
            if isinstance(info.default, int | float | str | bool)
        }
        for name, op in OPS.items()
    }


Histogram = Mapping[str, object]  # ``low``, ``high``, ``counts``; or ``words`` with their ``counts``


def histograms(steps: Sequence[Step]) -> dict[str, dict[str, Histogram]]:
    """Return, for every step by its place among the steps, what each of its laws draws."""
    return {place: found for place, step in _placed(steps, "pipeline") if (found := _of_step(step))}


def _placed(steps: Sequence[Step], place: str) -> Iterator[tuple[str, Step]]:
    for index, step in enumerate(steps):
        here = f"{place}.{index}"
        yield here, step
        yield from _placed(step.children, f"{here}.{step.kind}")


def _of_step(step: Step) -> dict[str, Histogram]:
    if step.op is None:
        name = "n" if step.kind == "some_of" else "repeat"
        return {name: _histogram(step.count)} if isinstance(step.count, Law) else {}
    return _of_op(step.op)


def _of_op(op: Op) -> dict[str, Histogram]:
    values = {name: getattr(op, name) for name in type(op).model_fields}
    return {name: _histogram(value) for name, value in values.items() if isinstance(value, Law)}


@functools.lru_cache(maxsize=512)
def _histogram(law: Law) -> Histogram:
    draws = [law.draw(Draw(stream(0, b"%d" % number, 0, "histogram")).uniform) for number in range(DRAWS)]
    if isinstance(law, Choice):
        names = list(dict.fromkeys(law.options))
        return {"words": [str(name) for name in names], "counts": [draws.count(name) for name in names]}
    low, high = (float(end) for end in law.extent())
    bins = BINS
    if isinstance(law, RandInt):
        bins = min(BINS, int(high - low) + 1)
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(
        np.asarray(draws, float), bins=bins, range=(low, high) if low < high else None
    )
    return {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}
