"""``lrfr fit``: a camera's crops become the spec that makes such crops; has the camera changed since?"""

from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command


@command("fit", short_help="Find the spec of a camera from its crops.")
@click.argument("crops")
@opt.option("--source", help="Clean aligned faces of other people, as of make-pairs.")
@opt.path("--out", "target", kind=opt.FILE, help="Spec; page and record beside.  [default: camera.yaml]")
@opt.path("--check", kind=opt.EXISTING_FILE, help="Fitted spec: do CROPS still look like it? 7 where not.")
@opt.option("--prior", help="Spec of what is known: what it draws is fitted in its range; or camera-air.")
@opt.option("--teacher", help="Run, checkpoint or ONNX file: distances of its embeddings too.")
@opt.option("--budget", "budget_minutes", type=opt.Real(0.2), metavar="MINUTES", help="Of one core.")
@opt.count("--seed", low=0, default=0, help="Of everything that is drawn.")
@opt.count("--limit", help="At most so many crops.")
@opt.path("--cache", kind=opt.FOLDER, help="Simulated faces, shared by fits.  [default: beside the spec]")
@opt.executor()
@opt.workers("Processes that simulate.", default=1)
@opt.ray_address("Of a running Ray cluster.")
@opt.flag("--no-pictures", text="Show no crops on the page.")
@opt.dry_run("Read crops and some clean faces, say what is seen, write nothing.")
def fit_command(out: Output, crops: str, **given: Any) -> dict[str, object]:
    """Find the spec under which clean faces become like CROPS, aligned faces of one camera without labels.

    \b
    Examples:
      lrfr fit crops/ --source faces/ --prior surveillance --budget 10
      lrfr fit new_crops/ --check camera.yaml
    """
    from lrfr.experiment.steps.fitting import fit_here as room

    wishes = opt.picked(room.FitWishes, given | {"pictures": not given["no_pictures"]})
    if given["check"] is not None:
        room.refuse_beside_check(given)
        drift = room.check_camera(given["check"], crops, seed=wishes.seed, limit=wishes.limit)
        out.notes(drift.notes)
        out.table(*drift.table())
        out.say(drift.words)
        out.code = room.DRIFTED if drift.drifted else 0
        return drift.as_json()
    target = room.check_asked(given["source"], given["target"], wishes)
    if given["dry_run"]:
        found, alike = room.seen_crops(crops, given["source"], wishes)
        out.notes(found.notes)
        out.counts(f"crops of {crops}; {alike}", found.seen)
        return {"seen": found.seen, "notes": list(found.notes), "alike": alike, "dry_run": True}
    with out.stoppable("fit", "step", "simulations") as hooks:
        camera = room.fit_camera(crops, given["source"], target, wishes, hooks=hooks)
    out.table(*camera.table())
    out.say(f"{camera.kept}: {camera.verdict}; wrote {target} and a page beside it")
    out.next_step("lrfr", "make-pairs", "--source", given["source"], "--spec", target)
    return {"out": str(target), **camera.as_json()}
