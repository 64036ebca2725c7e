"""Whose weights a file holds, and which backbone they fit: by names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

import torch
from torch import Tensor

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.train.backbones.table import BACKBONES, build_backbone
from lrfr.train.weights.foreign.names.conversions import CONVERSIONS
from lrfr.train.weights.foreign.names.families import FAMILIES, Family
from lrfr.train.weights.foreign.names.refusals import check_finite, not_read, nothing_in
from lrfr.train.weights.foreign.names.weight_sets import WeightFile, WeightSet

Shapes = Mapping[str, tuple[int, ...]]
_UNIT = re.compile(r"layer\d\.\d+\.")
_TRIED = 8
# what stands beside a network without a prefix and embeds nothing; no backbone has such names
_HEAD = (
    r"^(?:heads?|classifier|margin\w*|arc\w*|cos\w*|ada\w*|loss\w*|criterion\w*|metric\w*|product|kernel|weight|"
    r"W|prototypes?|centers?|class_centers|partial_fc|logits)(?:\.|$)"
)
_COUNTERS = re.compile(r"(^|\.)(num_batches_tracked|n_averaged|input_scale|input_shift)$")


@dataclass(frozen=True)
class Choice:
    """What a person says of a file; None is found out.

    Attributes:
        backbone: a name of the table.
        family: a name of :data:`~lrfr.train.weights.foreign.names.families.FAMILIES`.
        part: place in the file, or prefix, or both joined: which of several networks.

    """

    backbone: str | None = None
    family: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class Recognized:
    """The weights of one network of a file, under our names.

    Attributes:
        family: whose they are.
        backbone: what they fill.
        place: of the set in the file.
        prefix: what was stripped from every name.
        tensors: by our names, as the file has them.
        beside: names of the same set that belong to no embedding.
        others: further networks of the file, as ``--part`` takes them.

    """

    family: str
    backbone: str
    place: str
    prefix: str
    tensors: Mapping[str, Tensor]
    beside: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    family: str
    held: WeightSet
    prefix: str
    names: tuple[str, ...]

    @property
    def part(self) -> str:
        return ".".join(word for word in (self.held.place, self.prefix.removesuffix(".")) if word)


def recognize(file: WeightFile, choice: Choice | None = None) -> Recognized:
    """Return the network in a file.

    Raises:
        DataError: there is none, or it fits no backbone or not the one that was asked for; names what is
            missing and unexpected, and what would fit.
        SpecError: an unknown family or backbone, or no such part.

    """
    choice = choice or Choice()
    if choice.family is not None and choice.family not in FAMILIES:
        raise SpecError(f"unknown family '{choice.family}'", hint=did_you_mean(choice.family, FAMILIES))
    if choice.backbone is not None:
        BACKBONES[choice.backbone]
    found = _candidates(file, choice)
    if choice.part is not None:
        found = _of_part(file, found, choice.part)
    if not found:
        raise nothing_in(file)
    wanted = [choice.backbone] if choice.backbone else None
    faults: list[DataError] = []
    for candidate in found:
        try:
            fitted = _fitted(file, candidate, wanted)
        except DataError as error:
            faults.append(error)
            continue
        others = [one.part for one in found if one.part != candidate.part]
        return Recognized(**vars(fitted) | {"others": tuple(dict.fromkeys(others))})
    raise faults[0]


def _candidates(file: WeightFile, choice: Choice) -> list[_Candidate]:
    families = {choice.family: FAMILIES[choice.family]} if choice.family else FAMILIES
    found: dict[tuple[int, str], _Candidate] = {}
    for number, held in enumerate(file.sets):
        for name, family in families.items():
            for prefix in _prefixes(held, family, stated=choice.family is not None):
                names = tuple(key for key in held.shapes if key.startswith(prefix))
                found.setdefault((number, prefix), _Candidate(name, held, prefix, names))
    return list(found.values())


def _prefixes(held: WeightSet, family: Family, *, stated: bool) -> Iterator[str]:
    for key, shape in held.shapes.items():
        if not key.endswith(family.mark) or len(shape) != 4 or shape[1] != 3:
            continue
        prefix = key[: -len(family.mark)]
        if prefix and not prefix.endswith("."):
            continue
        inner = [name[len(prefix) :] for name in held.shapes if name.startswith(prefix)]
        if (stated or not family.prefix or re.fullmatch(family.prefix, prefix)) and _matches(family, inner):
            yield prefix


def _matches(family: Family, names: Sequence[str]) -> bool:
    def any_like(pattern: str) -> bool:
        return any(re.fullmatch(pattern, name) for name in names)

    return all(map(any_like, family.has)) and not any(map(any_like, family.lacks))


def _of_part(file: WeightFile, found: list[_Candidate], part: str) -> list[_Candidate]:
    wanted = part.removesuffix(".")
    kept = [one for one in found if wanted in {one.part, one.held.place, one.prefix.removesuffix(".")}]
    if not kept:
        raise SpecError(
            f"there is no network '{part}' in it",
            file=str(file.path),
            hint=f"it has {', '.join(repr(one.part) for one in found) or 'none'}",
        )
    return kept


def _fitted(file: WeightFile, candidate: _Candidate, wanted: Sequence[str] | None) -> Recognized:
    family, prefix = FAMILIES[candidate.family], candidate.prefix
    unread = {name: word for name, word in candidate.held.unread.items() if name.startswith(prefix)}
    if unread:
        raise not_read(str(file.path), unread)
    tensors = {name[len(prefix) :]: candidate.held.read(name) for name in candidate.names}
    tensors = CONVERSIONS[family.convert](tensors)
    renamed = {_renamed(family, name): tensor for name, tensor in tensors.items()}
    kept = {name: tensor for name, tensor in renamed.items() if not _like(name, (*family.ignored, _HEAD))}
    shapes = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    backbone = _backbone(file, candidate, shapes, wanted)
    outside = [name for name in candidate.held.shapes if not name.startswith(prefix)]
    beside = [*outside, *(prefix + name for name in renamed.keys() - kept.keys())]
    own = layers_of(backbone)
    tensors = {name: tensor for name, tensor in kept.items() if name in own}
    check_finite(file, tensors)
    return Recognized(
        candidate.family, backbone, candidate.held.place, prefix, tensors, tuple(sorted(beside))
    )


def _renamed(family: Family, name: str) -> str:
    for pattern, replacement in family.rules:
        name = re.sub(pattern, replacement, name)
    return name


def _like(name: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


@lru_cache(maxsize=256)
def layers_of(backbone: str) -> Shapes:
    """Return the shapes of a backbone's tensors by name; nothing is drawn."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_backbone(backbone).state_dict().items()}


def side_px(backbone: str, usual_px: int) -> int:
    """Return the side of the input that a backbone takes, ``usual_px`` where it takes several."""
    layout = getattr(BACKBONES[backbone], "layout", None)
    return int(getattr(layout, "size_px", usual_px))


def _backbone(file: WeightFile, candidate: _Candidate, shapes: Shapes, wanted: Sequence[str] | None) -> str:
    """Return the backbone that ``shapes`` fill.

    Raises:
        DataError: none of those that are wanted; names the faults of the nearest, and what fits.

    """
    family = FAMILIES[candidate.family]
    usual = [sized(name, shapes) for name in _nearest(family, shapes)]
    best: tuple[int, str, str] | None = None
    for name in wanted or usual:
        faults = _faults(family, layers_of(name), shapes)
        if not any(map(len, faults.values())):
            return name
        text = ", ".join(f"{len(names)} {what} ({names[0]})" for what, names in faults.items() if names)
        worse = sum(map(len, faults.values()))
        if best is None or worse < best[0]:
            best = worse, name, text
    assert best is not None
    fitting = [name for name in usual if not any(map(len, _faults(family, layers_of(name), shapes).values()))]
    hint = (
        f"they fit --backbone {' or '.join(fitting[:3])}"
        if wanted and fitting
        else "no backbone of lrfr has them"
    )
    if not fitting and not wanted:
        hint = f"'{best[1]}' is the nearest; {hint}"
    raise DataError(
        f"{candidate.family} weights do not fit '{best[1]}': tensors {best[2]}",
        file=str(file.path),
        hint=hint,
    )


def sized(backbone: str, given: Shapes) -> str:
    """Return a backbone with the embedding size that a file's tensors say, where nothing but that differs."""
    own = layers_of(backbone)
    wide = getattr(getattr(BACKBONES[backbone], "layout", None), "emb_dim", None)
    other = [name for name in own if name in given and given[name] != own[name]]
    sizes = {
        given[name][0] for name in other if given[name][1:] == own[name][1:] and own[name][:1] == (wide,)
    }
    if len(sizes) != 1 or not 1 <= (size := sizes.pop()) < 10_000:
        return backbone
    found = f"{backbone}-{size}d"
    fits = all(given[name] == shape for name, shape in layers_of(found).items() if name in given)
    return found if fits else backbone


def _nearest(family: Family, shapes: Shapes) -> list[str]:
    """Return the family's backbones whose depth and width are nearest to those of a file, the nearest first:
    laying out all of them would take seconds.
    """
    own = [name for name in BACKBONES if not BACKBONES.is_plugin(name)]
    own = [name for name in own if any(fnmatchcase(name, pattern) for pattern in family.backbones)]
    units = len({found[0] for name in shapes if (found := _UNIT.match(name))})
    width = shapes.get("conv1.weight", (0,))[0]

    def distance(name: str) -> int:
        layout = getattr(BACKBONES[name], "layout", None)
        deep, wide = sum(getattr(layout, "units", (0,))), getattr(layout, "width", 0)
        return (
            abs(int(deep) - units) + (1000 if wide != width else 0) + (100 if name.startswith("wave-") else 0)
        )

    return sorted(own, key=distance)[:_TRIED]


def _faults(family: Family, own: Shapes, given: Shapes) -> dict[str, list[str]]:
    missing = [
        name
        for name in own
        if name not in given and not _COUNTERS.search(name) and not _like(name, family.optional)
    ]
    unknown = [name for name in given if name not in own and not _COUNTERS.search(name)]
    wrong = [
        f"{name}: {list(given[name])}, expected {list(own[name])}"
        for name in own
        if name in given and given[name] != own[name] and not _COUNTERS.search(name)
    ]
    return {"missing": missing, "unknown": unknown, "of another shape": wrong}
