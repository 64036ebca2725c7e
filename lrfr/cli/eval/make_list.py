"""``lrfr make-list``: trials drawn from the faces of a view or source, as files that ``lrfr eval`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command


@click.group("make-list", short_help="Draw pairs, or gallery and probes, to measure on.")
def make_list_group() -> None:
    """Draw pairs, or gallery, probes and distractors, of a view or source.

    \b
    Examples:
      lrfr make-list pairs default --split test --out pairs.tsv
      lrfr make-list gallery faces/ --out lists
    """


def _faces(body: opt.Body) -> opt.Body:
    """Add what names the faces."""
    for wrap in (
        click.argument("place", metavar="VIEW|SOURCE"),
        opt.store("Folder of the store of a view."),
        opt.option("--split", default="", help="Faces of this split alone, as test."),
        opt.option(
            "--holdout",
            type=opt.Real(0, 1, max_open=True),
            default=0.0,
            help="Of a source: make-pairs'.",
        ),
        opt.count("--seed", low=0, default=0, help="Of the draws."),
    ):
        body = wrap(body)
    return body


@command("pairs", short_help="A balanced list of pairs in folds.")
@_faces
@opt.count("--pairs", low=4, default=6000, help="How many, half of them genuine.")
@opt.count("--folds", low=2, high=1000, default=10, help="Groups of people that share nobody.")
@opt.option("--hard", multiple=True, metavar="ATTRIBUTE", help="Impostors agree in it; repeatable.")
@opt.path("--out", "target", kind=opt.FILE, default="pairs.tsv", help="The list.")
def pairs_command(out: Output, place: str, target: Path, **given: Any) -> dict[str, object]:
    """Draw pairs by hashes of names: the same for any order of the faces, mostly the same when faces come.

    \b
    Examples:
      lrfr make-list pairs default --split test --out pairs.tsv
      lrfr make-list pairs faces/ --holdout 0.2 --split test --hard Male
    """
    from lrfr.eval.pairs.face_table import face_table
    from lrfr.eval.pairs.list_files import write_pairs
    from lrfr.eval.pairs.made_lists import PairPlan, make_pair_list

    faces = face_table(place, given["store"], given["split"], given["holdout"])
    made = make_pair_list(faces, opt.picked(PairPlan, given))
    write_pairs(made, target)
    folds = len(set(made.fold.tolist()))
    out.notes(made.notes)
    out.say(f"{len(made.same)} pairs of {faces.origin} in {folds} folds: {target}")
    line = _next(out, place, given, target, "pairs-tsv")
    return {**made.told(), "pairs": len(made.same), "folds": folds, "notes": list(made.notes), "next": line}


@command("gallery", short_help="Gallery, probe and distractor lists.")
@_faces
@opt.count(
    "--gallery-per-id", "per_id", default=1, help="Gallery images of each person; the rest are probes."
)
@opt.option("--strangers", type=opt.Real(0, 1, max_open=True), default=0.0, help="Share without a mate.")
@opt.path("--out", "target", kind=opt.FOLDER, default="lists", help="Folder of the lists.")
def gallery_command(out: Output, place: str, target: Path, **given: Any) -> dict[str, object]:
    """Choose gallery and probes; people without a second image, and the strangers, are distractors.

    \b
    Examples:
      lrfr make-list gallery default --split test --out lists
      lrfr make-list gallery faces/ --gallery-per-id 2 --strangers 0.2
    """
    from lrfr.eval.pairs.face_table import face_table
    from lrfr.eval.pairs.list_files import write_gallery
    from lrfr.eval.pairs.made_lists import GalleryPlan, make_gallery

    faces = face_table(place, given["store"], given["split"], given["holdout"])
    made = make_gallery(faces, opt.picked(GalleryPlan, given))
    write_gallery(made, target)
    counts = {part: len(getattr(made, part)) for part in ("gallery", "probe", "distractor")}
    out.counts(f"lists of {faces.origin} in {target}", counts)
    return {**made.told(), **counts, "next": _next(out, place, given, target, "identify-tsv")}


def _next(out: Output, place: str, given: dict[str, Any], target: Path, benchmark: str) -> str:
    """Say how the list is measured on."""
    split = f" --split {given['split']}" if given["split"] else ""
    of_view = f"--benchmark view --store {given['store']} --view {{}}{split} --trials {target}"
    if Path(place).is_dir():
        line = f"lrfr eval RUN --benchmark {benchmark} --data {target},root={place}"
    elif Path(place).exists() or ":" in place.removeprefix("view:"):
        line = f"lrfr eval RUN {of_view.format('VIEW')}, of a view that make-pairs --source {place} writes"
    else:
        line = f"lrfr eval RUN {of_view.format(place.removeprefix('view:'))}"
    out.say(f"next: {line}")
    return line


for _command in (pairs_command, gallery_command):
    make_list_group.add_command(_command)
