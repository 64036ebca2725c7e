"""From a file or preset name to one raw mapping: ``extends``, ``set`` and ``--set`` resolved, the origin of
every value kept.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lrfr.core.errors import SpecError, as_path, check_kind, did_you_mean
from lrfr.core.strict_yaml import Document, Place, format_place, laid_over, load, parse, read_assignment

MAX_EXTENDS = 8

# short names, and the other names under which a recipe is known
ALIASES = {
    "fskd": "fskd-paper",
    "fskd-fix": "fskd-paper",
    "fskd-nearest": "fskd-official",
    "maug": "maug-paper",
    "btnet": "btnet-v1",
    "waveresnet": "waveresnet-aa",
    "realesrgan": "realesrgan-2",
    "bsrgan-lite": "bsrgan",
}


@dataclass
class Sheet:
    """A raw spec: plain ``data`` and, for each part that came from elsewhere, the document and the place in
    it.
    """

    data: dict[str, Any]
    origins: dict[Place, tuple[Document, Place]]

    def error(self, message: str, place: Place = (), hint: str | None = None) -> SpecError:
        """Return the error for ``place``, pointing at the file and line that set it."""
        prefix = place
        while prefix and prefix not in self.origins:
            prefix = prefix[:-1]
        document, start = self.origins[prefix]
        error = document.error(message, (*start, *place[len(prefix) :]), hint)
        error.path = format_place(place) or None
        return error


def preset_names() -> list[str]:
    """Return the names of the shipped presets."""
    folder = resources.files("lrfr.degrade").joinpath("presets")
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def preset_text(name: str) -> str:
    """Return the YAML text of a preset, comments included; short names are resolved.

    Raises:
        SpecError: there is no such preset.

    """
    full = ALIASES.get(name, name)
    if full not in preset_names():
        raise SpecError(f"no preset '{name}'", hint=did_you_mean(name, [*preset_names(), *ALIASES]))
    return resources.files("lrfr.degrade").joinpath("presets", f"{full}.yaml").read_text("utf-8")


def preset_help(name: str) -> str:
    """Return the first sentence of a preset's opening comment."""
    comment = itertools.takewhile(lambda line: line.startswith("#"), preset_text(name).splitlines())
    return " ".join(line.lstrip("# ").strip() for line in comment).split(". ")[0].rstrip(".")


def starter_text() -> str:
    """Return the YAML text of a commented spec to start from."""
    return resources.files("lrfr.degrade").joinpath("starter.yaml").read_text("utf-8")


# what only the text of a spec holds: a line break, a key with its value, or an opening brace
_TEXT = re.compile(r"\n|^\s*\{|^\w+:\s")


def open_document(source: str | Path, folder: Path | None = None) -> Document:
    """Parse a spec file, or the preset of that name when there is no such file (``turb.yaml`` may name the
    preset ``turb``), or the text of a spec.

    Args:
        source: path, name of a preset, or text.
        folder: folder that a relative path starts from (default: the current one).

    Raises:
        SpecError: neither exists, or the YAML is malformed.

    """
    if isinstance(source, str) and _TEXT.search(source):
        return parse(source)
    path = (folder or Path()) / as_path(source, "a spec, a preset's name or the text of a spec")
    try:
        if path.is_file():
            return load(path)
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise SpecError(
            f"cannot read: {getattr(error, 'strerror', None) or error}", file=str(source)
        ) from None
    name = str(source)
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    known = [*preset_names(), *ALIASES]
    if exists and stem not in known:  # a folder that is called like a preset hides none
        raise SpecError("not a file", file=str(source))
    if stem not in known:
        hint = did_you_mean(stem, known)
        if stem != name or "/" in name:
            hint = f"lrfr init {shlex.quote(name)} writes one to start from; {hint}"
        raise SpecError(f"no such file and no preset of that name: '{name}'", hint=hint)
    return parse(preset_text(stem), f"preset {ALIASES.get(stem, stem)}")


Overrides = Mapping[str, object] | Sequence[str]


def open_sheet(source: str | Path, overrides: Overrides = ()) -> Sheet:
    """Read a spec with everything it extends; apply ``overrides``, {place: value} or ``place=value`` texts.

    Raises:
        SpecError: a file is missing or malformed, or an override points nowhere.

    """
    return build_sheet(open_document(source), overrides)


def build_sheet(document: Document, overrides: Overrides = ()) -> Sheet:
    """Resolve ``extends`` and ``set`` of a parsed document and apply ``overrides``."""
    sheet = _extend(document, 0)
    for place, value in _assignments(overrides):
        _set(sheet, place, value.data, value, ())
    return sheet


def _assignments(overrides: Overrides) -> Iterator[tuple[str, Document]]:
    if not isinstance(overrides, Mapping):
        what = "{place: value} or a list of place=value texts"
        check_kind(None if isinstance(overrides, str | bytes) else overrides, Iterable, what)
        for text in overrides:
            check_kind(text, str, what)
            yield read_assignment(text)
        return
    for place, value in overrides.items():
        try:
            plain = json.loads(json.dumps(value))
        except (TypeError, ValueError) as error:
            raise SpecError(f"not plain data: {error}", file=f"set {place}") from None
        yield place, Document(plain, f"set {place}", {})


def _extend(document: Document, depth: int) -> Sheet:
    data = document.data
    if not isinstance(data, dict):
        raise document.error("expected a mapping with version, pipeline, ...", (), "see: lrfr init")
    if depth > MAX_EXTENDS:
        raise document.error(
            f"'extends' goes deeper than {MAX_EXTENDS} files", ("extends",), "does a file extend itself?"
        )
    sheet = Sheet({}, {(): (document, ())})
    if "extends" in data:
        sheet = _extend(_base_of(document), depth + 1)
        sheet.origins[()] = (document, ())
    own = {key: value for key, value in data.items() if key not in {"extends", "set"}}
    sheet.data = laid_over(sheet.data, own, lambda place: _claim(sheet, place, document, place))
    settings = data.get("set", {})
    if not isinstance(settings, dict):
        raise document.error(
            "expected a mapping of places to values", ("set",), "set: {pipeline.d1.size: 14}"
        )
    for dotted, value in settings.items():
        _set(sheet, dotted, value, document, ("set", dotted))
    return sheet


def _base_of(document: Document) -> Document:
    name = document.data["extends"]
    if not isinstance(name, str):
        raise document.error("expected the name of a preset or a file", ("extends",))
    try:
        return open_document(name, Path(document.file).parent)
    except SpecError as error:
        if error.line is not None:
            raise
        raise document.error(error.message, ("extends",), error.hint) from None


def _claim(sheet: Sheet, place: Place, document: Document, source: Place) -> None:
    """Note that everything at and below ``place`` now comes from ``document``."""
    for older in [known for known in sheet.origins if known[: len(place)] == place]:
        del sheet.origins[older]
    sheet.origins[place] = (document, source)


def _set(sheet: Sheet, dotted: str, value: Any, document: Document, source: Place) -> None:
    """Put ``value`` at a dotted place; a step is named by its id, its op (where only one has it) or its
    index.
    """
    place: Place = ()
    parent: Any = sheet.data
    *way, last = dotted.split(".")
    for word in way:
        key = _child_key(parent, word, dotted, document, source)
        if isinstance(parent, dict):
            parent.setdefault(key, {})
        parent, place = parent[key], (*place, key)
    key = _child_key(parent, last, dotted, document, source)
    parent[key] = copy.deepcopy(value)
    _claim(sheet, (*place, key), document, source)


def _child_key(parent: Any, word: str, dotted: str, document: Document, source: Place) -> Any:
    if isinstance(parent, dict):
        return word
    if not isinstance(parent, list):
        raise document.error(f"'{dotted}' leads through a plain value at '{word}'", source)
    if word.isdecimal() and len(word) < 6 and int(word) < len(parent):
        return int(word)
    for name in ("id", "op"):
        found = [
            index for index, step in enumerate(parent) if isinstance(step, dict) and step.get(name) == word
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise document.error(
                f"'{dotted}': {len(found)} steps have {name} '{word}'",
                source,
                "give them ids, or use the index",
            )
    known = [
        str(step[name]) for step in parent if isinstance(step, dict) for name in ("id", "op") if name in step
    ]
    raise document.error(f"'{dotted}': there is no step '{word}'", source, did_you_mean(word, known))
