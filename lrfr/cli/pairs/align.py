"""``lrfr align``: photographs become aligned crops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.machine import usable_cores

if TYPE_CHECKING:
    from lrfr.pairs.align.align_run import AlignOptions, AlignReport


@command("align", short_help="Photographs become aligned crops.")
@click.argument("photos")
@opt.path("--out", "target", required=True, help="Folder of the crops.")
@opt.count("--size", "size_px", low=8, high=1024, default=112, help="Side of the crops in pixels.")
@opt.detection()
@opt.path("--landmarks", help="Cut by this (edited) landmarks.tsv; nothing is detected.")
@opt.path("--sheet", help="The contact sheet.  [default: beside --out, NAME-sheet.png]")
@opt.executor()
@opt.workers("Tasks at once.  [default: all cores]")
@opt.ray_address("Address of a running Ray cluster ('auto' finds one).")
@opt.dry_run("Write nothing: show what is to be done.")
def align_command(out: Output, photos: str, target: Path, **given: Any) -> dict[str, object]:
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
    from lrfr.pairs.align.align_run import AlignOptions, align_folder, plan_alignment
    from lrfr.pairs.build.look.face_search import FaceSearch, alignment_of
    from lrfr.pairs.executors.dispatch import Runner

    search = FaceSearch.of(alignment_of(given))
    rules, detector = replace(search.rules, size_px=given["size_px"]), search.detector
    sheet = given["sheet"] or target.absolute().with_name(f"{target.absolute().name}-sheet.png")
    options = AlignOptions(photos, target, rules, detector, given["landmarks"], sheet)
    if given["dry_run"]:
        seen, todo, others = plan_alignment(options)
        out.say(f"{seen} photographs, {todo} to be done, {others} other files (nothing written)")
        return {"photos": seen, "todo": todo, "passed_over": others}
    given["workers"] = given["workers"] or usable_cores()
    with out.stoppable("align", "photos", "photographs") as hooks:
        report = align_folder(options, opt.picked(Runner, given, hooks=hooks))
    return _show(out, options, report)


def _show(out: Output, options: AlignOptions, report: AlignReport) -> dict[str, object]:
    refused, passed = sum(report.refused.values()), sum(report.passed_over.values())
    out.say(
        f"{report.seen} seen: {report.used} used, {report.missed} without a face, {refused} refused, "
        f"{passed} passed over"
    )
    out.say(f"{report.crops} crops in {options.out} ({report.made} photographs looked at by this run)")
    for name in ("refused", "passed over", "remarks"):
        out.counts(name, getattr(report, name.replace(" ", "_")))
    if report.unmatched:
        out.note(f"warning: {report.unmatched} keys of {options.landmarks} name no photograph")
    if report.removed:
        out.note(f"{report.removed} crops whose photographs or landmarks are gone were removed")
    out.say(f"look at {options.sheet}; every file is accounted for in {options.out / 'align.json'}")
    if report.crops:
        out.next_step("lrfr", "make-pairs", "--source", options.out)
    told = {"out": str(options.out), "sheet": str(options.sheet), **report.counts()}
    return {**told, "made": report.made, "removed": report.removed}
