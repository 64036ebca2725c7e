"""What an experiment file declares, checked: alignments, views, models that are there, imported weights,
trainings, routes, evaluations, pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.strict_yaml import Document, Place, load

_STRICT = ConfigDict(extra="forbid")
Flag = bool | int | float | str | list[int | float | str]
Flags = dict[str, Flag]


@checked(frozen=True, config=_STRICT)
class Alignment:
    """One ``align`` line: photographs become the folder of crops that bears its name."""

    photos: str
    flags: Flags = field(default_factory=dict)
    caption: str = "photographs and their crops: without a face first, then the worst fits"
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Fit:
    """One ``fit`` line: a camera's crops, and clean faces of other people, become ``fits/NAME.yaml``."""

    crops: str
    source: str
    flags: Flags = field(default_factory=dict)
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class View:
    """One ``make-pairs`` line; ``flags`` are its options without the dashes; ``of`` names the alignment whose
    crops it takes, ``camera`` the fit whose spec (``scan``: its scan's); with ``store`` it is there already.
    """

    flags: Flags = field(default_factory=dict)
    of: str | None = None
    camera: str | None = None
    scan: bool = False
    store: str | None = None
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Import:
    """One ``import-weights`` line: foreign weights that trainings may start from or be taught by."""

    source: str
    flags: Flags = field(default_factory=dict)
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Training:
    """One ``train`` line per seed; ``parents`` maps a role (teacher, trunk, init, ...) to the name of a
    training above.
    """

    method: str
    view: str
    recipe: str | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    parents: dict[str, str] = field(default_factory=dict)
    set: dict[str, bool | int | float | str] = field(default_factory=dict)
    flags: Flags = field(default_factory=dict)
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Common:
    """What all trainings share unless they say otherwise: entries of ``set`` and ``flags``."""

    set: dict[str, bool | int | float | str] = field(default_factory=dict)
    flags: Flags = field(default_factory=dict)


@checked(frozen=True, config=_STRICT)
class Route:
    """One ``route`` line: a model made of others, by size of the face in px; every seed-less name means the
    first seed. Several names share a size; ``fit`` is the view on which their weights are fitted.
    """

    at: dict[int, str | list[str]]
    rest: str
    fit: str | None = None

    def members(self) -> list[tuple[int, str]]:
        """Return size and name of every member but the rest."""
        several = {side: [given] if isinstance(given, str) else given for side, given in self.at.items()}
        return [(side, name) for side, names in several.items() for name in names]


@checked(frozen=True, config=_STRICT)
class Evaluation:
    """One ``eval`` line per model; ``of`` lists trainings, imports and routes, all of them when empty."""

    benchmark: str
    of: list[str] = field(default_factory=list)
    flags: Flags = field(default_factory=dict)
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Picture:
    """One ``degrade --preview`` line: a contact sheet for the report, of an alignment's crops (``of``), of
    other ``faces``, or of embedded ones.
    """

    caption: str
    flags: Flags = field(default_factory=dict)
    of: str | None = None
    faces: str | None = None
    estimate_s: float | None = None


@checked(frozen=True, config=_STRICT)
class Declaration:
    """The whole declaration; see ``docs/experiments.md``."""

    version: int
    name: str
    views: dict[str, View]
    trainings: dict[str, Training]
    evaluations: dict[str, Evaluation]
    title: str = ""
    places: dict[str, str] = field(default_factory=dict)
    alignments: dict[str, Alignment] = field(default_factory=dict)
    fits: dict[str, Fit] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    common: Common = field(default_factory=Common)
    routes: dict[str, Route] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)
    report: Flags = field(default_factory=dict)

    def models(self) -> list[str]:
        """Return the names of everything that can be evaluated."""
        return [*self.given, *self.imports, *self.trainings, *self.routes]


def load_declaration(
    path: Path, places: Mapping[str, str] | None = None, *, embedded: bool = False
) -> Declaration:
    """Read and check an experiment file.

    Args:
        path: of the YAML file.
        places: replaces the file's own ``places``, by name; ``{name}`` in any text of the file stands for the
            place.
        embedded: lay the file's ``embedded`` part over the rest: the same comparison on invented faces.

    Raises:
        SpecError: with file, line, place and what was expected.

    """
    document = load(path)
    data = document.data
    if isinstance(data, dict):
        instead = data.pop("embedded", None)
        if embedded and not isinstance(instead, dict):
            raise document.error("this experiment has no part 'embedded'", ())
        data = _laid_over(data, instead) if embedded else data
        data = _filled(document, data, places or {})
    try:
        experiment: Declaration = TypeAdapter(Declaration).validate_python(data)
    except ValidationError as error:
        raise _explain(document, error) from None
    _check_names(document, experiment)
    return experiment


def _laid_over(base: Any, above: Any) -> Any:
    """Return ``above`` over ``base``: mappings are merged, an empty value removes its key, anything else
    replaces.
    """
    if not (isinstance(base, dict) and isinstance(above, dict)):
        return above
    new = {
        key: value for key, value in above.items() if key not in base
    }  # first, as the rest may build on it
    merged = new | {
        key: _laid_over(value, above[key]) if key in above else value for key, value in base.items()
    }
    return {key: value for key, value in merged.items() if value is not None}


def _filled(document: Document, data: Mapping[str, Any], given: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the file's data with ``{name}`` replaced by the place of that name."""
    declared = data.get("places") or {}
    for name in given:
        if name not in declared:
            raise SpecError(
                f"no place '{name}' in this experiment", file=document.file, hint=did_you_mean(name, declared)
            )
    places = {name: str(given.get(name, path)) for name, path in declared.items()}

    def fill(value: Any) -> Any:
        """Put the places' paths into every text of a plain value."""
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        return (
            re.sub(r"\{(\w+)\}", lambda found: places.get(found[1], found[0]), value)
            if isinstance(value, str)
            else value
        )

    return {key: value if key == "places" else fill(value) for key, value in data.items()}


def _explain(document: Document, error: ValidationError) -> Exception:
    # a misspelt key explains the missing one, so it is shown first
    first = min(error.errors(), key=lambda item: item["type"] != "unexpected_keyword_argument")
    place = tuple(
        part
        for part in first["loc"]
        if not (isinstance(part, str) and part in {"int", "float", "str", "bool"})
    )
    hint = None
    if first["type"] == "unexpected_keyword_argument":
        kinds: dict[str, Any] = {
            "alignments": Alignment,
            "fits": Fit,
            "views": View,
            "imports": Import,
            "trainings": Training,
            "routes": Route,
            "evaluations": Evaluation,
            "pictures": Picture,
        }
        kind = kinds.get(str(place[0]), Declaration) if len(place) > 1 else Declaration
        hint = did_you_mean(str(place[-1]), [item.name for item in fields(kind)])
    return document.error(first["msg"], place, hint)


def _check_names(document: Document, experiment: Declaration) -> None:
    if experiment.version != 1:
        raise document.error("unknown version", ("version",), "this lrfr reads version 1")
    _check_unique(document, experiment)
    for kind in ("views", "pictures"):
        for name, item in getattr(experiment, kind).items():
            _known(document, item.of, experiment.alignments, "alignment", (kind, name, "of"))
    for name, view in experiment.views.items():
        _known(document, view.camera, experiment.fits, "fit", ("views", name, "camera"))
    seen = {*experiment.given, *experiment.imports}
    for name, training in experiment.trainings.items():
        _known(document, training.view, experiment.views, "view", ("trainings", name, "view"))
        for role, used in training.parents.items():
            _known(
                document,
                used,
                seen,
                "given model, import or training above this one",
                ("trainings", name, "parents", role),
            )
        seen.add(name)
    for name, route in experiment.routes.items():
        if route.fit is not None:
            _known(document, route.fit, experiment.views, "view", ("routes", name, "fit"))
        for place, used in [(("at", side), used) for side, used in route.members()] + [
            (("rest",), route.rest)
        ]:
            _known(document, used, seen, "given model, import or training", ("routes", name, *place))
    for name, evaluation in experiment.evaluations.items():
        for used in evaluation.of:
            _known(
                document,
                used,
                experiment.models(),
                "given model, import, training or route",
                ("evaluations", name, "of"),
            )


def _check_unique(document: Document, experiment: Declaration) -> None:
    models = experiment.models()
    for kind in ("given", "imports", "routes"):
        for name in getattr(experiment, kind):
            if models.count(name) > 1:
                raise document.error(f"two models are called '{name}'", (kind, name))


def _known(document: Document, name: str | None, known: Iterable[str], what: str, place: Place) -> None:
    if name is not None and name not in known:
        raise document.error(f"'{name}' is no {what}", place, did_you_mean(name, known))
