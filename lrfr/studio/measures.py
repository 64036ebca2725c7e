"""What pictures look like in numbers, beside a target camera's: spectrum, noise, sharpness, the lattice of
JPEG, tone and size; and how far two sets of pictures lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8, square_fit

Gray = NDArray[np.float64]
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
SPECTRUM_PX, RINGS, BINS = 64, 24, 16
_LATTICE = 8
# of a measure that is the same in all of the target's crops: differences below it are not seen
_LEAST_SPREAD = 1e-3
# of one row in the mean of all: a target whose pictures are all of one size is hundreds away in that alone
_MOST_SHOWN = 10.0


def _noise(gray: Gray, image: ImageU8) -> float:
    """Return the standard deviation of noise in gray levels (J. Immerkaer, "Fast noise variance estimation",
    CVIU 64 (1996), eq. 4): the mean absolute answer of a difference of two Laplacians.
    """
    if min(gray.shape) < 3:
        return 0.0
    rows = gray[:-2] - 2 * gray[1:-1] + gray[2:]
    answer = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(math.sqrt(math.pi / 2) / 6 * np.abs(answer).mean())


def _sharpness(gray: Gray, image: ImageU8) -> float:
    """Return the mean length of the gradient a pixel over the standard deviation of the gray values."""
    down, right = np.diff(gray, axis=0)[:, :-1], np.diff(gray, axis=1)[:-1]
    return float(np.hypot(down, right).mean() / max(gray.std(), 1e-6))


def _lattice(gray: Gray, image: ImageU8) -> float:
    """Return how much steeper the steps across the steepest of the eight possible lines of an 8-px lattice
    are than across the median one, less 1: near 0 without JPEG, whichever way the picture was cut since.
    """
    return float(np.mean([_steepest(gray), _steepest(gray.T)]))


def _steepest(gray: Gray) -> float:
    if gray.shape[1] < 2 * _LATTICE:
        return 0.0
    step = np.diff(gray, axis=1)
    # a step that the neighbors do not share: what a block's edge is and a slope is not
    lone = np.abs(step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2).mean(0)
    lines = [float(lone[start::_LATTICE].mean()) for start in range(_LATTICE)]
    return max(lines) / max(float(np.median(lines)), 0.1) - 1


def _brightness(gray: Gray, image: ImageU8) -> float:
    return float(gray.mean())


def _contrast(gray: Gray, image: ImageU8) -> float:
    return float(gray.std())


def _color(gray: Gray, image: ImageU8) -> float:
    return float((image.max(2).astype(np.int16) - image.min(2)).mean())


def _warmth(gray: Gray, image: ImageU8) -> float:
    return float(image[..., 0].mean() - image[..., 2].mean())


def _size(gray: Gray, image: ImageU8) -> float:
    return float(min(gray.shape))


# name -> (unit, how to measure it)
MEASURES: Mapping[str, tuple[str, Callable[[Gray, ImageU8], float]]] = {
    "size": ("px", _size),
    "sharpness": ("", _sharpness),
    "noise": ("gray levels", _noise),
    "JPEG lattice": ("", _lattice),
    "brightness": ("gray levels", _brightness),
    "contrast": ("gray levels", _contrast),
    "colorfulness": ("gray levels", _color),
    "red minus blue": ("gray levels", _warmth),
}


def spectrum(image: ImageU8) -> NDArray[np.float64]:
    """Return the radial spectrum: log10 of the mean power in each of 24 rings from 0 to Nyquist of the
    picture brought to 64 px, mean taken out, under a Hann window.
    """
    gray = square_fit(image, SPECTRUM_PX).astype(np.float64) @ _LUMINANCE
    window = np.hanning(SPECTRUM_PX)
    power = np.abs(np.fft.fft2((gray - gray.mean()) * np.outer(window, window))) ** 2
    return np.asarray(np.log10(np.bincount(_RING, power.ravel(), RINGS + 1)[:RINGS] / _IN_RING + 1.0))


def _rings() -> NDArray[np.int64]:
    frequency = np.fft.fftfreq(SPECTRUM_PX) * 2  # 1 at Nyquist
    radius = np.hypot(frequency[:, None], frequency[None, :])
    return np.asarray(np.minimum(radius * RINGS, RINGS).astype(np.int64).ravel())


_RING = _rings()
_IN_RING = np.bincount(_RING, minlength=RINGS + 1)[:RINGS]


@dataclass(frozen=True)
class Looks:
    """What a set of pictures looks like.

    Attributes:
        n: how many pictures.
        values: float64 [n] for each of :data:`MEASURES`.
        spectra: float64 [n, 24], see :func:`spectrum`.

    """

    n: int
    values: Mapping[str, NDArray[np.float64]]
    spectra: NDArray[np.float64]


def looks_of(images: Sequence[ImageU8]) -> Looks:
    """Measure pictures, each at its own size."""
    grays = [image.astype(np.float64) @ _LUMINANCE for image in images]
    values = {
        name: np.array([measure(gray, image) for gray, image in zip(grays, images, strict=True)])
        for name, (_, measure) in MEASURES.items()
    }
    spectra = np.array([spectrum(image) for image in images]).reshape(len(images), RINGS)
    return Looks(len(images), values, spectra)


@dataclass(frozen=True)
class Beside:
    """One measure of pictures beside the target's.

    Attributes:
        unit: of both.
        mean, target: means; the target's is None without a target.
        distance: the least mean shift that makes one distribution the other (Wasserstein 1), in standard
            deviations of the target; None without one.
        low, high: ends of the two histograms.
        counts, target_counts: shares in 16 bins.

    """

    unit: str
    mean: float
    target: float | None
    distance: float | None
    low: float
    high: float
    counts: Sequence[float]
    target_counts: Sequence[float] | None


@dataclass(frozen=True)
class Comparison:
    """Pictures beside a target's.

    Attributes:
        n, target_n: how many of each.
        measures: by name, the spectrum left out.
        spectrum, target_spectrum: mean log10 power in 24 rings from 0 to Nyquist.
        spectrum_distance: mean distance of the rings' means, in standard deviations of the target.
        distance: mean of all distances, each counted as 10 at most; None without a target.

    """

    n: int
    target_n: int
    measures: Mapping[str, Beside]
    spectrum: Sequence[float]
    target_spectrum: Sequence[float] | None
    spectrum_distance: float | None
    distance: float | None

    def as_json(self) -> dict[str, object]:
        """Return plain data."""
        return asdict(self)


def compare_looks(own: Looks, target: Looks | None) -> Comparison:
    """Put two sets of pictures side by side."""
    measures = {name: _beside(name, own, target) for name in MEASURES}
    if target is None:
        return Comparison(own.n, 0, measures, own.spectra.mean(0).tolist(), None, None, None)
    gap = np.abs(own.spectra.mean(0) - target.spectra.mean(0)) / np.maximum(target.spectra.std(0), 0.05)
    distances = [found.distance for found in measures.values() if found.distance is not None]
    spectrum_distance = float(gap.mean())
    overall = float(np.minimum([*distances, spectrum_distance], _MOST_SHOWN).mean())
    spectra = own.spectra.mean(0).tolist(), target.spectra.mean(0).tolist()
    return Comparison(own.n, target.n, measures, *spectra, spectrum_distance, overall)


def _beside(name: str, own: Looks, target: Looks | None) -> Beside:
    mine, unit = own.values[name], MEASURES[name][0]
    theirs = target.values[name] if target is not None else None
    both = mine if theirs is None else np.concatenate([mine, theirs])
    low, high = float(both.min()), float(both.max())
    counts = _shares(mine, low, high)
    if theirs is None:
        return Beside(unit, float(mine.mean()), None, None, low, high, counts, None)
    spread = max(float(theirs.std()), _LEAST_SPREAD * max(1.0, abs(float(theirs.mean()))))
    distance = wasserstein(mine, theirs) / spread
    target_counts = _shares(theirs, low, high)
    return Beside(unit, float(mine.mean()), float(theirs.mean()), distance, low, high, counts, target_counts)


def wasserstein(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the Wasserstein-1 distance of two samples: the area between their distribution functions."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(one, other))


def _shares(values: NDArray[np.float64], low: float, high: float) -> list[float]:
    counts, _ = np.histogram(values, BINS, (low, high if high > low else low + 1))
    return [round(float(count) / max(1, len(values)), 4) for count in counts]
