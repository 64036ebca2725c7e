"""``lrfr align``: photographs become aligned crops."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lrfr.cli.output import Output, command
from lrfr.core.machine import usable_cores

if TYPE_CHECKING:
    from lrfr.pairs.align.align_run import AlignOptions, AlignReport

_PATH = click.Path(path_type=Path)


@command("align", short_help="Photographs become aligned crops.")
@click.argument("photos")
@click.option("--out", "target", required=True, type=_PATH, help="Folder of the crops.")
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(8, 1024),
    default=112,
    show_default=True,
    help="Side of the crops in pixels.",
)
@click.option(
    "--face",
    type=click.Choice(["largest", "center", "all"]),
    default="largest",
    show_default=True,
    help="Which face of a photograph: the largest one near the center, the nearest to it, or all.",
)
@click.option(
    "--on-miss",
    type=click.Choice(["keep-center", "skip"]),
    default="skip",
    show_default=True,
    help="What becomes of a photograph without a face: its central square, or nothing.",
)
@click.option("--detector", default="mtcnn", show_default=True, metavar="NAME", help="See lrfr detectors ls.")
@click.option(
    "--detector-weights", "weights", type=_PATH, default=None, help="The detector's file of weights."
)
@click.option(
    "--landmarks", type=_PATH, default=None, help="Cut by this (edited) landmarks.tsv; nothing is detected."
)
@click.option(
    "--sheet", type=_PATH, default=None, help="The contact sheet.  [default: beside --out, NAME-sheet.png]"
)
@click.option(
    "--executor",
    type=click.Choice(["auto", "serial", "process", "ray"]),
    default="auto",
    show_default=True,
    help="Where work runs.",
)
@click.option(
    "--workers", type=click.IntRange(1, 4096), default=None, help="Tasks at once.  [default: all cores]"
)
@click.option("--ray-address", default=None, help="Address of a running Ray cluster ('auto' finds one).")
@click.option("--dry-run", is_flag=True, help="Write nothing: show what is to be done.")
def align_command(
    out: Output,
    *,
    photos: str,
    target: Path,
    size_px: int,
    face: Literal["largest", "center", "all"],
    on_miss: Literal["keep-center", "skip"],
    detector: str,
    weights: Path | None,
    landmarks: Path | None,
    sheet: Path | None,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    dry_run: bool,
) -> dict[str, object]:
    """Find the face in each photograph and cut it out, aligned to the ArcFace template.

    PHOTOS is a folder (names and folders below it are kept) or kind:place (docs/store.md). Beside the crops
    lie landmarks.tsv, which can be edited and given back with --landmarks, align.json, which says what became
    of every file, and a contact sheet, worst fits first. The same command again does only what is new.

    \b
    Examples:
      lrfr align photos/ --out aligned
      lrfr align photos/ --out aligned --landmarks aligned/landmarks.tsv
      lrfr align synthetic-photos:ids=10,per_id=4 --out aligned --on-miss keep-center
    """
    from lrfr.core.progress import Hooks, Stopped, stop_on_signal
    from lrfr.pairs.align.align_run import AlignOptions, align_folder, plan_alignment
    from lrfr.pairs.align.aligner import AlignRules
    from lrfr.pairs.align.photo_task import DetectorChoice
    from lrfr.pairs.executors.dispatch import Runner

    options = AlignOptions(
        photos,
        target,
        AlignRules(size_px, face, on_miss),
        DetectorChoice(detector, weights),
        landmarks,
        sheet or target.absolute().with_name(f"{target.absolute().name}-sheet.png"),
    )
    if dry_run:
        return _show_plan(out, *plan_alignment(options))
    try:
        with stop_on_signal(_say_stopping) as stop, out.progress("align", "photos") as advance:
            hooks = Hooks(advance, should_stop=stop.asked)
            runner = Runner(
                executor, workers or usable_cores(), ray_address or os.environ.get("RAY_ADDRESS"), None, hooks
            )
            report = align_folder(options, runner)
    except Stopped:
        signal.raise_signal(stop.signum)
        raise click.Abort from None  # where the signal is ignored
    return _show(out, options, report)


def _say_stopping() -> None:
    click.echo("finishing the running photographs; once more to stop now", err=True)


def _show_plan(out: Output, photos: int, todo: int, others: int) -> dict[str, object]:
    out.say(f"{photos} photographs, {todo} to be done, {others} other files (nothing written)")
    return {"photos": photos, "todo": todo, "passed_over": others}


def _show(out: Output, options: AlignOptions, report: AlignReport) -> dict[str, object]:
    refused, passed = sum(report.refused.values()), sum(report.passed_over.values())
    out.say(
        f"{report.seen} seen: {report.used} used, {report.missed} without a face, {refused} refused, "
        f"{passed} passed over"
    )
    out.say(f"{report.crops} crops in {options.out} ({report.made} photographs looked at by this run)")
    for name, counts in (
        ("refused", report.refused),
        ("passed over", report.passed_over),
        ("remarks", report.remarks),
    ):
        if counts:
            out.say(f"{name}: " + ", ".join(f"{code} {count}" for code, count in counts.items()))
    if report.unmatched:
        out.note(f"warning: {report.unmatched} keys of {options.landmarks} name no photograph")
    if report.removed:
        out.note(f"{report.removed} crops whose photographs or landmarks are gone were removed")
    out.say(f"look at {options.sheet}; every file is accounted for in {options.out / 'align.json'}")
    if report.crops:
        out.say(f"next: lrfr make-pairs --source {options.out}")
    where = {"out": str(options.out), "sheet": str(options.sheet)}
    return {**where, **report.counts(), "made": report.made, "removed": report.removed}
