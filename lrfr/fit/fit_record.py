"""What a fit leaves beside its spec: how it was found, how near it came, what a later check compares with."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from lrfr.core.errors import DataError, LrfrError
from lrfr.core.files import data_of, read_sealed, seal, sha256_hex, write_whole
from lrfr.core.image import ImageU8
from lrfr.degrade.ops.misalign import FILTERS
from lrfr.degrade.spec.model import Spec, load_spec
from lrfr.fit.judge.comparison import Row
from lrfr.fit.judge.two_sample import Nearness
from lrfr.fit.look.crop_files import LEAST_PX, MOST_PX
from lrfr.fit.look.enlargement import WAYS_UP
from lrfr.fit.look.face_statistics import NAMES, REVISION
from lrfr.fit.structure_scan import Structure
from lrfr.pairs.format.disk.array_file import arrays_of

FORMAT = 1
TOO_FEW = (
    "below 83 crops no distributions are fitted, as too few would be left to choose by: the spec is that of "
    "the structure scan"
)
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class FittedLaw:
    """One distribution of the fitted spec.

    Attributes:
        group: which of the groups, "" where there is one.
        name: step and parameter.
        literal: as it stands in the spec.
        interval: bootstrap 95 % interval of its mean (of the probability, for a gate), as text.
        told: share of what there is to know that single faces tell, 0 to 1 (measured on simulated faces).

    """

    group: str
    name: str
    literal: str
    interval: str
    told: float

    @property
    def words(self) -> str:
        """How far the crops tell it."""
        if self.told >= 0.35:
            return "told well"
        return "told weakly" if self.told >= 0.1 else "hardly told: mostly the prior"


@dataclass(frozen=True)
class Shown:
    """One set of faces for the page: some of its crops, and its mean log spectrum of luma by band."""

    name: str
    crops: tuple[ImageU8, ...]
    bands: tuple[float, ...]


@dataclass(frozen=True)
class FittedCamera:
    """The result of a fit.

    Attributes:
        spec: the camera's recipe.
        kept: ``fit`` or ``structure scan``: what came nearer to the validation crops by energy distance.
        structure: of the chain.
        laws: of the fitted spec.
        rows: distances on the test crops.
        validation: how near each candidate came to the validation crops.
        shares: of the groups.
        differing: statistics that differ most, in the camera's spreads.
        notes: what a person should know.
        counts: crops and faces by part.
        cpu_s: processor seconds of this process.
        stats: statistics of all crops, for later checks, [N, D].
        shown: sets for the page.

    """

    spec: Spec
    kept: str
    structure: Structure
    laws: tuple[FittedLaw, ...]
    rows: tuple[Row, ...]
    validation: Mapping[str, Nearness]
    shares: tuple[float, ...]
    differing: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]
    counts: Mapping[str, int]
    cpu_s: float
    stats: NDArray[np.float32]
    shown: tuple[Shown, ...] = ()

    @property
    def fitted(self) -> Row:
        """The row of the fitted spec."""
        return next(row for row in self.rows if row.name == "fitted")

    @property
    def verdict(self) -> str:
        """One sentence: whether the test crops can be told from the fitted spec's."""
        row = self.fitted
        return (
            f"{row.words}: a classifier tells test crops from simulated ones with {row.c2st:.1%} "
            f"[{row.low:.1%}, {row.high:.1%}] (50 % is chance, n = {row.n} a side)"
        )

    def table(self) -> tuple[list[str], list[list[str]], str]:
        """Return columns, rows and title of the distances."""
        rows = [
            [
                row.name,
                f"{row.c2st:.3f}",
                f"[{row.low:.3f}, {row.high:.3f}]",
                f"{row.frechet:.2f}",
                f"{row.kid:.3f}",
                row.words,
            ]
            for row in self.rows
        ]
        shares = ", ".join(f"{share:.0%}" for share in self.shares)
        title = f"against {self.fitted.n} test crops" + (f"; groups {shares}" if len(self.shares) > 1 else "")
        return ["set", "C2ST", "95 %", "Frechet", "KID", ""], rows, title

    def as_json(self) -> dict[str, object]:
        """Return plain data, without the statistics."""
        return {
            "format": FORMAT,
            "digest": self.spec.digest,
            "kept": self.kept,
            "verdict": self.verdict,
            "structure": {**asdict(self.structure), "sizes": [list(pair) for pair in self.structure.sizes]},
            "laws": [{**asdict(law), "words": law.words} for law in self.laws],
            "rows": [row.as_json() for row in self.rows],
            "validation": {name: asdict(near) for name, near in self.validation.items()},
            "shares": list(self.shares),
            "differing": [list(pair) for pair in self.differing],
            "notes": list(self.notes),
            "counts": dict(self.counts),
            "cpu_s": round(self.cpu_s, 1),
        }


def beside(out: Path, what: str) -> Path:
    """Return where something of a fit lies: ``camera.yaml`` has ``camera.fit/`` beside it."""
    return out.with_suffix(".fit") / what


def write_record(camera: FittedCamera, out: Path) -> list[Path]:
    """Write what a later check needs and return the files: record and statistics."""
    record, target = beside(out, "record.json"), beside(out, "target.npz")
    buffer = io.BytesIO()
    np.savez(buffer, stats=camera.stats)
    write_whole(target, buffer.getvalue())
    own = {"stats_revision": REVISION, "stats_sha256": sha256_hex(buffer.getvalue())}
    # the spec is written after its record: a kill between both leaves the one before, which is a fit's, too
    known = {"spec_digest": camera.spec.digest, "replaces": _digest_of(out)}
    # the seal has a "digest" of its own
    write_whole(record, seal({**camera.as_json(), **own, **known}))
    return [record, target]


def is_as_fitted(out: Path) -> bool:
    """Return whether a fitted spec still gives the data of its fit; a record that cannot be read, or does
    not say, says yes.
    """
    try:
        record = read_sealed(beside(out, "record.json"))
    except LrfrError:
        return True
    known = record.get("spec_digest")
    now = _digest_of(out)
    return known is None or (now is not None and now in (known, record.get("replaces", known)))


def _digest_of(spec: Path) -> str | None:
    """Return the digest of a spec; None where there is none that can be read."""
    try:
        return load_spec(spec).digest if spec.exists() else None
    except LrfrError:
        return None


def read_reference(out: Path) -> tuple[Structure, NDArray[np.float32]]:
    """Return the structure of a fitted camera, and the statistics of its crops.

    Raises:
        DataError: there is no record beside the spec, it is damaged, or it is of other statistics.

    """
    record, target = beside(out, "record.json"), beside(out, "target.npz")
    if not record.exists():
        hint = "lrfr fit writes it there; take the folder along with the spec"
        raise DataError(
            "nothing to compare with: no record of a fit beside the spec", file=str(record), hint=hint
        )
    body = read_sealed(record)
    if body.get("stats_revision") != REVISION or body.get("format") != FORMAT:
        raise DataError(
            "the record was written by another version of lrfr", file=str(record), hint="fit again"
        )
    try:
        data = data_of(target, most=_MOST_BYTES)
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", file=str(target)) from None
    said = _said(body, record)
    if sha256_hex(data) != said.stats_sha256:
        raise DataError("damaged: not what the record names", file=str(target), hint="fit again")
    return said.structure, _stats(data, target)


@dataclass(frozen=True)
class _Said:
    """What a check reads of a record."""

    stats_sha256: str
    structure: Structure


def _said(found: object, record: Path) -> _Said:
    try:
        said = TypeAdapter(_Said).validate_python(found)
    except ValidationError as error:
        fault = error.errors()[0]["msg"].lower()
        raise DataError(f"not the record of a fit: {fault}", file=str(record), hint="fit again") from None
    way, sizes = said.structure.way, said.structure.sizes
    if way and not LEAST_PX <= way.canvas_px <= MOST_PX:
        raise DataError(f"crops of {way.canvas_px} px", file=str(record), hint="fit again")
    right = all(1 <= side <= MOST_PX and 0 < share <= 1 for side, share in sizes)
    known = (way is None or (way.filter, way.antialias) in WAYS_UP) and said.structure.cut in FILTERS
    if not (sizes and right and known):
        raise DataError("sizes or a filter that no crops have", file=str(record), hint="fit again")
    return said


def _stats(data: bytes, target: Path) -> NDArray[np.float32]:
    stats = arrays_of(io.BytesIO(data), str(target), hint="fit again").get("stats", np.empty(0, np.float32))
    is_table = stats.ndim == 2 and stats.shape[1] == len(NAMES) and stats.dtype == np.float32
    if not is_table or not len(stats) or not np.isfinite(stats).all():
        raise DataError("not the statistics of a fit", file=str(target), hint="fit again")
    return stats
