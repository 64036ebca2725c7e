"""``lrfr reproduce``: is a result still what its file says?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import DataError


@command("reproduce", short_help="Check a result file's chain, from the faces to the metric.")
@click.argument("result", type=opt.PATH)
@opt.option(
    "--check", is_flag=True, help="Measure nothing again: compare what is there with what the file says."
)
@opt.path("--checkpoint", help="Where the model lies now.")
@opt.option("--data", help="Where the benchmark's data lie now.")
@opt.path("--store", default="store", help="Pair store of the view that the model was trained on.")
@opt.device()
def reproduce(out: Output, result: Path, **given: Any) -> dict[str, object]:
    """Go down the chain of RESULT, a file of lrfr eval: base, LR variant, view, run, checkpoint, list,
    revision, settings, metric; the first link that is not what the file says is named.

    The score is measured again unless --check is given. What the file names is looked for here, then in the
    folders that RESULT lies in. Exit code 0: everything agrees; 3: something differs or is missing.

    \b
    Examples:
      lrfr reproduce results/fskd-synthetic.json
      lrfr reproduce results/fskd-synthetic.json --check --store store --json
    """
    from lrfr.experiment.reproduce import reproduce as go_down

    with out.working("reproduce") as hooks:
        found = go_down(result, **given, hooks=hooks)
    out.table(["link", "state", "seen"], [[link.name, link.state, link.seen] for link in found.links])
    try:
        found.check()
    except DataError as error:
        out.fail(error)
    first = found.first.name if found.first else None
    return {"file": str(result), "links": [asdict(link) for link in found.links], "differs_first": first}
