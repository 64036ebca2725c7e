"""``lrfr fit``: a camera's crops become the spec that makes such crops; has the camera changed since?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

_PRIOR = "Spec of what is known of the camera (preset or file); what it draws is fitted inside its range."
_TEACHER = "Run, checkpoint or ONNX file: distances of its embeddings too."
_CHECK = "Do new CROPS still look like those that this spec was fitted to? Ends with 3 where not."


@command("fit", short_help="Find the spec of a camera from its crops.")
@click.argument("crops")
@opt.option("--source", help="Clean aligned faces of other people, as of make-pairs.")
@opt.path(
    "--out", "target", kind=opt.FILE, default="camera.yaml", help="The spec; page and record go beside it."
)
@opt.path("--check", kind=opt.EXISTING_FILE, help=_CHECK)
@opt.option("--prior", help=_PRIOR)
@opt.option("--teacher", help=_TEACHER)
@opt.option("--budget", "budget_minutes", type=click.FloatRange(0.2), metavar="MINUTES", help="Of one core.")
@opt.count("--seed", low=0, default=0, help="Of everything that is drawn.")
@opt.count("--limit", help="At most so many crops.")
@opt.path("--cache", kind=opt.FOLDER, help="Simulated faces, shared by fits.  [default: beside the spec]")
@opt.executor()
@opt.workers("Processes that simulate.", default=1)
@opt.ray_address("Of a running Ray cluster.")
@opt.flag("--no-pictures", text="Show no crops on the page.")
@opt.dry_run("Read crops, say what is seen, write nothing.")
def fit_command(out: Output, crops: str, **given: Any) -> dict[str, object]:
    """Find the spec under which clean faces become like CROPS, a folder of a camera's aligned faces.

    No labels and no pairs are needed; some hundred crops are enough. The page beside the spec says how near
    it came. The same command goes on where it was stopped.

    \b
    Examples:
      lrfr fit crops/ --source faces/ --out camera.yaml
      lrfr fit crops/ --source faces/ --prior surveillance --budget 10
      lrfr fit new_crops/ --check camera.yaml
      lrfr make-pairs --source faces/ --spec camera.yaml
    """
    from lrfr.experiment.steps.fit_here import FitWishes, fit_camera
    from lrfr.fit.look.crop_files import read_crops

    if given["check"] is not None:
        return _check(out, crops, given)
    if given["source"] is None:
        raise SpecError("which clean faces?", hint="--source FOLDER of aligned faces of other people")
    if given["dry_run"]:
        found = read_crops(crops, limit=given["limit"])
        out.counts(f"crops of {crops}", found.seen)
        out.notes(found.notes)
        return {"crops": len(found), "seen": found.seen, "notes": list(found.notes), "dry_run": True}
    wishes = opt.picked(FitWishes, given | {"pictures": not given["no_pictures"]})
    path: Path = given["target"]
    with out.stoppable("fit", "step", "simulations") as hooks:
        camera = fit_camera(crops, given["source"], path, wishes, hooks=hooks)
    _say(out, camera)
    out.say(f"wrote {path}, {path.with_suffix('.html')} and {path.with_suffix('.fit')}")
    out.next_step("lrfr", "make-pairs", "--source", given["source"], "--spec", path)
    return {"out": str(path), **camera.as_json()}


def _say(out: Output, camera: Any) -> None:
    rows = [
        [
            row.name,
            f"{row.c2st:.3f}",
            f"[{row.low:.3f}, {row.high:.3f}]",
            f"{row.frechet:.2f}",
            f"{row.kid:.3f}",
            row.words,
        ]
        for row in camera.rows
    ]
    out.table(["set", "C2ST", "95 %", "Frechet", "KID", ""], rows, f"against {camera.fitted.n} test crops")
    if len(camera.shares) > 1:
        out.say("groups of crops: " + ", ".join(f"{share:.0%}" for share in camera.shares))
    out.say(f"{camera.kept}: {camera.verdict}")


def _check(out: Output, crops: str, given: dict[str, Any]) -> dict[str, object]:
    from lrfr.experiment.steps.fit_here import check_camera

    drift = check_camera(given["check"], crops, seed=given["seed"], limit=given["limit"])
    out.notes(drift.notes)
    rows = [[one.kind, f"{one.p:.3f}", one.most, f"{one.by:+.2f}"] for one in drift.moved]
    out.table(["what", "p", "moved most", "by, spreads"], rows, f"{drift.n} crops against {drift.reference}")
    out.say(drift.words)
    out.code = 3 if drift.drifted else 0
    return drift.as_json()
