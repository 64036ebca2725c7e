"""The structure of a camera's chain, from the mean spectra of its crops: native size, filters down and up,
where the codec stands, how it halves chroma.

Mean 2-D log spectra of hundreds of faces average their content away and keep what all of them went through:
the zeros of filters, the lattice of an enlargement, the lines of 8x8 blocks. A candidate is simulated on
clean faces and compared by the root mean square difference of these spectra, of luma and of Cr.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.degrade.ops.misalign import FILTERS as CUTS
from lrfr.degrade.spec.model import Spec
from lrfr.fit.infer.bank import simulate
from lrfr.fit.infer.fitted_spec import read_back
from lrfr.fit.look.container_marks import Container
from lrfr.fit.look.crop_files import Crops
from lrfr.fit.look.enlargement import BELIEVED, WayUp, way_of, way_through_codec
from lrfr.fit.look.face_statistics import Gaze, found_sizes, on_canvas, to_ycc

_DOWN = (
    ("box", True),
    ("bicubic", True),
    ("bilinear", True),
    ("lanczos", True),
    ("cubic", False),
    ("linear", False),
)
_UP = (("bicubic", True), ("bilinear", True), ("cubic", False), ("lanczos", True))
_QUALITIES = (92, 80, 65, 45, 25)
FACES = 160
_ROLL = {"normal": [0, 3], "clip": [-12, 12]}


@dataclass(frozen=True)
class Structure:
    """What is the same for all faces of a camera.

    Attributes:
        sizes: native sides in px with their shares.
        told_by: ``detector``, ``files`` or ``spectrum``.
        down, down_antialias: filter that shrinks.
        way: how small faces become crops; None where they keep their sizes.
        warped: whether the crop was cut out of the small picture in one interpolation (a similarity, as
            aligners do), so that it is turned against its pixels.
        codec: ``native`` or ``none``: where a JPEG stands besides the container's.
        quality: of that JPEG, roughly.
        subsampling: of that JPEG.
        container: how crops are stored.
        distance: rms difference of the mean log spectra.
        cut: filter of that interpolation (of the op ``misalign``).

    """

    sizes: tuple[tuple[int, float], ...]
    told_by: str
    down: str
    down_antialias: bool
    way: WayUp | None
    container: Container
    warped: bool = False
    codec: str = "native"
    quality: int = 70
    subsampling: str = "420"
    distance: float = float("nan")
    cut: str = "bilinear"

    @property
    def middle_px(self) -> int:
        """The median native side."""
        sides, shares = zip(*self.sizes, strict=True)
        return int(sides[int(np.searchsorted(np.cumsum(shares), 0.5 * sum(shares)))])

    def gaze(self) -> Gaze:
        """Return how crops of this structure are looked at."""
        if self.way is None:
            return Gaze(112)
        return Gaze(self.way.canvas_px, self.way, self.middle_px, self.told_by == "detector")

    def size_literal(self) -> object:
        """Return the native sizes as they stand in a spec."""
        if len(self.sizes) == 1:
            return self.sizes[0][0]
        total = sum(share for _, share in self.sizes)
        weights = [float(f"{share / total:.4f}") for _, share in self.sizes]
        return {"choice": [side for side, _ in self.sizes], "weights": weights}

    def tail(self) -> list[Mapping[str, Any]]:
        """Return the steps after the small picture: what happens when it becomes the crop."""
        stored = self._stored()
        if self.way is None or not (stored or self.warped):
            return []  # the way up stands in store.up
        how = {"filter": self.way.filter, "antialias": self.way.antialias}
        steps: list[Mapping[str, Any]] = [{"op": "up", "id": "enlarge", "size": self.way.canvas_px, **how}]
        if self.warped:
            cut = {"roll": _ROLL, "size": self.way.canvas_px, "border": "edge", "filter": self.cut}
            steps = [{"op": "misalign", "id": "cut", **cut}]
        return [*steps, *stored]

    def _stored(self) -> list[Mapping[str, Any]]:
        """Return the step that stores a crop as its file does, where there is one."""
        found = self.container
        if found.kind == "jpeg":
            how = {"quality": found.quality, "subsampling": found.subsampling}
            return [{"op": "jpeg", "id": "file", **how}]
        if found.kind == "webp" and found.quality:
            return [{"op": "webp", "id": "file", "quality": found.quality}]
        return []

    def store(self) -> Mapping[str, Any]:
        """Return the ``store`` part of a spec."""
        up = {"size": 112, "filter": "bicubic", "antialias": True}
        if self.way is not None:
            up = {"size": self.way.canvas_px, "filter": self.way.filter, "antialias": self.way.antialias}
        return {"lr": "native", "up": up}

    def down_step(self) -> Mapping[str, Any]:
        """Return the step that shrinks."""
        how = {"filter": self.down, "antialias": self.down_antialias}
        return {"op": "down", "id": "size", "size": self.size_literal(), **how}

    def spec(self, name: str = "structure-scan") -> Spec:
        """Return the spec that the scan alone gives: the baseline that a fit has to beat."""
        codec = {"op": "jpeg", "id": "codec", "quality": self.quality, "subsampling": self.subsampling}
        steps = [self.down_step(), *([codec] if self.codec == "native" else []), *self.tail()]
        head = {"version": 1, "name": name, "image": {"size": 112}}
        return read_back({**head, "pipeline": steps, "store": self.store()})


Spectra = NDArray[np.float64]


def mean_spectra(crops: Sequence[ImageU8], canvas_px: int) -> Spectra:
    """Return the mean 2-D log spectra of luma and Cr, [2, C, C // 2 + 1], smoothed over 3 x 3 cells."""
    hann = np.hanning(canvas_px + 2)[1:-1]
    ycc = to_ycc(on_canvas(crops, canvas_px))[:, ::2].astype(np.float64)
    zero = (ycc - ycc.mean(axis=(2, 3), keepdims=True)) * np.outer(hann, hann)
    power = np.square(np.abs(scipy.fft.rfft2(zero))) / np.square(np.outer(hann, hann)).sum()
    logs = np.log(power + 0.05).mean(axis=0)
    padded = np.pad(logs, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = logs.shape[1:]
    parts = [padded[:, y : y + height, x : x + width] for y, x in itertools.product(range(3), range(3))]
    return np.asarray(np.mean(parts, axis=0))


def apart(a: Spectra, b: Spectra) -> float:
    """Return the rms difference of two mean spectra where content says little: above the lowest band."""
    side = a.shape[1]
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    told = np.hypot(fy, fx) > 0.06
    return float(np.sqrt(np.mean([np.square(x - y)[told].mean() for x, y in zip(a, b, strict=True)])))


class Scan:
    """Tries structures on clean faces against a camera's crops.

    Args:
        crops: of the camera.
        faces: clean ones of 112 px.
        hooks: progress in structures tried.

    """

    def __init__(self, crops: Crops, faces: Sequence[ImageU8], hooks: Hooks = SILENT) -> None:
        self.crops, self.hooks = crops, hooks
        self.faces = list(faces[:FACES])
        self.canvas_px = crops.side_px or 112
        self.target = mean_spectra(crops.pictures[:400], self.canvas_px)
        self.tried: dict[Structure, float] = {}

    def run(self) -> Structure:
        """Return the nearest structure.

        Raises:
            Stopped: the hooks said so.

        """
        first = self._first()
        best = self._best(self._places(first), first)
        for _ in range(2):
            best = self._best(self._downs(best), best)
            best = self._best(self._codecs(best), best)
            if best.told_by == "spectrum":
                best = self._best(self._near(best), best)
        return best

    def _first(self) -> Structure:
        crops = self.crops
        if not crops.side_px:
            return Structure(
                _shares([len(p) for p in crops.pictures]), "files", "box", True, None, crops.container
            )
        if crops.container.kind in ("lossless", "jpeg"):
            stack = np.stack(crops.pictures[:64])
            lossless = crops.container.kind == "lossless"
            way = way_of(stack)[0] if lossless else way_through_codec(stack)
            if way is not None:
                sizes = found_sizes(crops.pictures, Gaze(crops.side_px, way, 0, True))
                trusted = sizes[(sizes > 0) & (sizes < BELIEVED * crops.side_px)]
                if len(trusted) > 0.5 * len(sizes):
                    shares = _shares(trusted.tolist())
                    return Structure(shares, "detector", "box", True, way, crops.container)
        way = WayUp("bilinear", True, crops.side_px)
        return Structure(((crops.side_px // 2, 1.0),), "spectrum", "bicubic", True, way, crops.container)

    def _best(self, candidates: Iterator[Structure], now: Structure) -> Structure:
        found = [(self._distance(c), k, c) for k, c in enumerate([now, *candidates])]
        distance, _, best = min(found)
        return replace(best, distance=distance)

    def _distance(self, structure: Structure) -> float:
        plain = replace(structure, distance=0.0)
        if plain not in self.tried:
            if self.hooks.stopping():
                raise Stopped
            names = [b"scan/%d" % k for k in range(len(self.faces))]
            seen = simulate(plain.spec(), self.faces, names, plain.gaze())
            self.tried[plain] = apart(self.target, mean_spectra(seen, self.canvas_px))
            self.hooks.progress(len(self.tried), max(60, len(self.tried)), phase="structure")
        return self.tried[plain]

    def _places(self, now: Structure) -> Iterator[Structure]:
        if now.told_by != "spectrum":
            return
        sides = np.unique(np.rint(np.geomspace(10, self.canvas_px, 14)).astype(int)).tolist()
        for side, (filter_, antialias) in itertools.product(sides, _UP[:2]):
            way = WayUp(filter_, antialias, self.canvas_px)
            yield replace(now, sizes=((side, 1.0),), way=way, codec="none")
            yield replace(now, sizes=((side, 1.0),), way=way)
        # replicas of the spectrum that a sharp filter leaves look like another size under any other filter
        for side in sides[len(sides) // 2 :]:
            yield replace(now, sizes=((side, 1.0),), way=way, warped=True, cut="cubic")

    def _near(self, now: Structure) -> Iterator[Structure]:
        side = now.middle_px
        for factor in (0.8, 0.88, 0.94, 0.97, 1.03, 1.06, 1.14, 1.25):
            near = min(max(round(side * factor), 6), self.canvas_px)
            if near != side:
                yield replace(now, sizes=((near, 1.0),))
        low, high = round(0.85 * side), min(round(1.15 * side), self.canvas_px)
        yield replace(now, sizes=_shares(list(range(low, high + 1))))
        yield replace(
            now, sizes=_shares(list(range(round(0.96 * side), min(round(1.04 * side), self.canvas_px) + 1)))
        )
        for filter_, antialias in _UP:
            yield replace(now, way=WayUp(filter_, antialias, self.canvas_px), warped=False, cut="bilinear")
        for cut in CUTS:
            yield replace(now, warped=True, cut=cut)

    def _downs(self, now: Structure) -> Iterator[Structure]:
        for filter_, antialias in _DOWN:
            yield replace(now, down=filter_, down_antialias=antialias)

    def _codecs(self, now: Structure) -> Iterator[Structure]:
        yield replace(now, codec="none")
        for quality in _QUALITIES:
            yield replace(now, codec="native", quality=quality)
        for subsampling in ("420", "422", "444"):
            yield replace(now, codec="native", subsampling=subsampling)


def _shares(sides: Sequence[int]) -> tuple[tuple[int, float], ...]:
    found, counts = np.unique(np.array(sides), return_counts=True)
    return tuple((int(s), float(f"{c / len(sides):.5g}")) for s, c in zip(found, counts, strict=True))
