"""``lrfr degrade``: run a spec on files, folders or the embedded faces; write images, traces, a contact sheet
and statistics.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Advance, Command, Output, command
from lrfr.core.errors import DataError, SpecError

# word after ``degrade`` to the command of another file; an input of that name is written ./style-sheet
_MOUNTED = {
    "style-sheet": ("lrfr.cli.degrade.style", "style_sheet_command"),
    "turbulence-check": ("lrfr.cli.degrade.turbulence", "turbulence_check_command"),
}
BATCH = 64
SHEET_ROWS = 12
SHEET_VARIANTS = 6


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
        return _replay(out, inputs, options)
    if options["source"] is None:
        raise SpecError("which degradation?", hint="--spec FILE or --spec PRESET; see: lrfr presets ls")
    from lrfr.degrade.spec.model import load_spec

    spec = load_spec(options["source"], options["overrides"]).with_(
        seed=options["seed"], variants=options["variants"]
    )
    if options["print_spec"]:
        return _print_spec(out, spec)
    return _Run(out, spec, options).go(inputs)


def _print_spec(out: Output, spec: Any) -> dict[str, Any]:
    import yaml

    resolved: dict[str, Any] = spec.as_json()
    out.say(f"# sha256 {spec.digest}")
    out.say(
        yaml.safe_dump(
            resolved, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True
        ).rstrip()
    )
    return {"digest": spec.digest, "spec": resolved}


@dataclass
class _Run:
    """One run of the command."""

    out: Output
    spec: Any
    options: dict[str, Any]
    traces: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    quality: list[tuple[float, float]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)

    def go(self, inputs: tuple[str, ...]) -> dict[str, Any]:
        """Degrade the inputs (embedded faces without any), write what was asked for and return the
        summary.
        """
        from lrfr.cli.degrade.inputs import find_faces
        from lrfr.degrade.pipeline import Pipeline

        folder: Path = self.options["folder"]
        limit = self.options["limit"] or (SHEET_ROWS if self.options["preview"] and inputs else None)
        faces = find_faces(inputs, folder, limit)
        pipeline = Pipeline(self.spec)
        result: dict[str, Any] = {
            "spec": self.spec.name,
            "digest": self.spec.digest,
            "faces": len(faces),
            "variants": self.spec.variants,
        }
        if self.options["dry_run"]:
            self.out.say(
                f"would degrade {len(faces)} faces x {self.spec.variants} variants by '{self.spec.name}' "
                f"into {folder}"
            )
            return {**result, "dry_run": True}
        folder.mkdir(parents=True, exist_ok=True)
        with self.out.progress("degrade") as advance:
            self._batches(faces, pipeline, advance)
        if not self.rows:
            raise DataError(f"none of {len(faces)} files is a usable image", hint=self.refused[0]["reason"])
        return {**result, "written": self._finish(folder), "refused": self.refused}

    def _batches(self, faces: list[Any], pipeline: Any, advance: Advance) -> None:
        from lrfr.cli.degrade.inputs import load_faces

        for start in range(0, len(faces), BATCH):
            loaded, refused = load_faces(faces[start : start + BATCH], self.spec.image.size_px)
            self.refused += refused
            keys, images = [face.key for face, _ in loaded], [image for _, image in loaded]
            variants = [pipeline.run(keys, images, variant) for variant in range(self.spec.variants)]
            for index, (face, image) in enumerate(loaded):
                self._keep(face, image, [run[index] for run in variants])
            advance(min(start + BATCH, len(faces)), len(faces), refused=len(self.refused))

    def _keep(self, face: Any, image: Any, variants: list[Any]) -> None:
        from lrfr.degrade.inspect.contact_sheet import enlarge
        from lrfr.degrade.inspect.statistics import psnr_db, ssim

        if len(self.rows) < SHEET_ROWS:
            self.rows.append((face.name, image, variants[:SHEET_VARIANTS]))
        for number, degraded in enumerate(variants):
            name = f"{face.name}.v{number}.png"
            pixels = hashlib.sha256(degraded.image.tobytes()).hexdigest()
            line = {
                **degraded.trace,
                "file": name,
                "fit_px": self.spec.image.size_px,
                "px": list(degraded.image.shape[:2]),
                "sha256": pixels,
            }
            self.traces.append(line)
            if not self.options["preview"]:
                write_png(self.options["folder"] / name, degraded.image)
            if self.options["with_stats"]:
                shown = enlarge(
                    degraded.image, self.spec.store.up.model_copy(update={"size_px": image.shape[0]})
                )
                self.quality.append((psnr_db(image, shown), ssim(image, shown)))

    def _finish(self, folder: Path) -> list[str]:
        from lrfr.degrade.inspect.contact_sheet import contact_sheet

        title = f"{self.spec.name}, seed {self.spec.seed}"
        write_png(folder / "contact.png", contact_sheet(self.rows, self.spec.store.up, title))
        written = ["contact.png"]
        if not self.options["preview"]:
            text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in self.traces)
            write_atomically(folder / "trace.jsonl", text.encode())
            written += ["trace.jsonl", f"{len(self.traces)} images"]
        if self.options["with_stats"]:
            written += self._stats(folder, title)
        for fault in self.refused:
            self.out.note(f"left out {fault['file']}: {fault['reason']}")
        self.out.say(f"wrote {', '.join(written)} to {folder}")
        return written

    def _stats(self, folder: Path, title: str) -> list[str]:
        from lrfr.degrade.inspect.statistics import draw_stats, summarize

        summary = summarize(self.traces, self.spec, self.quality)
        write_atomically(
            folder / "stats.json", (json.dumps(summary, indent=1, sort_keys=True) + "\n").encode()
        )
        draw_stats(summary, folder / "stats.png", f"{title}, n = {summary['n']}")
        rows = []
        for op in summary["ops"]:
            numbers = {
                key: found
                for key, found in op["params"].items()
                if "mean" in found and found["min"] != found["max"]
            }
            span = "; ".join(
                f"{key} {found['min']:.3g} / {found['mean']:.3g} / {found['max']:.3g}"
                for key, found in numbers.items()
            )
            rows.append([op["id"], op["op"], f"{op['rate']:.3f}", f"{op['expected']:.3f}", span or "-"])
        self.out.table(
            ["step", "op", "rate", "expected", "drawn: min / mean / max"], rows, f"{summary['n']} images"
        )
        psnr, similarity = summary["psnr_db"]["mean"], summary["ssim"]["mean"]
        self.out.say(f"against HR after the way up: PSNR {psnr:.2f} dB, SSIM {similarity:.3f} (means)")
        return ["stats.json", "stats.png"]


def _replay(out: Output, inputs: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    from lrfr.cli.degrade.inputs import find_faces
    from lrfr.degrade.pipeline import replay

    lines = _read_trace(options["replay"])
    needed = max((_embedded_number(line["key"]) for line in lines), default=0) + 1
    by_key = {face.key: face for face in find_faces(inputs, options["folder"], None if inputs else needed)}
    done = 0
    for line in lines:
        face = by_key.get(line["key"].encode("utf-8", "surrogateescape"))
        if face is None:
            raise DataError(
                f"the trace needs the face '{line['key']}'", hint="give the same INPUT as for the first run"
            )
        image = replay(line, face.load(line["fit_px"]))
        if hashlib.sha256(image.tobytes()).hexdigest() != line["sha256"]:
            raise DataError(
                "the pixels differ from the recorded ones",
                file=line["file"],
                hint="another library version or another face?",
            )
        if not options["dry_run"]:
            write_png(_inside(options["folder"], line["file"]), image)
        done += 1
    out.say(f"replayed {done} images, all equal to the recorded pixels, into {options['folder']}")
    return {"replayed": done}


def _read_trace(path: Path) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        try:
            line = json.loads(text)
            types = {"key": str, "file": str, "sha256": str, "fit_px": int, "steps": list}
            bad = [name for name, kind in types.items() if not isinstance(line[name], kind)]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"not a trace record: {error}", file=str(path), line=number) from None
        if bad or not 4 <= line["fit_px"] <= 4096:
            raise DataError(f"not a trace record: {bad or 'fit_px'}", file=str(path), line=number)
        lines.append(line)
    return lines


def _embedded_number(key: str) -> int:
    parts = key.split("/")
    digits = parts[1][1:] if len(parts) == 3 and parts[0] == "s0" else ""
    return int(digits) if digits.isdigit() and len(digits) == 6 else 0


def _inside(folder: Path, name: str) -> Path:
    target = folder / name
    if folder.resolve() not in target.resolve().parents:
        raise DataError("the trace points outside the output folder", file=name)
    return target


def write_png(path: Path, image: Any) -> None:
    """Write an image as PNG, complete or not at all."""
    from lrfr.core.image import encode_png

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encode_png(image))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
