"""``lrfr store forget`` and ``merge``: what leaves a store for good, and what comes in from others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError
from lrfr.core.lists import read_lines

SHOWN_NAMES = 20


def names(context: click.Context, option: click.Parameter, path: Path | None) -> tuple[str, ...] | None:
    """Return the names of a file, one a line."""
    return tuple(line.text for line in read_lines(path, names=True, comments=True)) if path else None


@command("forget", short_help="Remove faces for good.")
@opt.store(name="root")
@opt.path("--ids", callback=names, kind=opt.FILE, help="Identities to forget, one a line.")
@opt.path("--keys", callback=names, kind=opt.FILE, help="Keys of faces to forget, one a line.")
@opt.dry_run("Only say what would go.")
@opt.flag("--report", text="List the runs below --runs that were trained on what is forgotten.")
@opt.runs("runs_dir")
def forget(out: Output, root: Path, runs_dir: Path, **given: Any) -> dict[str, object]:
    """Remove faces from every base, variant, column, view and list of a store; only shards that hold some of
    them are written anew. Killed at any moment, the same command goes on; without a list it ends what was
    begun.

    \b
    Examples:
      lrfr store forget --ids withdrawn.txt --dry-run
      lrfr store forget --keys keys.txt --report --runs runs
    """
    from lrfr.pairs.care.forgetting.forget import resume
    from lrfr.pairs.store import Store

    store = Store(root)
    ids, keys = given["ids"], given["keys"]
    if ids is None and keys is None:
        ended = resume(store)
        if not ended:
            raise SpecError("nothing to forget", hint="--ids FILE or --keys FILE, one name a line")
        out.lines(f"ended act {act.act} of {act.date[:10]}: {act.faces} faces forgotten" for act in ended)
        return {"ended": [act.act for act in ended]}
    with out.stoppable("forget", "shards", "shards") as hooks:
        done = store.forget(ids, keys, dry_run=given["dry_run"], hooks=hooks)
    out.lines(done.told())
    told = asdict(done)
    if given["report"]:
        from lrfr.train.runs import trained_on

        found = trained_on(runs_dir, store.former_views(done.old_views))
        out.lines(f"trained on them: {run}" for run in found)
        out.say(f"{len(found)} runs below {runs_dir} were trained on forgotten faces")
        told["runs"] = [str(run) for run in found]
    return told
