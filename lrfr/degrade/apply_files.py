"""Run a spec on files and folders: images, traces, a contact sheet and statistics; and repeat what traces
record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.files import read_bytes, write_whole
from lrfr.core.image import IMAGE_SUFFIXES, ImageU8, decode, encode_png, is_plain_jpeg, square_fit
from lrfr.core.lists.walk import pictures_below
from lrfr.core.progress import SILENT, Hooks
from lrfr.degrade.inspect.contact_sheet import SheetRow, contact_sheet, enlarge
from lrfr.degrade.inspect.similarity import psnr_db, ssim
from lrfr.degrade.inspect.statistics import Summary, draw_stats, summarize
from lrfr.degrade.inspect.trace_file import Recorded, pixels_sha256
from lrfr.degrade.pipeline import Degraded, Pipeline, replay
from lrfr.degrade.spec.model import Spec

BATCH = 64
SHEET_ROWS = 12  # more are not looked at, and a sheet of a large folder would not open
SHEET_VARIANTS = 6


@dataclass(frozen=True)
class FaceFile:
    """One face to degrade.

    Attributes:
        name: relative path without suffix; outputs are named after it.
        key: sample key of its random streams.
        read: gives the file's bytes, or pixels that are in no file.
        shown: what messages call it.

    """

    name: str
    key: bytes
    read: Callable[[], bytes | ImageU8]
    shown: str

    def load(self, size_px: int) -> tuple[ImageU8, bool]:
        """Return the face as a square of ``size_px``, and whether a pair store would keep its bytes as they
        are; all others it holds as JPEG of quality 95, and degrades what that gives.

        Raises:
            ImageFault: the file is no usable image.

        """
        content = self.read()
        image = decode(content) if isinstance(content, bytes) else content
        kept = isinstance(content, bytes) and is_plain_jpeg(content, size_px)
        return square_fit(image, size_px), kept


class Refused(NamedTuple):
    """A file that is no usable image: its path, the reason's code and the reason."""

    file: str
    code: str
    reason: str


def find_faces(
    inputs: Sequence[str], out: Path, limit: int | None = None, hooks: Hooks = SILENT
) -> list[FaceFile]:
    """List the faces of files and folders in a fixed order.

    Args:
        inputs: files and folders; folders are walked as those of a source are.
        out: output folder, skipped when it lies inside an input.
        limit: at most so many faces.
        hooks: told of what lies in the folders and is not used.

    Raises:
        SpecError: an input does not exist, or two faces would write the same file.

    """
    found = [face for item in inputs for face in _faces_in(Path(item), out, hooks)]
    seen: dict[str, FaceFile] = {}
    for face in found[:limit]:
        if face.name in seen:
            raise SpecError(
                f"'{seen[face.name].shown}' and '{face.shown}' would both write {face.name}.v0.png",
                hint="degrade them apart",
            )
        seen[face.name] = face
    if not seen:
        raise SpecError(
            f"no image files in {', '.join(inputs)}", hint=f"suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return list(seen.values())


def _faces_in(item: Path, out: Path, hooks: Hooks) -> Iterator[FaceFile]:
    if item.is_dir():
        skipped = out.resolve()
        names, rest = pictures_below(item)
        for name, _, reason in rest.refused:
            hooks.note(f"left out {item / name}: {reason}")
        for line in rest.told():
            hooks.note(f"{item}: {line}")
        for name in sorted(names):
            if skipped not in (item / name).resolve().parents:
                yield _face(item / name, PurePosixPath(name))
    elif item.exists():
        yield _face(item, PurePosixPath(item.name))
    else:
        raise SpecError("no such file or folder", file=str(item))


def _face(path: Path, relative: PurePosixPath) -> FaceFile:
    key = str(relative).encode("utf-8", "surrogateescape")
    return FaceFile(str(relative.with_suffix("")), key, lambda: read_bytes(path), str(path))


@dataclass(frozen=True)
class AppliedFiles:
    """What :func:`apply_files` did.

    Attributes:
        written: names of the files, the images as one entry.
        refused: files that are no usable image.
        recoded: faces that a pair store would hold as JPEG of quality 95, so that its LR differs by a little.
        summary: of gates, parameters and similarity, where it was asked for.

    """

    written: list[str]
    refused: list[Refused]
    recoded: int
    summary: Summary | None


def apply_files(
    faces: Sequence[FaceFile],
    pipeline: Pipeline,
    folder: Path,
    *,
    preview: bool = False,
    stats: bool = False,
    hooks: Hooks = SILENT,
) -> AppliedFiles:
    """Degrade faces by all variants of a spec into a folder.

    Args:
        faces: see :func:`find_faces`.
        pipeline: the spec.
        folder: gets ``NAME.vK.png`` at the native size, ``trace.jsonl`` and ``contact.png``.
        preview: write the contact sheet only.
        stats: write ``stats.json`` and ``stats.png`` too.
        hooks: told of every batch.

    Raises:
        DataError: no face is a usable image.

    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(pipeline, folder, preview, stats)
    for start in range(0, len(faces), BATCH):
        run.batch(faces[start : start + BATCH])
        hooks.progress(min(start + BATCH, len(faces)), len(faces), refused=len(run.refused))
    if not run.rows:
        raise DataError(f"none of {len(faces)} files is a usable image", hint=run.refused[0].reason)
    return run.finish()


@dataclass
class _Run:
    """One call of :func:`apply_files`."""

    pipeline: Pipeline
    folder: Path
    preview: bool
    stats: bool
    recorded: list[Recorded] = field(default_factory=list)
    rows: list[SheetRow] = field(default_factory=list)
    quality: list[tuple[float, float]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    recoded: int = 0

    def batch(self, faces: Sequence[FaceFile]) -> None:
        """Degrade some faces and keep what the end needs."""
        spec, loaded = self.pipeline.spec, []
        for face in faces:
            try:
                image, kept = face.load(spec.image.size_px)
            except ImageFault as fault:
                self.refused.append(Refused(face.shown, fault.code, fault.message))
                continue
            self.recoded += not kept
            loaded.append((face, image))
        keys, images = [face.key for face, _ in loaded], [image for _, image in loaded]
        variants = [self.pipeline.run(keys, images, variant) for variant in range(spec.variants)]
        for index, (face, image) in enumerate(loaded):
            self._keep(face, image, [run[index] for run in variants])

    def _keep(self, face: FaceFile, image: ImageU8, variants: list[Degraded]) -> None:
        up = self.pipeline.spec.store.up.model_copy(update={"size_px": image.shape[0]})
        if len(self.rows) < SHEET_ROWS:
            self.rows.append(SheetRow(face.name, image, variants[:SHEET_VARIANTS]))
        for number, degraded in enumerate(variants):
            name = f"{face.name}.v{number}.png"
            self.recorded.append(Recorded.of(degraded, name, image.shape[0]))
            if not self.preview:
                write_whole(self.folder / name, encode_png(degraded.image))
            if self.stats:
                shown = enlarge(degraded.image, up)
                self.quality.append((psnr_db(image, shown), ssim(image, shown)))

    def finish(self) -> AppliedFiles:
        """Write what is about all faces."""
        spec, written = self.pipeline.spec, ["contact.png"]
        title = f"{spec.name}, seed {spec.seed}"
        note = "; a store degrades the JPEG (quality 95) of these HR faces" * (
            self.preview and self.recoded > 0
        )
        write_whole(self.folder / "contact.png", encode_png(contact_sheet(self.rows, spec, title + note)))
        if not self.preview:
            lines = "".join(json.dumps(item.as_json(), sort_keys=True) + "\n" for item in self.recorded)
            write_whole(self.folder / "trace.jsonl", lines.encode())
            written += ["trace.jsonl", f"{len(self.recorded)} images"]
        summary = None
        if self.stats:
            summary = summarize([item.trace for item in self.recorded], spec, self.quality)
            text = json.dumps(summary.as_json(), indent=1, sort_keys=True) + "\n"
            write_whole(self.folder / "stats.json", text.encode())
            draw_stats(summary, self.folder / "stats.png", f"{title}, n = {summary.n}")
            written += ["stats.json", "stats.png"]
        return AppliedFiles(written, self.refused, self.recoded, summary)


def replay_files(
    records: Sequence[Recorded],
    faces: Sequence[FaceFile],
    folder: Path,
    *,
    spec: Spec | None = None,
    dry_run: bool = False,
) -> int:
    """Write again what traces record, and return how many images there were.

    Args:
        records: see :func:`~lrfr.degrade.inspect.trace_file.read_traces`.
        faces: the faces of the first run.
        folder: of the images.
        spec: see :func:`~lrfr.degrade.pipeline.replay`.
        dry_run: compare only.

    Raises:
        DataError: a face is missing, the pixels differ from the recorded ones, or a record points out of the
            folder.

    """
    by_key = {face.key: face for face in faces}
    for record in records:
        face = by_key.get(record.trace.key.encode("utf-8", "surrogateescape"))
        if face is None:
            raise DataError(
                f"the trace needs the face '{record.trace.key}'",
                hint="give the same INPUT as for the first run",
            )
        image = replay(record.trace, face.load(record.fit_px)[0], spec)
        if pixels_sha256(image) != record.sha256:
            hint = "another library version or another face?"
            raise DataError("the pixels differ from the recorded ones", file=record.file, hint=hint)
        target = folder / record.file
        if folder.resolve() not in target.resolve().parents:
            raise DataError("the trace points outside the output folder", file=record.file)
        if not dry_run:
            write_whole(target, encode_png(image))
    return len(records)
