"""``lrfr store quality`` and ``choose``: scores of faces as columns, and views by scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command


@command("quality", short_help="Score a view's faces by a model.")
@click.argument("model", type=opt.PATH)
@opt.store(name="root")
@opt.option("--view", default="default", help="View whose faces are scored.")
@opt.choice(
    "--kind", of="norm dropout", default="norm", help="The embedding's norm, or agreement under dropout."
)
@opt.option("--column", default="quality", help="Name of the column.")
def quality(out: Output, model: Path, root: Path, **given: Any) -> dict[str, object]:
    """Score the HR faces of a view by what MODEL makes of them and keep the scores as a column: higher is
    better. What is there is found; after a view has grown, the same command scores what is new.

    \b
    Examples:
      lrfr store quality runs/fskd
      lrfr store quality runs/fskd --view big --kind dropout --column agreement
    """
    from lrfr.experiment.steps.quality_here import write_quality
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.store import Store

    with out.stoppable("quality", "faces", "faces") as hooks:
        runner = Runner("serial", hooks=hooks)
        view, column = given["view"], given["column"]
        done = write_quality(Store(root), view, model, given["kind"], column=column, runner=runner)
    out.say(f"column '{column}' of '{view}': {done.written} scored, {done.found} found")
    out.next_step("lrfr", "store", "choose", view, f"{view}-good", "--column", column, "--keep", 0.8)
    return {"column": column, "written": done.written, "found": done.found}


@command("choose", short_help="Make a view of faces of some scores.")
@click.argument("view")
@click.argument("new")
@opt.store(name="root")
@opt.option("--column", default="quality", help="Name of the column.")
@opt.option("--at-least", type=float, help="Smallest value that stays.")
@opt.option("--at-most", type=float, help="Largest value that stays.")
@opt.option(
    "--keep", "keep_share", type=float, help="Share of the faces that stays, those of the largest values."
)
def choose(out: Output, view: str, new: str, root: Path, **given: Any) -> dict[str, object]:
    """Make the view NEW of those faces of VIEW whose value in a column lies in a range. Nothing is copied.

    \b
    Examples:
      lrfr store choose default good --keep 0.8
      lrfr store choose default sharp --column quality --at-least 12
    """
    from lrfr.pairs.care.merging.view_choice import ColumnRange
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.store import Store

    store = Store(root)
    made = store.choose_rows(view, new, opt.picked(ColumnRange, given))
    left, before = len(PairDataset(store, new)), len(PairDataset(store, view))
    out.say(f"view '{new}': {left} of {before} faces of '{view}'")
    return {"view": new, "id": made.id, "faces": left, "of": before}
