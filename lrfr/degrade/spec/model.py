"""The validated spec: what a YAML recipe means, its canonical JSON and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lrfr.core.errors import LrfrError, SpecError, as_count, did_you_mean
from lrfr.core.strict_yaml import TEXT_FILE, Place, parse
from lrfr.degrade.ops.resize import MAX_SIDE_PX, check_filter
from lrfr.degrade.spec.resolve import Overrides, Sheet, build_sheet, open_sheet
from lrfr.degrade.spec.steps import MAX_RUNS, Step, StepReader, explain, most_runs
from lrfr.degrade.values.params import License, shown

VERSION = 1
DEFAULT_SEED = 1
# of what all specs share (streams, distributions, gates, containers); raised when one may give other pixels
REVISION = 1
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


class ImageSpec(BaseModel):
    """``image``: what the HR images are.

    Attributes:
        size_px: side of the square HR image (``size`` in YAML).
        color: always ``rgb``.
        transfer: default ``transfer`` of the resize ops.

    """

    model_config = _STRICT
    size_px: Annotated[int, Field(alias="size", ge=4, le=MAX_SIDE_PX)] = 112
    color: Literal["rgb"] = "rgb"
    transfer: Literal["srgb", "linear"] = "srgb"


class UpSpec(BaseModel):
    """``store.up``: how a stored LR image returns to the network's input size (``size`` in YAML)."""

    model_config = _STRICT
    size_px: Annotated[int, Field(alias="size", ge=4, le=MAX_SIDE_PX)]
    filter: str
    antialias: bool

    @model_validator(mode="after")
    def _filter_exists(self) -> UpSpec:
        try:
            check_filter(self.filter, self.antialias)
        except SpecError as error:
            raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from None
        return self


class StoreSpec(BaseModel):
    """``store``: whether LR is kept at its native size, and the recipe of its way up."""

    model_config = _STRICT
    lr: Literal["native", "upsampled"] = "native"
    up: UpSpec


class _Head(BaseModel):
    """The top level of a spec without its pipeline."""

    model_config = _STRICT
    version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=100)] = "unnamed"
    seed: Annotated[int, Field(ge=0, lt=2**64)] = DEFAULT_SEED
    variants: Annotated[int, Field(ge=1, le=1000)] = 1
    license: Annotated[Any, License()] = None
    image: ImageSpec
    store: StoreSpec


_KNOWN: dict[Place, list[str]] = {
    (): [*_Head.model_fields, "pipeline", "extends", "set"],
    ("image",): ["size", "color", "transfer"],
    ("store",): ["lr", "up"],
    ("store", "up"): ["size", "filter", "antialias"],
}


@dataclass(frozen=True, eq=False)  # told apart by their digests; by identity where they key a cache
class Spec:
    """A resolved recipe; see docs/spec.md for every key.

    Attributes:
        name: for people only.
        seed: first part of the key of every random stream.
        variants: LR images per HR image.
        image: HR size, color and transfer.
        store: LR storage and upsampling.
        steps: the pipeline.
        license: terms of use of the faces, for people: a line of text, a mapping from the kind of source to
            such a line, or None.

    """

    name: str
    seed: int
    variants: int
    image: ImageSpec
    store: StoreSpec
    steps: tuple[Step, ...]
    license: str | dict[str, str] | None = None

    def as_json(self) -> Mapping[str, object]:
        """Return the resolved spec as plain data; dumped as YAML or JSON it is a loadable spec."""
        return {
            "version": VERSION,
            "name": self.name,
            **({} if self.license is None else {"license": self.license}),
            "seed": self.seed,
            "image": self.image.model_dump(by_alias=True),
            "variants": self.variants,
            "pipeline": [step.as_json() for step in self.steps],
            "store": self.store.model_dump(by_alias=True),
        }

    def canonical(self) -> str:
        """Return the loadable spec as canonical JSON: every default written out, keys sorted, no spaces;
        without the license, which makes no data.
        """
        return _canonical(replace(self, license=None).as_json())

    def identity(self) -> Mapping[str, object]:
        """Return what decides the data that a spec makes, and nothing else: what :attr:`digest` is taken of.

        What equals its default is left out, so that a new parameter moves no digest; the ``revision`` of
        every op and the digests of weights are in it. Names, terms and estimates of cost are not.
        """
        store = self.store.model_dump(by_alias=True, exclude_defaults=True)
        if store["up"] == default_up(self.image.size_px):
            del store["up"]
        return {
            **self._pixels(),
            **({} if self.variants == 1 else {"variants": self.variants}),
            **({"store": store} if store else {}),
        }

    def _pixels(self) -> Mapping[str, object]:
        # image.transfer is but the default of the resizes, each of which holds its own
        image = self.image.model_dump(by_alias=True, exclude_defaults=True, exclude={"transfer"})
        return {
            "version": VERSION,
            "revision": REVISION,
            **({} if self.seed == DEFAULT_SEED else {"seed": self.seed}),
            **({"image": image} if image else {}),
            "pipeline": [step.identity() for step in self.steps],
        }

    @cached_property
    def digest(self) -> str:
        """Sha256 (hex) of :meth:`identity`: equal for specs that make the same data in the same form."""
        return hashlib.sha256(_canonical(self.identity()).encode()).hexdigest()

    @cached_property
    def pixel_digest(self) -> str:
        """Sha256 (hex) of what decides the pixels of a variant: revisions, seed, image size and pipeline; not
        count or storage.
        """
        return hashlib.sha256(_canonical(self._pixels()).encode()).hexdigest()

    def with_(self, *, seed: int | None = None, variants: int | None = None) -> Spec:
        """Return a copy with another seed or number of variants."""
        return replace(
            self,
            seed=self.seed if seed is None else as_count(seed, "seed"),
            variants=self.variants if variants is None else as_count(variants, "variants", 1),
        )


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def default_up(size_px: int) -> Mapping[str, object]:
    """Return the way up of a spec that states none: to the HR size, by the antialiased bicubic filter."""
    return {"size": size_px, "filter": "bicubic", "antialias": True}


def load_spec(source: str | Path, set: Overrides = ()) -> Spec:
    """Read, resolve and validate a spec.

    Args:
        source: path of a YAML file, else name of a preset (``fskd``; ``turb.yaml`` falls back to the preset
            ``turb``), or the text of a spec.
        set: values to replace by place, ``{"pipeline.j1.quality": 50}``, or as ``place=value`` texts.

    Raises:
        SpecError: anything is wrong; the message lists every fault with file, line, place, expectation and
            hint.

    """
    sheet = open_sheet(source, set)
    text = sheet.origins[()][0].file == TEXT_FILE
    default = "" if text else Path(str(source)).name.removesuffix(".yaml").removesuffix(".yml")
    return read_sheet(sheet, default or "unnamed")


def parse_spec(text: str | bytes, file: str = TEXT_FILE, overrides: Overrides = ()) -> Spec:
    """Validate spec text; ``file`` is the name shown in errors. Raises like :func:`load_spec`."""
    return read_sheet(build_sheet(parse(text, file), overrides), "unnamed")


def read_sheet(sheet: Sheet, default_name: str) -> Spec:
    """Validate a resolved sheet."""
    data = sheet.data
    errors: list[SpecError] = []
    head = _read_head(sheet, default_name, errors)
    image = data.get("image")
    transfer = image.get("transfer", "srgb") if isinstance(image, dict) else "srgb"
    reader = StepReader(sheet, transfer if transfer in ("srgb", "linear") else "srgb")
    steps: tuple[Step, ...] = ()
    if "pipeline" in data:
        steps = reader.read_list(data["pipeline"], ("pipeline",))
    else:
        errors.append(
            sheet.error("a spec needs 'pipeline'", (), did_you_mean("pipeline", data) if data else None)
        )
    if (runs := most_runs(steps)) > MAX_RUNS:
        errors.append(
            sheet.error(
                f"an image may meet {MAX_RUNS} ops, repetitions included; here {runs:.3g}", ("pipeline",)
            )
        )
    errors += reader.errors
    if errors or head is None:
        raise join_errors(errors)
    return Spec(head.name, head.seed, head.variants, head.image, head.store, steps, head.license)


def _read_head(sheet: Sheet, default_name: str, errors: list[SpecError]) -> _Head | None:
    data = {key: value for key, value in sheet.data.items() if key != "pipeline"}
    for key in ("image", "store"):
        if not isinstance(data.setdefault(key, {}), dict):
            errors.append(sheet.error(f"expected a mapping, got {shown(data[key])}", (key,)))
            return None
    data.setdefault("name", default_name[:100])
    data["store"] = {"up": default_up(data["image"].get("size", 112)), **data["store"]}
    try:
        return _Head.model_validate(data)
    except ValidationError as error:
        errors += explain(error, sheet, (), _KNOWN, "the spec")
        return None


def join_errors(errors: Sequence[LrfrError]) -> LrfrError:
    """Return one error that carries the place of the first and lists all (at most ten)."""
    first, rest = errors[0], errors[1:]
    if not rest:
        return first
    lines = [f"\n  {error}" for error in rest[:9]]
    more = f"\n  and {len(rest) - 9} more" if len(rest) > 9 else ""
    hint = f" ({first.hint})" if first.hint else ""
    joined = type(first)(
        f"{first.message}{hint}{''.join(lines)}{more}", file=first.file, line=first.line, column=first.column
    )
    joined.path = first.path
    return joined
