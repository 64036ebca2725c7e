"""The figures of a turbulence check, each as PNG, PDF and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.core.machine import quiet_libraries
from lrfr.degrade.turbulence.check.check import P2S_LARGEST, STRIP, Pictures, Tilt, Transfer, TurbulenceCheck

FORMS = ("png", "pdf", "svg")
_DPI = 110
# without dates a figure of the same numbers is the same file
_UNDATED = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


def write_figures(result: TurbulenceCheck, folder: Path) -> list[str]:
    """Write ``strip``, ``tilt``, ``mtf`` and ``psf`` in every form; return the names of the files."""
    quiet_libraries()
    import matplotlib as mpl

    draw: dict[str, Callable[[], Any]] = {
        "strip": lambda: _strip(result.pictures),
        "tilt": lambda: _tilt(result.tilt),
        "mtf": lambda: _mtf(result.mtf),
        "psf": lambda: _psfs(result.pictures),
    }
    written = []
    with mpl.rc_context({"svg.hashsalt": "lrfr"}):
        for name, make in draw.items():
            figure = make()
            for form in FORMS:
                figure.savefig(folder / f"{name}.{form}", dpi=_DPI, metadata=_UNDATED[form])
                written.append(f"{name}.{form}")
    return written


def _figure(columns: int, rows: int = 1, width: float = 3.4, height: float = 3.0) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _strip(pictures: Pictures) -> Any:
    figure, axes = _figure(1 + len(STRIP), len(pictures.strips), width=1.45, height=1.75)
    for row, (calibration, images) in enumerate(pictures.strips.items()):
        strengths = [min(x, P2S_LARGEST) if calibration == "p2s2021" else x for x in STRIP]
        titles = ["original", *(f"D/r0 = {x:g}" for x in strengths)]
        for axis, image, title in zip(axes[row], [pictures.original, *images], titles, strict=True):
            axis.imshow(image, interpolation="nearest")
            axis.set_title(title, fontsize=9)
            axis.tick_params(labelsize=6)
            axis.set(xticks=[0, image.shape[1] - 1], yticks=[])
        axes[row][0].set_ylabel(calibration)
        axes[row][0].set_yticks([0, pictures.original.shape[0] - 1])
    figure.supxlabel("pixels", fontsize=9)
    return figure


def _tilt(tilt: Tilt) -> Any:
    figure, axes = _figure(2)
    rows = tilt.differential
    separation = [row.separation_px for row in rows]
    for axis, (index, name) in zip(axes[0], enumerate(("along", "across")), strict=True):
        axis.loglog(separation, [row.theory_px2[index] for row in rows], "k-", label="theory")
        axis.loglog(separation, [row.measured_px2[index] for row in rows], "o", label="simulated")
        axis.set(
            title=f"differential tilt {name}, D/r0 = 1", xlabel="separation [px]", ylabel="variance [px²]"
        )
        axis.set_xticks(separation, [str(px) for px in separation], minor=False)
        axis.minorticks_off()
        axis.legend()
    return figure


def _mtf(curves: Sequence[Transfer]) -> Any:
    figure, axes = _figure(len(curves))
    for axis, curve in zip(axes[0], curves, strict=True):
        for kind, color in (("long", "C0"), ("short", "C1")):
            axis.plot(
                curve.nu, getattr(curve, f"{kind}_theory"), "-", color=color, label=f"{kind} exposure, Fried"
            )
            axis.plot(curve.nu, getattr(curve, kind), ".", color=color, label=f"{kind} exposure, simulated")
        axis.set(title=f"D/r0 = {curve.D_over_r0:g}", xlabel="frequency [D/λ]", ylim=(-0.02, 1))
    axes[0][0].set_ylabel("modulation transfer [1]")
    axes[0][0].legend(fontsize=7)
    return figure


def _psfs(pictures: Pictures) -> Any:
    samples = pictures.psf_samples
    figure, axes = _figure(len(samples), 2)
    for column, (strength, sample) in enumerate(samples.items()):
        names = ("exact", "network" if sample.learned else "basis")
        top = np.sqrt(sample.exact.max())
        for row, (psf, name) in enumerate(zip((sample.exact, sample.rendered), names, strict=True)):
            axis, reach = axes[row][column], psf.shape[0] / 2
            shown = axis.imshow(
                np.sqrt(np.maximum(psf, 0)),
                cmap="magma",
                vmin=0,
                vmax=top,
                extent=(-reach, reach, reach, -reach),
            )
            axis.set(title=f"{name}, D/r0 = {strength} (bank {sample.bank})")
            axis.title.set_fontsize(9)
            if row == 1:
                axis.set_xlabel("x [px]")
        axes[0][0].set_ylabel("y [px]")
        axes[1][0].set_ylabel("y [px]")
        bar = figure.colorbar(shown, ax=axes[:, column], location="bottom", shrink=0.8)
        bar.set_label("√ (share of light in a pixel)")
    return figure
