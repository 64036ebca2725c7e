"""``run.json``: what a run folder holds, and what makes two runs the same run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lrfr.core.errors import DataError
from lrfr.core.files import data_of, parsed, seal, unseal
from lrfr.core.files import differences as places_that_differ
from lrfr.pairs.reading.order import IDENTITY_DRAW_REVISION
from lrfr.train.checkpoint import checked
from lrfr.train.heads.partial_fc import CLASS_DRAW_REVISION
from lrfr.train.recipe import Recipe, differences, filled, method_from
from lrfr.train.settings import TrainSettings

SCHEMA = 2


@dataclass(frozen=True)
class RunIdentity:
    """What two runs must share to be the same run: everything that decides its numbers, and nothing else.

    Attributes:
        view: digest of the view.
        method: name of the method.
        options: the method's options that differ from its defaults, so that a new option left at its default
            changes no run.
        train: the loop's settings that differ from their defaults, without those that only say how the run is
            watched and on how many threads it runs.
        parents: role to checkpoint digest.
        revisions: part (method, backbone, head, distance, loop, order) to revision; one that is missing has
            1.
        files: part to digest of other files that decide (style weights); their paths are in no option here.
        inputs: role to the input contract of each parent that is a foreign file.

    """

    view: str
    method: str
    options: Mapping[str, object] = field(default_factory=dict)
    train: Mapping[str, object] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    revisions: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        view: str,
        recipe: Recipe,
        parents: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, object]] | None = None,
    ) -> RunIdentity:
        """Return the identity of a recipe's run on the view with this digest."""
        method, settings = recipe.make(), recipe.settings
        if settings.cache_teacher == "never":  # the numbers of auto: foreign files give the same either way
            settings = dataclasses.replace(settings, cache_teacher="auto")
        train = differences(settings, type(settings)(), skip=settings.WATCHED)
        revisions = {**method.revisions(), "loop": settings.revision}
        if settings.images_per_id:
            revisions["order"] = IDENTITY_DRAW_REVISION
        if settings.shard_classes and settings.sample_rate < 1:
            revisions["classes"] = CLASS_DRAW_REVISION
        files = dict(method.files())
        options = _without_paths(differences(method, type(method)()), files)
        return cls(view, recipe.method, options, train, dict(parents), revisions, files, dict(inputs or {}))

    def differs(self, other: RunIdentity) -> list[str]:
        """Return what is different there (in this one) and here (in the other), one sentence each."""
        return _differences(self._spelled_out(), other._spelled_out())

    def _spelled_out(self) -> dict[str, object]:
        """Return every value, defaults too, so that both sides of a difference can be named."""
        found = dataclasses.asdict(self)
        found["options"] = filled(method_from(self.method, {}), self.options)
        found["train"] = filled(TrainSettings(), self.train)
        found["revisions"] = {part: number for part, number in self.revisions.items() if number != 1}
        return found


def _without_paths(options: dict[str, object], files: Mapping[str, str]) -> dict[str, object]:
    for part in files:
        nested = options.get(part)
        if isinstance(nested, dict):
            nested.pop("weights", None)
    return options


@dataclass(frozen=True)
class LeftOut:
    """Faces that a run does not see.

    Attributes:
        of_identities: from every epoch, as ``images_per_id`` asks for more faces of an identity than theirs
            has.
        an_epoch: from each epoch, others every time: they fill no batch, or are more of an identity.

    """

    of_identities: int
    an_epoch: int


@dataclass(frozen=True)
class RunRecord:
    """``run.json``: what a run folder holds.

    Attributes:
        identity: what makes it this run.
        recipe: the resolved recipe, every option and setting, for people.
        parents: role to run folder or checkpoint, as named when the run began.
        total_steps: steps that the run asks for.
        threads: CPU threads that it began with and goes on with.
        versions: of lrfr, torch and python when it began.
        repeats: how far the same run again, or one that goes on, agrees with it: ``bits``, or ``rounding``
            where its kernels are not deterministic.
        left_out: faces of the view that its epochs do not show; None for a run of an earlier version.

    """

    identity: RunIdentity
    recipe: Mapping[str, object]
    parents: Mapping[str, str]
    total_steps: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1, le=1 << 16)]
    versions: Mapping[str, str] = field(default_factory=dict)
    repeats: Literal["bits", "rounding"] = "bits"
    left_out: LeftOut | None = None

    def enlarging(self, run_dir: Path) -> tuple[str, bool] | None:
        """Return the filter by which the run began to enlarge faces, and whether it widens with the scale;
        None where its record, in ``run_dir``, says nothing of it.

        Raises:
            DataError: it says something else.

        """
        options = self.recipe.get("options")
        told = options.get("input") if isinstance(options, Mapping) else None
        if told is None:
            return None
        found = (told.get("filter"), told.get("antialias")) if isinstance(told, Mapping) else (None, None)
        if not isinstance(found[0], str) or not isinstance(found[1], bool):
            raise DataError("the recipe's input has no filter", file=str(run_dir / "run.json"))
        return found[0], found[1]

    @classmethod
    def read(cls, run_dir: Path) -> RunRecord:
        """Return the record of a run folder; one of the first edition is brought into today's form.

        Raises:
            DataError: it cannot be read, or a field is missing or wrong, with its name.
            SpecError: an older record names an unknown method or option.

        """
        path = run_dir / "run.json"
        try:
            data = data_of(path)
            plain = parsed(data)
        except (OSError, ValueError, RecursionError):
            raise DataError("not a run folder, or its run.json is damaged", file=str(run_dir)) from None
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if schema == 1:
            plain = {**plain, "identity": _first_edition(plain.get("identity"), path)}
        elif schema == SCHEMA:
            plain = unseal(data, str(path))
        else:
            raise DataError(f"run of schema {schema}, this version reads 1 to {SCHEMA}", file=str(path))
        return checked(cls, plain, path)

    def seal(self) -> bytes:
        """Return the bytes of ``run.json``."""
        return seal({"schema": SCHEMA, **dataclasses.asdict(self)})


@dataclass(frozen=True)
class _FirstIdentity:
    """The identity of schema 1: every option and setting in full, and no revisions (all were 1)."""

    method: str
    options: Mapping[str, object]
    train: Mapping[str, object]
    view: str
    parents: Mapping[str, str]


def _first_edition(identity: object, path: Path) -> dict[str, object]:
    old = checked(_FirstIdentity, identity, path)
    method = method_from(old.method, old.options)
    settings = checked(TrainSettings, old.train, path)
    files = dict(method.files())
    options = _without_paths(differences(method, type(method)()), files)
    train = differences(settings, TrainSettings(), skip=settings.WATCHED)
    return dataclasses.asdict(RunIdentity(old.view, old.method, options, train, old.parents, {}, files))


def _differences(old: object, new: object) -> list[str]:
    found = places_that_differ(old, new)
    return [f"{place} is {_short(one)} there, {_short(other)} here" for place, one, other in found]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
