"""Recipes: one YAML of a method's options, loop settings, parents and data, with overrides by key.

Keys: ``method``; ``about``, one line; ``options``, fields of the method; ``train``, fields of
:class:`~lrfr.train.settings.TrainSettings`; ``parents``, role (``all``: every role) to
``{recipe, options, train}`` of the run that fills it; ``data``, what the view should hold (``spec`` makes the
default view, the rest is for people).
"""

from __future__ import annotations

import dataclasses
import keyword
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from lrfr.core.errors import SpecError, check_kind, did_you_mean
from lrfr.core.strict_yaml import Document, laid_over, parse_assignment
from lrfr.train.methods.table import METHODS, recipe_document, recipe_names
from lrfr.train.settings import TrainSettings

if TYPE_CHECKING:
    from lrfr.train.methods.base import Method

_ALL = "all"  # for every parent, where a role says nothing of its own
_KEYS = {"method", "about", "options", "train", "parents", "data"}


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe.

    Attributes:
        method: name of the method.
        options: its validated fields, as plain data.
        settings: the loop's settings.
        parents: role to the recipe of the run that fills it.
        data: what the view should hold (``spec``), free text for the rest.
        states_filter: whether the recipe itself says how the embedder resizes.

    """

    name: str
    method: str
    options: Mapping[str, Any]
    settings: TrainSettings
    parents: dict[str, Recipe] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    states_filter: bool = False

    def enlarging_by(self, filter: str, antialias: bool) -> Recipe:
        """Return the recipe, its parents' too, with an embedder that enlarges small faces as the training's
        view does; one that states a filter keeps it.
        """
        parents = {role: parent.enlarging_by(filter, antialias) for role, parent in self.parents.items()}
        options = dict(self.options)
        if not self.states_filter and isinstance(options.get("input"), Mapping):
            options["input"] = {**options["input"], "filter": filter, "antialias": antialias}
        return dataclasses.replace(self, options=options, parents=parents)

    def make(self) -> Method:
        """Return the method."""
        return method_from(self.method, self.options)

    def as_dict(self) -> dict[str, object]:
        """Return plain data, with the parents' recipes inside."""
        train = dataclasses.asdict(self.settings)
        parents = {role: parent.as_dict() for role, parent in self.parents.items()}
        return {
            "method": self.method,
            "options": self.options,
            "train": train,
            "parents": parents,
            "data": self.data,
        }


def differences(given: object, usual: object, skip: Collection[str] = ()) -> dict[str, object]:
    """Return the fields of a dataclass that differ from those of ``usual``, as plain data; only what differs
    within a nested one.
    """
    found: dict[str, object] = {}
    for name in (f.name for f in dataclasses.fields(given) if f.name not in skip):  # type: ignore[arg-type]
        value, default = getattr(given, name), getattr(usual, name)
        if value != default:
            nested = dataclasses.is_dataclass(value) and type(value) is type(default)
            found[name] = differences(value, default) if nested else _plain(value)
    return found


def filled(usual: object, found: Mapping[str, object]) -> dict[str, object]:
    """Return every field of ``usual`` as plain data, with what :func:`differences` found put in."""
    return laid_over(_plain(usual), found)


def _plain(value: object) -> Any:
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def load_recipe(method: str, recipe: str = "tiny", set: Mapping[str, object] | Sequence[str] = ()) -> Recipe:
    """Return a shipped recipe (by name) or one of the user's (by path), with some keys changed.

    Args:
        method: name of the method.
        recipe: ``tiny``, ``paper``, another shipped name, or the path of a YAML file.
        set: ``{"lambda": 20, "train.lr": 0.05, "parents.teacher.train.length": 4}``, or the same as texts
            ``key=value``; a bare key goes to the method's options or else to the loop's settings. Parents
            keep their own recipe, so that a sweep finds them again: ``parents.ROLE.`` reaches one,
            ``parents.all.`` every one.

    Raises:
        SpecError: no such recipe, or malformed, with file and line.

    """
    METHODS[method]
    check_kind(recipe, str, "the name or path of a recipe")
    document = recipe_document(method, recipe)
    data = document.data or {}
    if not isinstance(data, dict):
        raise document.error("a recipe is a mapping")
    _unknown(document, data, _KEYS, ())
    if data.get("method", method) != method:
        raise document.error(
            f"this recipe is for '{data['method']}'", ("method",), f"lrfr train {data['method']}"
        )
    for key, value in _changes(set):
        _override(data, key, value, method)
    return _resolve(document, data, method, recipe)


def _resolve(document: Document, data: Mapping[str, Any], method: str, name: str) -> Recipe:
    options = _options(document, data.get("options"), METHODS[method])
    settings = _validated(document, data.get("train"), TrainSettings, "train")
    needs = options.needs()
    given = data.get("parents") or {}
    _unknown(document, given, {*needs, _ALL} if needs else (), ("parents",))
    parents = {}
    for role, parent_method in needs.items():
        entry = given.get(role) or {}
        if given.get(_ALL):
            _unknown(document, given[_ALL], {"options", "train", "parents"}, ("parents", _ALL))
            entry = laid_over(given[_ALL], entry) if isinstance(entry, dict) else entry
        _unknown(document, entry, {"recipe", "options", "train", "parents", "method"}, ("parents", role))
        parents[role] = _parent(document, entry, str(entry.get("method", parent_method)), name)
    plain = TypeAdapter(METHODS[method]).dump_python(options, mode="json")
    return Recipe(
        Path(name).stem,
        method,
        plain,
        settings,
        parents,
        dict(data.get("data") or {}),
        str(data.get("about", "")),
        "filter" in ((data.get("options") or {}).get("input") or {}),
    )


def _parent(document: Document, entry: Mapping[str, Any], method: str, name: str) -> Recipe:
    default = name if name in recipe_names(method) else "tiny"
    base = recipe_document(method, str(entry.get("recipe", default)))
    merged = dict(base.data or {})
    for part in ("options", "train", "parents"):
        if entry.get(part):
            merged[part] = laid_over(merged.get(part) or {}, entry[part])
    return _resolve(base, merged, method, str(entry.get("recipe", default)))


def _field(name: str) -> str:
    """Return the field of a recipe's key: ``lambda`` is a Python word, its field is ``lambda_``."""
    return f"{name}_" if keyword.iskeyword(name) else name


def _fields(kind: type) -> set[str]:
    return {f.name.removesuffix("_") for f in dataclasses.fields(kind)}


def _changes(given: Mapping[str, object] | Sequence[str]) -> Iterator[tuple[str, object]]:
    if isinstance(given, Mapping):
        yield from given.items()
        return
    what = "{key: value} or a list of key=value texts"
    check_kind(None if isinstance(given, str | bytes) else given, Iterable, what)
    for text in given:
        check_kind(text, str, what)
        yield parse_assignment(text)


def _override(data: dict[str, Any], key: str, value: object, method: str) -> None:
    path = key.split(".")
    parts = {"options": _fields(METHODS[method]), "train": _fields(TrainSettings)}
    if path[0] not in {*parts, "parents", "data"}:
        if not any(path[0] in known for known in parts.values()):
            raise _no_key(key, path[0], set.union(*parts.values()))
        path.insert(0, "options" if path[0] in parts["options"] else "train")
    if len(path) > 1 and path[1] not in parts.get(path[0], {path[1]}):
        raise _no_key(key, path[1], parts[path[0]])
    place = data
    for part in path[:-1]:
        if not isinstance(place.get(part), dict):
            place[part] = {}
        place = place[part]
    place[path[-1]] = value


# what other training programs call these settings
_ELSEWHERE = {
    "epoch": "length",
    "epochs": "length",
    "steps": "length",
    "learning_rate": "lr",
    "batch": "batch_size",
}


def _no_key(place: str, key: str, known: Set[str]) -> SpecError:
    return SpecError(f"--set {place}: unknown key '{key}'", hint=_nearest(key, known))


def _nearest(key: str, known: Collection[str]) -> str:
    return did_you_mean(_ELSEWHERE.get(key, key), known)


def _unknown(document: Document, data: Any, known: Any, place: tuple[str, ...]) -> None:
    if not isinstance(data, dict):
        raise document.error("expected a mapping", place)
    for key in data:
        if key not in known:
            raise document.error(f"unknown key '{key}'", (*place, key), _nearest(key, known))


def _validated(document: Document, data: Any, kind: Any, part: str) -> Any:
    """Return ``data`` as the dataclass ``kind``; all faults at once, at the line of the first."""
    data = data if data is not None else {}
    _unknown(document, data, _fields(kind), (part,))
    try:
        return TypeAdapter(kind).validate_python({_field(key): value for key, value in data.items()})
    except ValidationError as error:
        faults = error.errors()
        places = [tuple(str(p) if not isinstance(p, int) else p for p in fault["loc"]) for fault in faults]
        text = "; ".join(
            f"{'.'.join(map(str, place))}: {fault['msg']}"
            for place, fault in zip(places, faults, strict=True)
        )
        raise document.error(text, (part, *places[0])) from None


def _options(document: Document, data: Any, kind: type[Method]) -> Method:
    """Return the method; a part of a nested option (``head.scale``) keeps the method's defaults for the
    rest.
    """
    _unknown(document, data if data is not None else {}, _fields(kind), ("options",))
    defaults = TypeAdapter(kind).dump_python(kind(), mode="json")
    given = {_field(key): value for key, value in (data or {}).items()}
    merged = laid_over(
        {key: value for key, value in defaults.items() if isinstance(value, dict) and key in given}, given
    )
    method: Method = _validated(
        document, {key.removesuffix("_"): value for key, value in merged.items()}, kind, "options"
    )
    return method


def method_from(name: str, options: Mapping[str, Any]) -> Method:
    """Return a method from the plain options of a recipe or checkpoint.

    Raises:
        SpecError: unknown method or option.

    """
    kind = METHODS[name]
    document = Document({}, f"options of {name}", {})
    method: Method = _validated(
        document, {key.removesuffix("_"): value for key, value in options.items()}, kind, "options"
    )
    return method
