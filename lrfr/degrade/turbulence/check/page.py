"""Write the result of a turbulence check as one HTML page with its numbers and figures."""

from __future__ import annotations

import html
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy
import torch

import lrfr
from lrfr.core.files import sha256_file
from lrfr.core.machine import this_machine
from lrfr.degrade.turbulence.banks import WEIGHTS
from lrfr.degrade.turbulence.check.check import STRIP, Errors, Tilt, TurbulenceCheck
from lrfr.degrade.turbulence.check.check_figures import FORMS, write_figures
from lrfr.degrade.turbulence.check.stated_bounds import DRAWS, SPEED_BOUNDS_MS, verdicts
from lrfr.degrade.turbulence.p2s import BANKS

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:72em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}td{font-variant-numeric:tabular-nums}"
    "img{max-width:100%}.pass{color:#17692c}.fail{color:#fff;background:#b3261e}"
)
_CAPTIONS = {
    "strip": "A face at rising D/r0; columns after the first are degraded, rows are calibrations.",
    "tilt": "Variance of the difference of two shifts, along and across the line between them.",
    "mtf": "Mean transfer functions; missing modes are accounted for by exp(-residual variance).",
    "psf": "One point-spread function at each strength: exact, and as pictures get it, by the bank's network "
    "or, where it has none, in its basis.",
}


def write_page(result: TurbulenceCheck, folder: Path) -> list[str]:
    """Write ``index.html``, ``check.json`` and the figures into ``folder``; return the names."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = write_figures(result, folder)
    numbers = json.dumps(page_numbers(result), indent=1, sort_keys=True)
    (folder / "check.json").write_text(numbers + "\n", "utf-8")
    (folder / "index.html").write_text(_html(result, folder), "utf-8")
    return ["index.html", "check.json", *figures]


def page_numbers(result: TurbulenceCheck) -> dict[str, object]:
    """Return what ``check.json`` holds: all that was measured, the bounds, and what it was measured with."""
    bounded = [{**vars(one), "passed": one.passed} for one in verdicts(result)]
    likeness = {"psnr_learned_exact_db": result.pictures.psnr_learned_exact_db}
    made = {"command": command(result), "versions": versions(), "banks": bank_digests()}
    return {**result.numbers(), "pictures": likeness, "bounds": bounded, **made}


def command(result: TurbulenceCheck) -> str:
    """Return the command line that measures the same again."""
    return f"lrfr degrade turbulence-check --seed {result.seed} --draws {result.count}"


def versions() -> dict[str, str]:
    """Return the versions that the numbers are of."""
    found = {"lrfr": lrfr.__version__, "python": platform.python_version(), "torch": torch.__version__}
    return {**found, "numpy": np.__version__, "scipy": scipy.__version__}


def bank_digests() -> dict[str, str]:
    """Return the sha256 (hex) of every shipped bank."""
    return {name: sha256_file(WEIGHTS / f"{name}.safetensors") for name in BANKS}


def _html(result: TurbulenceCheck, folder: Path) -> str:
    likeness = result.pictures.psnr_learned_exact_db
    bounded = verdicts(result)
    held = sum(one.passed for one in bounded)
    wider = f" Bounds on statistics are those of {DRAWS} draws, wider for fewer."
    strengths = ", ".join(f"{x:g}" for x in STRIP)
    sections = [
        "<h1>Turbulence check</h1>",
        f"<p><b>{held} of {len(bounded)} bounds hold.</b>{wider if result.count < DRAWS else ''}</p>",
        _table(["quantity", "measured", "bound", ""], [one.row() for one in bounded]),
        f"<h2>Strength</h2><p>D/r0 {strengths}; p2s2021 ends at 3.1.</p>",
        _picture("strip"),
        "<h2>Tilt</h2>",
        _tilt_table(result.tilt),
        _picture("tilt"),
        "<h2>Transfer functions</h2>",
        _picture("mtf"),
        "<h2>Point-spread functions</h2>",
        _picture("psf"),
        _psf_table(result.psf),
        "<h2>Picture by networks against picture by exact PSFs</h2>",
        _table(["D/r0", *likeness], [["PSNR [dB]", *likeness.values()]]),
        "<h2>Speed</h2><p>CPU milliseconds a picture on one thread; not judged, as it depends on the machine."
        "</p>",
        _table(
            ["D/r0", *SPEED_BOUNDS_MS],
            [
                *([f"{mode} [ms]", *times.values()] for mode, times in result.speed.items()),
                ["aim [ms]", *SPEED_BOUNDS_MS.values()],
            ],
        ),
        "<h2>Measured with</h2>",
        _table(["what", "value"], _made_with(result, folder)),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Turbulence check</title>'
        f"<style>{_STYLE}</style>" + "\n".join(sections) + "\n"
    )


def _made_with(result: TurbulenceCheck, folder: Path) -> list[list[str]]:
    height, width = result.size_px
    return [
        ["command", command(result)],
        ["draws, seed", f"{result.count}, {result.seed}"],
        ["pictures", f"{width} x {height} px"],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions().items())],
        ["processor", this_machine(folder).cpu],
        *([f"bank {name}, sha256", digest] for name, digest in bank_digests().items()),
    ]


def _picture(name: str) -> str:
    forms = ", ".join(f'<a href="{name}.{form}">{form.upper()}</a>' for form in FORMS)
    caption = html.escape(_CAPTIONS[name])
    return (
        f'<figure><img src="{name}.png" alt="{caption}"><figcaption>{caption} {forms}</figcaption></figure>'
    )


def _tilt_table(tilt: Tilt) -> str:
    std = tilt.std_px
    rows: list[list[object]] = [["shift, standard deviation [px]", std["x"], std["y"], std["theory"], ""]]
    for row in tilt.differential:
        cells = (*row.measured_px2, *row.theory_px2)
        rows.append([f"differential variance at {row.separation_px} px [px²]", *cells])
    return _table(["D/r0 = 1", "x, along", "y, across", "theory, along", "theory, across"], rows)


def _psf_table(banks: Mapping[str, Mapping[str, Errors | None]]) -> str:
    # each bank covers its own bins of D/r0
    bins = list(dict.fromkeys(bin_ for bank in banks.values() for bin_ in bank["basis"] or ()))
    rows: list[list[object]] = [
        [f"{name}, {kind}", *(errors.get(bin_, "") for bin_ in bins)]
        for name, bank in banks.items()
        for kind, errors in bank.items()
        if errors
    ]
    head = ["mean relative L2 error of the PSF, at D/r0", *bins]
    return _table(head, rows) + "<p>An empty cell: another bank's range. The strong bank has no network.</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def cell(value: object, tag: str) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
        verdict = f' class="{text.lower()}"' if text in {"pass", "FAIL"} else ""
        return f"<{tag}{verdict}>{text}</{tag}>"

    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(cell(value, tag) for value in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"
