"""``lrfr degrade turbulence-check`` and ``lrfr train p2s``: hold the simulator against theory, and make its
banks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command

_BANKS = ("weak", "mid", "strong")
_FACES = 16
_FACE_PX = 112


@command(
    "turbulence-check", short_help="Hold the turbulence simulator against theory; writes a page with plots."
)
@click.option(
    "--out",
    "folder",
    default="turbulence-check",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Output folder.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Seed of all draws."
)
@click.option(
    "--draws",
    default=2000,
    show_default=True,
    type=click.IntRange(100, 20_000),
    help="Fields and PSFs for the statistics.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written and stop.")
def turbulence_check_command(
    out: Output, folder: Path, seed: int, draws: int, dry_run: bool
) -> dict[str, Any]:
    """Measure tilt, transfer functions, PSFs, pictures and speed of the op 'turbulence', and compare them
    with theory.

    Takes half a minute; writes index.html, check.json and plots to OUT.

    \b
    Example:
      lrfr degrade turbulence-check --out check
    """
    if dry_run:
        out.say(f"would write index.html, check.json and 4 pictures into {folder}")
        return {"dry_run": True, "folder": str(folder)}
    from lrfr.cli.degrade.inputs import find_inputs
    from lrfr.degrade.turbulence.check.check import run_check
    from lrfr.degrade.turbulence.check.page import write_page

    faces = [face.load(_FACE_PX)[0] for face in find_inputs((), folder, _FACES)]
    with out.progress("check", "part") as advance:
        result = run_check(faces, seed, draws, advance)
    written = write_page(result, folder)
    _say_check(out, result)
    out.say(f"wrote {', '.join(written)} to {folder}")
    numbers = {key: value for key, value in result.items() if key != "pictures"}
    return {
        **numbers,
        "psnr_learned_exact_db": result["pictures"]["psnr_learned_exact_db"],
        "written": written,
        "folder": str(folder),
    }


def _say_check(out: Output, result: dict[str, Any]) -> None:
    std = result["tilt"]["std_px"]
    rows = [["shift std x / y [px], D/r0 1", f"{std['x']:.4f} / {std['y']:.4f}", f"{std['theory']:.4f}"]]
    for row in result["tilt"]["differential"]:
        measured, theory = (
            " / ".join(f"{value:.4g}" for value in row[key]) for key in ("measured_px2", "theory_px2")
        )
        rows.append([f"differential tilt at {row['separation_px']} px [px2]", measured, theory])
    for curve in result["mtf"]:
        gaps = " / ".join(f"{_largest_gap(curve, kind):.3f}" for kind in ("long", "short"))
        rows.append(
            [f"MTF at 0.1 .. 0.8 D/lambda, D/r0 {curve['D_over_r0']:g}: largest gap long / short", gaps, "0"]
        )
    out.table(["quantity", "simulated", "theory"], rows)
    out.table(
        ["CPU ms an image", "D/r0 2", "4", "10"],
        [[mode, *times.values()] for mode, times in result["speed"].items()],
    )


def _largest_gap(curve: dict[str, Any], kind: str) -> float:
    pairs = zip(curve["nu"], curve[kind], curve[f"{kind}_theory"], strict=True)
    return float(max(abs(found - theory) for nu, found, theory in pairs if 0.1 <= nu <= 0.8))


@command("p2s", short_help="the turbulence simulator's PSF banks, from nothing but physics")
@click.option(
    "--bank",
    type=click.Choice([*_BANKS, "all"]),
    default="all",
    show_default=True,
    help="D/r0 up to 2, 4 or 10.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Seed; the shipped banks are seed 0.",
)
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps (default: the shipped banks').")
@click.option(
    "--out",
    "folder",
    default="p2s",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the banks.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written and stop.")
def p2s_command(
    out: Output, *, bank: str, seed: int, steps: int | None, folder: Path, dry_run: bool
) -> dict[str, Any]:
    """Train the phase-to-space networks and PSF bases of the op 'turbulence', and measure them per D/r0 bin.

    No data is needed: phases are drawn from Noll's covariance and their PSFs computed exactly. Takes a few
    minutes on one core; the same seed gives the same files on the same kind of machine. The strong bank is a
    basis only: its PSFs are always exact.

    \b
    Examples:
      lrfr train p2s
      lrfr train p2s --bank weak --seed 7 --out banks
    """
    names = _BANKS if bank == "all" else (bank,)
    if dry_run:
        out.say(f"would train {', '.join(names)} into {folder}")
        return {"dry_run": True, "banks": list(names)}
    import dataclasses

    from lrfr.degrade.turbulence.bank_training import SCHEDULES, train_bank
    from lrfr.degrade.turbulence.banks import save_bank
    from lrfr.degrade.turbulence.p2s import BANKS

    cards = {}
    for name in names:
        schedule = dataclasses.replace(SCHEDULES[name], steps=steps or SCHEDULES[name].steps)
        with out.progress(f"bank {name}", "step") as advance:
            made, card = train_bank(name, BANKS[name], seed, schedule, advance)
        out.say(f"wrote {save_bank(made, card, folder)}")
        cards[name] = card
    bins = list(dict.fromkeys(b for card in cards.values() for b in card["relative_l2_basis"]))
    rows = [
        [f"{name}, {kind}", *((card[f"relative_l2_{kind}"] or {}).get(b) for b in bins)]
        for name, card in cards.items()
        for kind in ("basis", "learned")
    ]
    out.table(["mean relative L2 error, D/r0", *bins], rows)
    return {"banks": cards, "folder": str(folder)}
