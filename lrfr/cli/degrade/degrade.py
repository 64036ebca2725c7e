"""``lrfr degrade``: run a spec on files, folders or the embedded faces; write images, traces, a contact sheet
and statistics.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli.output import Command, Output, command
from lrfr.core.errors import SpecError
from lrfr.core.progress import Hooks

if TYPE_CHECKING:
    from lrfr.degrade.inspect.statistics import Summary
    from lrfr.degrade.spec.model import Spec

# word after ``degrade`` to the command of another file; an input of that name is written ./style-sheet
_MOUNTED = {
    "style-sheet": ("lrfr.cli.degrade.style", "style_sheet_command"),
    "turbulence-check": ("lrfr.cli.degrade.turbulence", "turbulence_check_command"),
}


class _WithMounted(Command):
    """A command that hands over to a mounted one when its first word names it."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of this command, or of the mounted one."""
        if args and args[0] in _MOUNTED:
            module, attribute = _MOUNTED[args[0]]
            mounted: click.Command = getattr(importlib.import_module(module), attribute)
            return mounted.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@command(
    "degrade",
    cls=_WithMounted,
    short_help="Degrade faces by a spec; writes images, a trace and a contact sheet.",
)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--spec", "source", help="YAML file or preset name (see: lrfr presets ls).")
@click.option(
    "--out",
    "folder",
    default="degraded",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Output folder.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PLACE=VALUE",
    help="Replace one value of the spec, e.g. pipeline.d1.size=14.",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Seed (default: the spec's).")
@click.option(
    "--variants", type=click.IntRange(1, 1000), help="LR images for each face (default: the spec's)."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many faces.")
@click.option("--print-spec", is_flag=True, help="Print the resolved, loadable spec and stop.")
@click.option("--preview", is_flag=True, help="Write the contact sheet only.")
@click.option(
    "--stats",
    "with_stats",
    is_flag=True,
    help="Gate rates, parameter histograms, PSNR and SSIM: table, stats.json, stats.png.",
)
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Repeat what a trace.jsonl records.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written and stop.")
def degrade(out: Output, inputs: tuple[str, ...], **options: Any) -> dict[str, Any]:
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
        return _replay(out, inputs, options["replay"], options["folder"], options["dry_run"])
    if options["source"] is None:
        raise SpecError("which degradation?", hint="--spec FILE or --spec PRESET; see: lrfr presets ls")
    from lrfr.degrade.spec.model import load_spec

    spec = load_spec(options["source"], options["overrides"]).with_(
        seed=options["seed"], variants=options["variants"]
    )
    if options["print_spec"]:
        return _print_spec(out, spec)
    from lrfr.cli.degrade.inputs import find_inputs
    from lrfr.degrade.apply_files import SHEET_ROWS, apply_files
    from lrfr.degrade.pipeline import Pipeline

    folder, preview, stats = options["folder"], options["preview"], options["with_stats"]
    faces = find_inputs(inputs, folder, options["limit"] or (SHEET_ROWS if preview and inputs else None))
    pipeline = Pipeline(spec)
    result: dict[str, Any] = {"spec": spec.name, "digest": spec.digest}
    result |= {"faces": len(faces), "variants": spec.variants}
    if options["dry_run"]:
        work = f"{len(faces)} faces x {spec.variants} variants by '{spec.name}'"
        out.say(f"would degrade {work} into {folder}")
        return {**result, "dry_run": True}
    with out.progress("degrade") as advance:
        done = apply_files(faces, pipeline, folder, preview=preview, stats=stats, hooks=Hooks(advance))
    if done.summary is not None:
        _say_stats(out, done.summary)
    for fault in done.refused:
        out.note(f"left out {fault.file}: {fault.reason}")
    if preview and done.recoded:
        out.note(
            f"{done.recoded} of {len(faces)} faces are no JPEG of {spec.image.size_px} px: a store holds and "
            f"degrades the JPEG (quality 95) of their HR, a few levels off this preview"
        )
    out.say(f"wrote {', '.join(done.written)} to {folder}")
    refused = [fault._asdict() for fault in done.refused]
    return {**result, "written": done.written, "refused": refused, "recoded": done.recoded}


def _print_spec(out: Output, spec: Spec) -> dict[str, Any]:
    import yaml

    resolved = spec.as_json()
    text = yaml.safe_dump(resolved, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    out.say(f"# sha256 {spec.digest}\n{text.rstrip()}")
    return {"digest": spec.digest, "spec": resolved}


def _say_stats(out: Output, summary: Summary) -> None:
    from lrfr.degrade.inspect.statistics import Numbers, varies

    rows = []
    for op in summary.ops:
        spans = [
            f"{key} {found.min:.3g} / {found.mean:.3g} / {found.max:.3g}"
            for key, found in op.params.items()
            if isinstance(found, Numbers) and varies(found)
        ]
        rows.append([op.id, op.op, f"{op.rate:.3f}", f"{op.expected:.3f}", "; ".join(spans) or "-"])
    head = ["step", "op", "rate", "expected", "drawn: min / mean / max"]
    out.table(head, rows, f"{summary.n} images")
    psnr_db, ssim = summary.psnr_db, summary.ssim
    if isinstance(psnr_db, Numbers) and isinstance(ssim, Numbers):
        out.say(f"against HR after the way up: PSNR {psnr_db.mean:.2f} dB, SSIM {ssim.mean:.3f} (means)")


def _replay(
    out: Output, inputs: tuple[str, ...], traces: Path, folder: Path, dry_run: bool
) -> dict[str, Any]:
    from lrfr.cli.degrade.inputs import embedded_number, find_inputs
    from lrfr.degrade.apply_files import replay_files
    from lrfr.degrade.inspect.trace_file import read_traces

    records = read_traces(traces)
    needed = max((embedded_number(record.trace.key) for record in records), default=0) + 1
    faces = find_inputs(inputs, folder, None if inputs else needed)
    count = replay_files(records, faces, folder, dry_run=dry_run)
    out.say(f"replayed {count} images, all equal to the recorded pixels, into {folder}")
    return {"replayed": count}
