"""``lrfr degrade turbulence-check`` and ``lrfr train p2s``: hold the simulator against theory, and make its
banks.
"""

from __future__ import annotations

from pathlib import Path

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import NumericFault

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
    """Measure tilt, transfer functions, PSFs, pictures and speed of the op 'turbulence', and hold them
    against theory.

    Takes half a minute; writes index.html, check.json and the figures (PNG, PDF, SVG) to OUT. Where a bound
    does not hold the exit code is 6.

    \b
    Example:
      lrfr degrade turbulence-check --out check
    """
    if dry_run:
        out.say(f"would write index.html, check.json and 4 figures into {folder}")
        return {"dry_run": True, "folder": str(folder)}
    from lrfr.degrade.turbulence.check.check import run_check
    from lrfr.degrade.turbulence.check.page import page_numbers, write_page
    from lrfr.degrade.turbulence.check.stated_bounds import verdicts
    from lrfr.pairs.sources.embedded_faces import find_inputs

    faces = [face.load(_FACE_PX)[0] for face in find_inputs((), folder, _FACES)]
    with out.progress("check", "part") as advance:
        result = run_check(faces, seed, draws, advance)
    written = write_page(result, folder)
    bounded = verdicts(result)
    out.table(["quantity", "measured", "bound", ""], [one.row() for one in bounded])
    speed = [[mode, *times.values()] for mode, times in result.speed.items()]
    out.table(["CPU ms an image", "D/r0 2", "4", "10"], speed)
    out.say(f"wrote {', '.join(written)} to {folder}")
    failed = sum(not one.passed for one in bounded)
    if failed:
        hint = f"see {folder / 'index.html'}"
        raise NumericFault(f"{failed} of {len(bounded)} bounds do not hold", hint=hint)
    return {**page_numbers(result), "written": written, "folder": str(folder)}


@command("p2s", short_help="the turbulence simulator's PSF banks, from nothing but physics")
@opt.choice("--bank", of="weak mid strong all", default="all", help="D/r0 up to 2, 4 or 10.")
@opt.count("--seed", low=0, high=2**32 - 1, default=0, help="Seed; the shipped banks are seed 0.")
@opt.count("--steps", help="Optimizer steps (default: the shipped banks').")
@opt.path("--out", "folder", kind=opt.FOLDER, default="p2s", help="Folder of the banks.")
@opt.dry_run()
def p2s_command(
    out: Output, *, bank: str, seed: int, steps: int | None, folder: Path, dry_run: bool
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
    from lrfr.degrade.turbulence.bank_training import error_rows, make_bank

    cards = {}
    for name in names:
        with out.progress(f"bank {name}", "step") as advance:
            path, cards[name] = make_bank(name, folder, seed=seed, steps=steps, on_progress=advance)
        out.say(f"wrote {path}")
    bins, rows = error_rows(cards)
    out.table(["mean relative L2 error, D/r0", *bins], rows)
    return {"banks": cards, "folder": str(folder)}
