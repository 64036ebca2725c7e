"""``lrfr degrade``: run a spec on files, folders or the embedded faces; write images, traces, a contact sheet
and statistics.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Command, Output, command
from lrfr.core.errors import SpecError
from lrfr.core.progress import Hooks

if TYPE_CHECKING:
    from lrfr.degrade.inspect.statistics import Summary

_SHORT = "Degrade faces by a spec; writes images, a trace and a contact sheet."
_SET = "Replace one value of the spec, e.g. pipeline.d1.size=14."
_STATS = "Gate rates, parameter histograms, PSNR and SSIM: table, stats.json, stats.png."
_REPLAY = "Repeat what a trace.jsonl records (with --spec where style weights of your own were used)."

# word after ``degrade`` to the command of another file; an input of that name is written ./style-sheet
MOUNTED = {
    "style-sheet": ("lrfr.cli.degrade.style", "style_sheet_command"),
    "turbulence-check": ("lrfr.cli.degrade.turbulence", "turbulence_check_command"),
}


class _WithMounted(Command):
    """A command that hands over to a mounted one when its first word names it."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of this command, or of the mounted one."""
        if args and args[0] in MOUNTED:
            module, attribute = MOUNTED[args[0]]
            mounted: click.Command = getattr(importlib.import_module(module), attribute)
            return mounted.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@command("degrade", cls=_WithMounted, short_help=_SHORT)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@opt.option("--spec", "source", help="YAML file or preset name (see: lrfr presets ls).")
@opt.path("--out", "folder", kind=opt.FOLDER, default="degraded", help="Output folder.")
@opt.many("--set", "overrides", metavar="PLACE=VALUE", text=_SET)
@opt.count("--seed", low=0, high=2**64 - 1, help="Seed (default: the spec's).")
@opt.count("--variants", high=1000, help="LR images for each face (default: the spec's).")
@opt.count("--limit", help="At most so many faces.")
@opt.flag("--print-spec", text="Print the resolved, loadable spec and stop.")
@opt.flag("--preview", text="Write the contact sheet only.")
@opt.flag("--stats", "with_stats", text=_STATS)
@opt.path("--replay", kind=opt.EXISTING_FILE, help=_REPLAY)
@opt.dry_run()
def degrade(out: Output, inputs: tuple[str, ...], **options: Any) -> dict[str, object]:
    """Degrade INPUT (image files or folders; without any, the embedded faces) by a spec.

    Every image is cropped to its central square and brought to the spec's image size first. Results keep
    their native LR size and go to OUT/NAME.vK.png, what was drawn to OUT/trace.jsonl, an overview to
    OUT/contact.png.

    \b
    Examples:
      lrfr degrade --spec turb.yaml
      lrfr degrade --spec fskd photos/ --out lr --variants 3
      lrfr degrade --spec sensor --set pipeline.d1.size=14 --preview
      lrfr degrade --replay lr/trace.jsonl photos/ --out again
      lrfr degrade style-sheet --help
      lrfr degrade turbulence-check --help
    """
    if options["replay"] is not None:
        return _replay(out, inputs, options["replay"], options["folder"], options)
    if options["source"] is None:
        raise SpecError("which degradation?", hint="--spec FILE or --spec PRESET; see: lrfr presets ls")
    from lrfr.degrade.spec.model import load_spec

    spec = load_spec(options["source"], options["overrides"]).with_(
        seed=options["seed"], variants=options["variants"]
    )
    if options["print_spec"]:
        out.say(f"# sha256 {spec.digest}")
        out.yaml(spec.as_json(), 120)
        return {"digest": spec.digest, "spec": spec.as_json()}
    from lrfr.degrade.apply_files import SHEET_ROWS, apply_files
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.pairs.sources.embedded_faces import find_inputs

    folder, preview, stats = options["folder"], options["preview"], options["with_stats"]
    notes: list[str] = []
    most = options["limit"] or (SHEET_ROWS if preview and inputs else None)
    faces = find_inputs(inputs, folder, most, Hooks(on_note=notes.append))
    out.notes(notes)
    pipeline = Pipeline(spec)
    result: dict[str, object] = {"spec": spec.name, "digest": spec.digest}
    result |= {"faces": len(faces), "variants": spec.variants, "notes": notes}
    if options["dry_run"]:
        out.say(f"would degrade {len(faces)} faces x {spec.variants} variants by '{spec.name}' into {folder}")
        return {**result, "dry_run": True}
    with out.working("degrade") as hooks:
        done = apply_files(faces, pipeline, folder, preview=preview, stats=stats, hooks=hooks)
    if done.summary is not None:
        _say_stats(out, done.summary)
    out.notes(f"left out {fault.file}: {fault.reason}" for fault in done.refused)
    if preview and done.recoded:
        out.note(
            f"{done.recoded} of {len(faces)} faces are no JPEG of {spec.image.size_px} px: a store holds and "
            f"degrades the JPEG (quality 95) of their HR, a few levels off this preview"
        )
    out.say(f"wrote {', '.join(done.written)} to {folder}; look at {folder / 'contact.png'}")
    where = ["--source", inputs[0]] if len(inputs) == 1 and Path(inputs[0]).is_dir() else []
    changes = [word for change in options["overrides"] for word in ("--set", change)]
    out.next_step("lrfr", "make-pairs", *where, "--spec", options["source"], *changes)
    refused = [fault._asdict() for fault in done.refused]
    return {**result, "written": done.written, "refused": refused, "recoded": done.recoded}


def _say_stats(out: Output, summary: Summary) -> None:
    head = ["step", "op", "rate", "expected", "drawn: min / mean / max"]
    out.table(head, [op.row() for op in summary.ops], f"{summary.n} images")
    likeness = summary.likeness()
    if likeness:
        out.say(f"against HR after the way up: {likeness}")


def _replay(
    out: Output, inputs: tuple[str, ...], traces: Path, folder: Path, options: Mapping[str, Any]
) -> dict[str, object]:
    from lrfr.degrade.apply_files import replay_files
    from lrfr.degrade.inspect.trace_file import read_traces
    from lrfr.degrade.spec.model import load_spec
    from lrfr.pairs.sources.embedded_faces import find_recorded

    records = read_traces(traces)
    faces = find_recorded(inputs, folder, [record.trace.key for record in records])
    # only a trace of weights that are not shipped needs the spec, which says where they lie
    spec = load_spec(options["source"], options["overrides"]) if options["source"] else None
    count = replay_files(records, faces, folder, spec=spec, dry_run=options["dry_run"])
    out.say(f"replayed {count} images, all equal to the recorded pixels, into {folder}")
    return {"replayed": count}
