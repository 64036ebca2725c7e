"""Degrade pictures from Python: at once, or as a transform of a data set."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Sequence
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.core.errors import SpecError, as_count, check_flags, shortly
from lrfr.core.image import square_fit
from lrfr.core.streams import MAX_VARIANT, stream
from lrfr.degrade.any_picture import Picture, as_face, key_bytes, key_of, like
from lrfr.degrade.inspect.contact_sheet import enlarge
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import Spec, load_spec
from lrfr.degrade.spec.resolve import preset_names

Key = bytes | str | int
_GATE = "lrfr.Degrade"  # the stream that decides whether a picture is degraded


def presets() -> list[str]:
    """Return the names of the shipped specs."""
    return preset_names()


def degrade_images(
    images: Picture | Sequence[Picture],
    spec: Spec | Pipeline | str | Path,
    *,
    keys: Key | Sequence[Key] | None = None,
    variant: int = 0,
    up: bool = False,
    trace: bool = False,
) -> Any:
    """Degrade one picture or several.

    Every picture is cut to its central square and brought to the spec's ``image.size`` first, as ``lrfr
    degrade`` and ``lrfr make-pairs`` do.

    Args:
        images: a PIL image, a path, an array [H, W, 3] RGB or [H, W] gray of uint8 or of floats in [0, 1], or
            a list or batch [N, H, W, 3] of them.
        spec: a spec, or what :func:`load_spec` takes: a preset's name, a file or the text of a spec. To call
            this often with text or a file, load it once.
        keys: what the draws depend on, beside seed and variant: one for each picture. Without, a path goes by
            its file name and every other picture by the digest of its pixels, so that equal pictures are
            degraded alike.
        variant: which of the degraded versions, from 0.
        up: bring the results to the network's input size by the spec's ``store.up``; without, they keep their
            native sizes.
        trace: return (results, traces).

    Returns:
        One result for one picture, a list for several; PIL images for PIL images, floats in [0, 1] for
        floats, uint8 [h, w, 3] else. With ``trace`` the :class:`~lrfr.degrade.pipeline.Trace` of each too.

    Raises:
        SpecError: the spec is wrong, something is no picture, or there are not as many keys.
        ImageFault: a file is no usable image.

    """
    check_flags(up=up, trace=trace)
    if _is_one(images):
        face = as_face(images)  # type: ignore[arg-type]
        name = key_of(images, face) if keys is None else key_bytes(keys)  # type: ignore[arg-type]
        pipeline = _ready(spec)
        small, acts = pipeline.run_face(name, face, variant)
        result = like(images, enlarge(small, pipeline.spec.store.up) if up else small)  # type: ignore[arg-type]
        return (result, pipeline.trace(name, variant, acts)) if trace else result
    pictures: Sequence[Picture] = images  # type: ignore[assignment]
    faces = [as_face(picture) for picture in pictures]
    if keys is None:
        names = [key_of(*pair) for pair in zip(pictures, faces, strict=True)]
    else:
        names = _names([keys] if isinstance(keys, bytes | str | int) else keys, len(faces))
    pipeline = _ready(spec)
    done, plans = pipeline.run_faces(names, faces, variant)
    shown = [enlarge(image, pipeline.spec.store.up) for image in done] if up else done
    results = [like(*pair) for pair in zip(pictures, shown, strict=True)]
    if not trace:
        return results
    return results, [pipeline.trace(name, variant, acts) for name, acts in zip(names, plans, strict=True)]


def _names(keys: Any, count: int) -> list[bytes]:
    if not hasattr(keys, "__len__"):
        raise SpecError(f"expected a list of keys, got {type(keys).__name__}")
    if len(keys) != count:
        raise SpecError(f"{len(keys)} keys for {count} pictures")
    return [key_bytes(key) for key in keys]


def _is_one(images: object) -> bool:
    if isinstance(images, np.ndarray):
        return images.ndim != 4
    return not isinstance(images, list | tuple)


def _ready(spec: Spec | Pipeline | str | Path) -> Pipeline:
    if isinstance(spec, Pipeline):
        return spec
    return _pipeline(spec if isinstance(spec, Spec) else load_spec(spec))


@functools.lru_cache(maxsize=16)  # by the identity of the spec: reading weights again for every picture costs
def _pipeline(spec: Spec) -> Pipeline:
    return Pipeline(spec)


class Degrade:
    """A transform for any data set: every call degrades a picture with fresh draws.

    What is drawn depends on (seed, epoch, key) and on nothing else: not on the worker, the order or the
    batch. The key is the picture's content unless one is given, so two workers never draw alike for different
    pictures, and any number of them gives the same epoch. Where :meth:`set_epoch` is never called, the
    instance counts its calls in place of epochs.

    Args:
        spec: a spec, or what :func:`load_spec` takes.
        up: give pictures of the network's input size (``store.up``); without, of their native LR size.
        p: share of the pictures that are degraded; the others only get the size.
        seed: in place of the spec's.

    Raises:
        SpecError: the spec is wrong or ``p`` is no probability.

    """

    def __init__(
        self,
        spec: Spec | Pipeline | str | Path,
        *,
        up: bool = True,
        p: float = 1.0,
        seed: int | None = None,
    ) -> None:
        loaded = (
            spec.spec if isinstance(spec, Pipeline) else spec if isinstance(spec, Spec) else load_spec(spec)
        )
        check_flags(up=up)
        if not isinstance(p, int | float) or not 0.0 <= p <= 1.0:
            raise SpecError(f"p is a probability, got {shortly(p)}")
        self.spec, self.up, self.p = loaded.with_(seed=seed), up, float(p)
        self._pipeline = _ready(self.spec)
        self._calls = 0
        # in memory that worker processes share, so that those that live on see the next epoch too
        self._epoch = multiprocessing.RawValue("q", -1)

    def __repr__(self) -> str:
        return f"Degrade({self.spec.name!r}, up={self.up}, p={self.p:g}, seed={self.spec.seed})"

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0; call it before each pass. Workers that run already see it."""
        self._epoch.value = as_count(epoch, "epoch", most=MAX_VARIANT)

    def __call__(self, image: Any, key: Any = None) -> Any:
        """Degrade one picture, or a list of them as :func:`degrade_images` takes.

        Args:
            image: the picture or pictures.
            key: its name or number in the data set (a list for a list), where the content shall not be the
                key: a picture that comes twice in an epoch is then drawn for twice.

        Returns:
            The same kind as came, as with :func:`degrade_images`.

        """
        if not _is_one(image):
            names = [None] * len(image) if key is None else _names(key, len(image))
            return [self(one, name) for one, name in zip(image, names, strict=True)]
        epoch = self._epoch.value
        if epoch < 0:
            epoch, self._calls = self._calls, self._calls + 1
        face = as_face(image)
        name = key_of(image, face) if key is None else key_bytes(key)
        if self.p < 1.0 and stream(self.spec.seed, name, epoch, _GATE).u(0) >= self.p:
            small = square_fit(face, self.spec.image.size_px)
        else:
            small = self._pipeline.run_face(name, face, epoch)[0]
        return like(image, enlarge(small, self.spec.store.up) if self.up else small)

    def __getstate__(self) -> tuple[Spec, bool, float, int, object]:
        # a process that is being started may share the epoch's memory, a file may not
        shared = get_spawning_popen() is not None
        return self.spec, self.up, self.p, self._calls, self._epoch if shared else self._epoch.value

    def __setstate__(self, state: tuple[Spec, bool, float, int, Any]) -> None:
        self.spec, self.up, self.p, self._calls, epoch = state
        self._pipeline = _ready(self.spec)
        self._epoch = multiprocessing.RawValue("q", epoch) if isinstance(epoch, int) else epoch
