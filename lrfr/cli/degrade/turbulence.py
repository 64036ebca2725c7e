"""``lrfr degrade turbulence-check`` and ``lrfr train p2s``: hold the simulator against theory, and make its
banks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command

_SHORT = "Hold the turbulence simulator against theory; writes a page with plots."
_BANKS = ("weak", "mid", "strong")
_FACES = 16
_FACE_PX = 112


@command("turbulence-check", short_help=_SHORT)
@opt.path("--out", "folder", kind=opt.FOLDER, default="turbulence-check", help="Output folder.")
@opt.count("--seed", low=0, high=2**32 - 1, default=0, help="Seed of all draws.")
@opt.count("--draws", low=100, high=20_000, default=2000, help="Fields and PSFs for the statistics.")
@opt.dry_run()
def turbulence_check_command(
    out: Output, folder: Path, seed: int, draws: int, dry_run: bool
) -> dict[str, object]:
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
    from lrfr.degrade.turbulence.check.check import run_check
    from lrfr.degrade.turbulence.check.page import write_page
    from lrfr.pairs.sources.embedded_faces import find_inputs

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
@opt.choice("--bank", of="weak mid strong all", default="all", help="D/r0 up to 2, 4 or 10.")
@opt.count("--seed", low=0, high=2**32 - 1, default=0, help="Seed; the shipped banks are seed 0.")
@opt.count("--steps", help="Optimizer steps (default: the shipped banks').")
@opt.path("--out", "folder", kind=opt.FOLDER, default="p2s", help="Folder of the banks.")
@opt.dry_run()
def p2s_command(
    out: Output, bank: str, seed: int, steps: int | None, folder: Path, dry_run: bool
) -> dict[str, object]:
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
