"""Sets of faces to train the style generator on: a folder, the HR side of a view, embedded faces, or what a
spec makes of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.files import canonical, digest_of, read_bytes, sha256_hex
from lrfr.core.image import ImageU8, decode
from lrfr.core.lists.walk import pictures_below

if TYPE_CHECKING:
    from lrfr.degrade.spec.model import Spec
    from lrfr.pairs.reading.dataset import PairDataset

EMBEDDED = "embedded"
SPEC_PREFIX = "spec:"
# embedded sources and targets are different people: the same faces on both sides would be pairs
SOURCE_PEOPLE = range(0, 200)
TARGET_PEOPLE = range(10_000, 10_200)
PHOTOS = 4


@dataclass(frozen=True)
class ImageSet:
    """Faces that are read by row.

    Attributes:
        length: number of faces.
        digest: sha256 of what they are.
        read: rows to uint8 ``[n, S, S, 3]``.
        refused: files that are no images, and folders that cannot be read, with the reason.
        notes: what else lies among them.
        former: digests under which runs of the first edition know the same faces.

    """

    length: int
    digest: str
    read: Callable[[Sequence[int]], NDArray[np.uint8]]
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    former: tuple[str, ...] = ()


def open_images(text: str, size_px: int, *, store: Path, people: range, seed: int) -> ImageSet:
    """Open what ``--source`` or ``--target`` names.

    Args:
        text: a folder; or ``embedded``; or ``spec:NAME``, embedded faces degraded by a spec; or a view of
            ``store``.
        size_px: side of the faces in training.
        store: pair store whose views may be named.
        people: which embedded identities.
        seed: population of the embedded faces.

    Raises:
        SpecError: there is nothing of that name.
        DataError: no usable image.

    """
    if text == EMBEDDED:
        return _embedded(size_px, people, seed)
    if text.startswith(SPEC_PREFIX):
        return _degraded(text.removeprefix(SPEC_PREFIX), size_px, people, seed)
    if Path(text).is_dir():
        return _folder(Path(text), size_px)
    if (store / "views" / f"{text}.json").is_file():
        return _view(store, text, size_px)
    raise SpecError(
        f"no folder and no view '{text}'",
        hint=f"a folder, a view of {store}, '{EMBEDDED}' or '{SPEC_PREFIX}PRESET'",
    )


def in_memory(images: NDArray[np.uint8], digest: str) -> ImageSet:
    """Return a set of faces that are in memory already."""
    return ImageSet(len(images), digest, lambda rows: images[np.asarray(rows)])


def _embedded(size_px: int, people: range, seed: int) -> ImageSet:
    faces = _render(people, seed)
    digest = digest_of({"embedded": [people.start, people.stop], "photos": PHOTOS, "seed": seed})
    return in_memory(_fit([face for _, face in faces], size_px), digest)


def _degraded(name: str, size_px: int, people: range, seed: int) -> ImageSet:
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import load_spec

    spec = load_spec(name)
    faces = _render(people, seed)
    degraded = Pipeline(spec).run([key for key, _ in faces], [face for _, face in faces])
    up = spec.store.up
    restored = [_resize(item.image, up.size_px, up.filter, up.antialias) for item in degraded]
    about = {"embedded": [people.start, people.stop], "photos": PHOTOS, "seed": seed}
    then = _first_edition_digest(spec)
    former = () if then is None else (digest_of({**about, "spec": then}),)
    done = in_memory(_fit(restored, size_px), digest_of({**about, "spec": spec.digest}))
    return replace(done, former=former)


def _first_edition_digest(spec: Spec) -> str | None:
    """Return the name of a spec in the first edition: of all that is written in it, defaults too.

    None where it knew no such spec: an op has changed since, or uses a parameter that came later.
    """
    from lrfr.degrade.spec.step_cost import ops_of

    used = [(step.label, step.op) for step in ops_of(spec.steps) if step.op is not None]
    if any(op.revision != 1 or op.later & op.identity().keys() for _, op in used):
        return None
    ops = dict(used)

    def without(value: object) -> object:
        if isinstance(value, dict):
            later = ops[value["op"]].later if value.get("op") in ops else ()
            return {key: without(inner) for key, inner in value.items() if key not in later}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    return sha256_hex(canonical(without(json.loads(spec.canonical()))).rstrip(b"\n"))


def _render(people: range, seed: int) -> list[tuple[bytes, ImageU8]]:
    from lrfr.pairs.sources.synthetic import render_face

    return [
        (b"%d/%d" % (person, photo), render_face(person, photo, seed)[0])
        for person in people
        for photo in range(PHOTOS)
    ]


def _view(store: Path, name: str, size_px: int) -> ImageSet:
    from lrfr.pairs.reading.dataset import PairDataset

    dataset: PairDataset = PairDataset(store, name)

    def read(rows: Sequence[int]) -> NDArray[np.uint8]:
        hr_bchw = dataset.batch(np.asarray(rows), 0).hr_bchw
        return _fit(list(hr_bchw.permute(0, 2, 3, 1).contiguous().numpy()), size_px)

    return ImageSet(len(dataset), dataset.digest, read, former=dataset.view.former)


def _folder(folder: Path, size_px: int) -> ImageSet:
    """Open a folder: every file is decoded once, so that none can stop the training later."""
    names, rest = pictures_below(folder)
    total, good = hashlib.sha256(), []
    refused = [f"{name}: {reason}" for name, _, reason in rest.refused]
    for name in names:
        path = folder / name
        try:
            data = read_bytes(path)
            decode(data)
        except ImageFault as fault:
            refused.append(f"{name}: {fault.message}")
            continue
        total.update(f"{name}\0".encode() + hashlib.sha256(data).digest())
        good.append(path)
    if not good:
        raise DataError("no image that can be read", file=str(folder), hint="; ".join(refused[:3]) or None)
    read = lambda rows: _fit([decode(read_bytes(good[row])) for row in rows], size_px)  # noqa: E731
    return ImageSet(len(good), total.hexdigest(), read, tuple(refused), tuple(rest.told()))


def _fit(images: list[ImageU8], size_px: int) -> NDArray[np.uint8]:
    return np.stack([_resize(image, size_px, "bicubic", True) for image in images])


def _resize(image: ImageU8, size_px: int, filter: str, antialias: bool) -> ImageU8:
    from lrfr.degrade.ops.resize import resize_batch

    return np.asarray(resize_batch(image[None], size_px, filter, antialias)[0])
