"""Draw the result of a turbulence check and write it as one HTML page with its PNGs."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8, encode_png
from lrfr.degrade.turbulence.check.check import STRIP, Errors, Pictures, Tilt, Transfer, TurbulenceCheck

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:64em;margin:2em auto}td,th{padding:.1em "
    ".8em;text-align:right}img{max-width:100%}"
)


def write_page(result: TurbulenceCheck, folder: Path) -> list[str]:
    """Write ``index.html``, ``check.json`` and the plots into ``folder``; return the names."""
    folder.mkdir(parents=True, exist_ok=True)
    _plot_tilt(result.tilt, folder / "tilt.png")
    _plot_mtf(result.mtf, folder / "mtf.png")
    _plot_psfs(result.pictures.psf_samples, folder / "psf.png")
    (folder / "strip.png").write_bytes(encode_png(strip_sheet(result.pictures)))
    agreement = {"psnr_learned_exact_db": result.pictures.psnr_learned_exact_db}
    numbers = {**result.numbers(), "pictures": agreement}
    (folder / "check.json").write_text(json.dumps(numbers, indent=1, sort_keys=True) + "\n", "utf-8")
    (folder / "index.html").write_text(_html(result), "utf-8")
    return ["index.html", "check.json", "tilt.png", "mtf.png", "psf.png", "strip.png"]


def agreement(result: TurbulenceCheck) -> list[list[str]]:
    """Return rows of (quantity, simulated, theory) of a check."""
    std = result.tilt.std_px
    rows = [["shift std x / y [px], D/r0 1", f"{std['x']:.4f} / {std['y']:.4f}", f"{std['theory']:.4f}"]]
    for row in result.tilt.differential:
        both = (row.measured_px2, row.theory_px2)
        measured, theory = (" / ".join(f"{value:.4g}" for value in values) for values in both)
        rows.append([f"differential tilt at {row.separation_px} px [px2]", measured, theory])
    for curve in result.mtf:
        gaps = " / ".join(f"{curve.largest_gap(kind):.3f}" for kind in ("long", "short"))
        where = f"MTF at 0.1 .. 0.8 D/lambda, D/r0 {curve.D_over_r0:g}"
        rows.append([f"{where}: largest gap long / short", gaps, "0"])
    return rows


def strip_sheet(pictures: Pictures) -> ImageU8:
    """Return rows of pictures: the original and rising strength, one row a calibration."""
    return np.concatenate(
        [np.concatenate([pictures.original, *row], 1) for row in pictures.strips.values()], 0
    )


def _figure(columns: int, rows: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * columns, 3.0 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _plot_tilt(tilt: Tilt, path: Path) -> None:
    figure, axes = _figure(2)
    rows = tilt.differential
    separation = [row.separation_px for row in rows]
    for axis, (index, name) in zip(axes[0], enumerate(("along", "across")), strict=True):
        axis.loglog(separation, [row.theory_px2[index] for row in rows], "k-", label="theory")
        axis.loglog(separation, [row.measured_px2[index] for row in rows], "o", label="simulated")
        axis.set(
            title=f"differential tilt {name}, D/r0 = 1", xlabel="separation [px]", ylabel="variance [px²]"
        )
        axis.legend()
    figure.savefig(path, dpi=90)


def _plot_mtf(curves: list[Transfer], path: Path) -> None:
    figure, axes = _figure(len(curves))
    for axis, curve in zip(axes[0], curves, strict=True):
        for kind, color in (("long", "C0"), ("short", "C1")):
            axis.plot(
                curve.nu, getattr(curve, f"{kind}_theory"), "-", color=color, label=f"{kind} exposure, Fried"
            )
            axis.plot(curve.nu, getattr(curve, kind), ".", color=color, label=f"{kind} exposure, simulated")
        axis.set(title=f"D/r0 = {curve.D_over_r0:g}", xlabel="frequency [D/λ]", ylabel="MTF", ylim=(-0.02, 1))
    axes[0][0].legend(fontsize=7)
    figure.savefig(path, dpi=90)


def _plot_psfs(samples: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]], path: Path) -> None:
    figure, axes = _figure(len(samples), 2)
    for column, (strength, pair) in enumerate(samples.items()):
        for row, (psf, name) in enumerate(zip(pair, ("exact", "learned"), strict=True)):
            axes[row][column].imshow(
                np.sqrt(np.maximum(psf, 0)), cmap="magma", vmax=np.sqrt(pair[0].max()), vmin=0
            )
            axes[row][column].set(title=f"{name}, D/r0 = {strength}", xticks=[], yticks=[])
    figure.savefig(path, dpi=90)


def _html(result: TurbulenceCheck) -> str:
    std, agreement = result.tilt.std_px, result.pictures.psnr_learned_exact_db
    strengths = ", ".join(f"{x:g}" for x in STRIP)
    sections = [
        "<h1>Turbulence check</h1>",
        f"<p>{result.count} draws, seed {result.seed}, pictures of {result.size_px[1]} x "
        f"{result.size_px[0]} px.</p>",
        f"<h2>Strength</h2><p>Original, then D/r0 {strengths}. First row physical, second row p2s2021 (up "
        f"to 3.1).</p>",
        '<img src="strip.png" alt="strip">',
        "<h2>Tilt</h2>",
        _table(
            ["", "x", "y", "theory"], [["shift, standard deviation [px]", std["x"], std["y"], std["theory"]]]
        ),
        '<img src="tilt.png" alt="tilt">',
        "<h2>Transfer functions</h2><p>Missing modes are accounted for by exp(-residual variance).</p>",
        '<img src="mtf.png" alt="MTF">',
        "<h2>Point-spread functions</h2>",
        '<img src="psf.png" alt="PSF">',
        _psf_table(result.psf),
        "<h2>Learned against exact picture [dB]</h2>",
        _table(list(agreement), [list(agreement.values())]),
        "<h2>CPU milliseconds a picture, one thread</h2>",
        _table(["", "D/r0 2", "4", "10"], [[mode, *times.values()] for mode, times in result.speed.items()]),
    ]
    return (
        f'<!doctype html><meta charset="utf-8"><title>Turbulence check</title><style>{_STYLE}</style>'
        + "\n".join(sections)
        + "\n"
    )


def _psf_table(banks: Mapping[str, Mapping[str, Errors | None]]) -> str:
    # each bank covers its own bins of D/r0
    bins = list(dict.fromkeys(bin_ for bank in banks.values() for bin_ in bank["basis"] or ()))
    rows = [
        [f"{name}, {kind}", *(errors.get(bin_, "-") for bin_ in bins)]
        for name, bank in banks.items()
        for kind, errors in bank.items()
        if errors
    ]
    return _table(["mean relative L2 error of the PSF, D/r0", *bins], rows)


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def line(cells: list[Any], tag: str) -> str:
        texts = [f"{cell:.4g}" if isinstance(cell, float) else html.escape(str(cell)) for cell in cells]
        return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"
