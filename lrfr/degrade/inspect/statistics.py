"""What a recipe did to a set of faces: gate rates, parameter histograms, PSNR and SSIM of the result."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.degrade.spec.model import Spec
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import Value, is_law

BINS = 20


def psnr_db(one: ImageU8, other: ImageU8) -> float:
    """Return the peak signal-to-noise ratio in dB of two equally sized images (100 when they are equal)."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return min(100.0, 10 * math.log10(255**2 / error)) if error > 0 else 100.0


def ssim(one: ImageU8, other: ImageU8) -> float:
    """Return the structural similarity of the luminances (Wang et al. 2004: 11x11 Gaussian window of sigma
    1.5, K 0.01 and 0.03).
    """
    import cv2

    x, y = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (one, other))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth = cv2.GaussianBlur(values, (11, 11), 1.5)
        return np.asarray(smooth[5:-5, 5:-5] if min(values.shape) > 10 else smooth, np.float64)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    return float(np.mean((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))))


def expected_rates(spec: Spec) -> dict[str, float]:
    """Return how often each op is expected to run for one image (repetitions add up)."""
    rates: dict[str, float] = {}

    def walk(steps: Sequence[Step], reach: float) -> None:
        for step in steps:
            here = reach * step.p
            if step.kind == "op":
                rates[step.id] = here
            for index, child in enumerate(step.children):
                walk([child], here * _share(step, index))

    walk(spec.steps, 1.0)
    return rates


def _share(step: Step, index: int) -> float:
    if step.kind == "one_of":
        return step.weights[index] / sum(step.weights)
    if step.kind == "some_of":
        return _mean(step.count) / len(step.children)
    return _mean(step.count) if step.kind == "steps" else 1.0


def _mean(value: Value) -> float:
    """Return the mean of a whole number, ``randint`` or ``choice``."""
    if not is_law(value):
        return float(value)  # type: ignore[arg-type]
    literal = value.as_json()  # type: ignore[union-attr]
    if "choice" in literal:
        return float(np.average(literal["choice"], weights=literal["weights"]))
    return float(sum(literal["randint"])) / 2


def summarize(
    traces: Sequence[dict[str, Any]], spec: Spec, quality: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Summarise traces.

    Args:
        traces: one for each degraded image.
        spec: the recipe (for the expected rates).
        quality: (PSNR in dB, SSIM) of each result, enlarged, against its HR image.

    Returns:
        JSON-able: ``n``, ``ops`` (a row for each op with ``rate``, ``expected`` and ``params``), ``psnr_db``
        and ``ssim``.

    """
    counts: dict[str, int] = defaultdict(int)
    drawn: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    for trace in traces:
        for step in trace["steps"]:
            name = step["id"].split("@")[0]
            names[name] = step["op"]
            counts[name] += 1
            for key, value in step["params"].items():
                drawn[name][key] += value if isinstance(value, list) else [value]
    ops = [
        {
            "id": name,
            "op": names.get(name, name.split("/")[-1].split("#")[0]),
            "rate": counts[name] / max(1, len(traces)),
            "expected": rate,
            "params": {key: _distribution(values) for key, values in drawn[name].items()},
        }
        for name, rate in expected_rates(spec).items()
    ]
    return {
        "n": len(traces),
        "ops": ops,
        "psnr_db": _distribution([pair[0] for pair in quality]),
        "ssim": _distribution([pair[1] for pair in quality]),
    }


def _distribution(values: Sequence[Any]) -> dict[str, Any]:
    """Return min, mean, max and a histogram of numbers, or the counts of words."""
    if not values:
        return {"n": 0}
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        words = [str(value) for value in values]
        return {"n": len(words), "counts": {word: words.count(word) for word in sorted(set(words))}}
    counts, edges = np.histogram(values, bins=BINS)
    summary = {"min": float(min(values)), "mean": float(np.mean(values)), "max": float(max(values))}
    return {"n": len(values), **summary, "histogram": counts.tolist(), "edges": edges.tolist()}


def draw_stats(summary: dict[str, Any], path: Path, title: str) -> None:
    """Write the histograms of all drawn parameters, PSNR and SSIM as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [("result: PSNR [dB]", summary["psnr_db"]), ("result: SSIM", summary["ssim"])]
    for op in summary["ops"]:
        panels += [(f"{op['id']}: {key}", found) for key, found in op["params"].items() if _varies(found)]
    columns = 4
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.3 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for index, (label, found) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        if "counts" in found:
            axes.bar(list(found["counts"]), list(found["counts"].values()))
        elif "histogram" in found:
            axes.stairs(found["histogram"], found["edges"], fill=True)
        axes.set_title(label, fontsize=8)
        axes.tick_params(labelsize=7)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _varies(found: dict[str, Any]) -> bool:
    return len(found["counts"]) > 1 if "counts" in found else found.get("min") != found.get("max")
