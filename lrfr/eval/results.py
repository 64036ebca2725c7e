"""A result: what one protocol says of one model at one pair of sizes, with all that a reader needs to trust,
to name or to repeat it.
"""

from __future__ import annotations

import base64
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from lrfr import __version__
from lrfr.core.files import digest_of
from lrfr.eval.low_res import Size
from lrfr.eval.scoring.intervals import Interval

FORMAT = "lrfr-result-1"


@dataclass(frozen=True)
class Cost:
    """What one image of one size costs.

    Attributes:
        size_px: side of the image.
        images_per_s: measured throughput.
        input_px: side that the network takes, where it is known; the largest of several.
        parameters: of that network, or of all that such a face goes through.
        macs: their multiply-adds.
        bytes: their weights and statistics as they lie in memory.

    """

    size_px: int
    images_per_s: float
    input_px: int | None = None
    parameters: int | None = None
    macs: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Model:
    """What was evaluated, for the record.

    Attributes:
        name: display name.
        method: method name of ``lrfr train``.
        side: what it was trained on where the method leaves that open: ``hr``, ``lr`` or ``both``.
        backbone: name of its network.
        checkpoint: where it lay.
        digest: of a checkpoint's manifest, which holds the sha256 of every file, or what a callable says of
            itself. None where nobody says: its results have no name then.
        view_digest: of the view it was trained on, which names base, specs and HR files.
        parents: role to digest of the checkpoints it was made from.
        parent_methods: role to method of those checkpoints, where it is known.
        notes: anything else.
        published: what the papers' tables call a method with these options, where that is another word.
        changes: options of the checkpoint's method that it was measured with in place of its own.
        cost: for each input size, see :mod:`lrfr.eval.analysis.cost`.

    """

    name: str
    method: str | None = None
    checkpoint: str | None = None
    digest: str | None = None
    view_digest: str | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    notes: str | None = None
    side: str | None = None
    backbone: str | None = None
    cost: tuple[Cost, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)
    published: str | None = None
    parent_methods: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One measured number.

    Attributes:
        value: a fraction unless ``unit`` in ``more`` says otherwise.
        n: number of trials.
        interval: 95 % interval, where one was made.
        resolvable: False where the list is too short to tell such a rate from zero.
        more: what belongs to this kind of metric alone (folds, threshold, ...); free JSON.

    """

    value: float
    n: int
    interval: Interval | None = None
    resolvable: bool = True
    more: Mapping[str, object] = field(default_factory=dict)

    def percent(self) -> str:
        """Return a fraction as text in percent, with its interval; ``n/a`` where it is not resolvable."""
        if not self.resolvable:
            return "n/a"
        span = self.interval
        spread = f" [{100 * span.low:.1f}, {100 * span.high:.1f}]" if span else ""
        return f"{100 * self.value:.1f}{spread}"


Metrics = Mapping[str, Metric]


def metric(
    value: float, n: int, interval: Interval | None = None, *, resolvable: bool = True, **more: object
) -> Metric:
    """Return one metric of plain Python numbers."""
    return Metric(float(value), int(n), interval, bool(resolvable), more)


def _versions() -> dict[str, str | None]:
    return {
        "lrfr": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": _version("torch"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(frozen=True)
class Unused:
    """Files that were not used for one reason: how many, and the first of them."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> Unused:
        """Return the record of some names; at most twenty are kept."""
        return cls(len(names), tuple(names[:20]))


@dataclass(frozen=True)
class Files:
    """The files of a benchmark's folders: ``seen`` is ``used`` and all of ``unused``, by reason.

    Of pictures whose faces were looked for, ``faces`` tells the outcome of each: ``found``, ``no-face``, and
    of those that were found ``several-faces``, ``small``, ``turned``, ``sideways``, ``cut-off``.
    """

    seen: int
    used: int
    unused: Mapping[str, Unused] = field(default_factory=dict)
    faces: Mapping[str, Unused] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What one protocol says of one model at one pair of sizes.

    Attributes:
        benchmark: name of the test.
        protocol: how it was computed: verification, identification, ...
        model: what was measured.
        metrics: by name.
        revision: of the benchmark's computation; raised when a number may move. 0: written before there were
            revisions.
        matching: ``same`` or ``cross``-resolution.
        sizes: of first and second image, or of gallery and probe.
        convention: how scores became an accuracy, A to F.
        flip: how image and mirror image were joined.
        interpolation: the filter that made images small.
        antialias: whether it was widened with the scale.
        spec_digests: of each spec among ``sizes``.
        alignment: how the crops were made, as far as known.
        protocol_digest: of the list as distributed.
        list_digest: of what the list says, names of files left out.
        pixels_digest: of the images' content; None where hashing them is not cheap (IJB).
        settings: what was chosen and decides numbers, where it differs from the defaults; None: not recorded.
        settings_digest: of all deciding settings, defaults included.
        finetuned: ``no``, ``paper`` or ``ours``.
        counts: numbers of trials and images (``n_pos``, ``n_gallery``, ...).
        min_far: the smallest FAR that the list can show.
        remarks: what a reader must know before believing the numbers, in sentences.
        files: what was seen in the benchmark's folders and what of it was used.
        curves: ``roc`` (far, tar) and ``histogram`` (edges, same, different).
        per_pair: scores, decisions and labels, packed, so that models can be compared later.
        test: what ``lrfr eval --benchmark`` calls it (``scface`` has the benchmarks ``scface-d1``, ...).
        data: where the benchmark's files lay.
        command: the command line that made it.
        versions: of the packages that count.
        time: when, UTC.
        seconds: how long scoring took.
        channel_order: of the images.
        more: what belongs to one protocol alone; free JSON.

    """

    benchmark: str
    protocol: str
    model: Model
    metrics: Metrics = field(default_factory=dict)
    revision: int = 0
    matching: str | None = None
    sizes: tuple[Size, Size] | None = None
    convention: str | None = None
    flip: str | None = None
    interpolation: str | None = None
    antialias: bool | None = None
    spec_digests: Mapping[str, str] = field(default_factory=dict)
    alignment: str | None = None
    protocol_digest: str | None = None
    list_digest: str | None = None
    pixels_digest: str | None = None
    settings: Mapping[str, object] | None = None
    settings_digest: str | None = None
    finetuned: str = "no"
    counts: Mapping[str, int] = field(default_factory=dict)
    min_far: float | None = None
    remarks: tuple[str, ...] = ()
    files: Files | None = None
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    per_pair: Mapping[str, str] | None = None
    test: str | None = None
    data: str | None = None
    command: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=_versions)
    time: str | None = field(default_factory=_now)
    seconds: float | None = None
    channel_order: str = "RGB"
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def id(self) -> str | None:
        """The result's name: sha256 over all that decides its numbers and nothing else; None where the model
        or the list has no digest.
        """
        if not self.revision or self.model.digest is None or self.list_digest is None:
            return None
        parts = {
            "model": self.model.digest,
            "benchmark": self.benchmark,
            "protocol": self.protocol,
            "revision": self.revision,
            "list": self.list_digest,
            "pixels": self.pixels_digest,
            "matching": self.matching,
            "sizes": [self.spec_digests.get(str(size), size) for size in self.sizes or ()],
            "settings": placeless(self.settings or {}),
        }
        return digest_of(parts)


def placeless(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings without where files lay: what is in them decides, and the pixels' digest has that."""
    kept = {name: value for name, value in settings.items() if name != "detector_weights"}
    if kept.get("align", "detect") != "detect":
        kept["align"] = "landmarks"
    return kept


def pack(values: NDArray[np.generic]) -> str:
    """Return little-endian bytes of an array as base64: scores and decisions travel with a result so that
    models can be compared.
    """
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def unpack(text: str, dtype: str) -> NDArray[np.generic]:
    """Undo :func:`pack`."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype)
