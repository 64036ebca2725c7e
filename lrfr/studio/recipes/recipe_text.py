"""A recipe as text and as steps, and its faults at their lines.

Nothing is kept between requests: the page holds the text, every request brings it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfr.core.errors import LrfrError, SpecError, did_you_mean
from lrfr.core.files.inside import is_inside
from lrfr.core.strict_yaml import TEXT_FILE, Document, format_place
from lrfr.degrade.spec.model import Spec, read_sheet
from lrfr.degrade.spec.resolve import ALIASES, build_sheet, preset_names
from lrfr.degrade.spec.steps import CONTAINERS
from lrfr.degrade.style.generator_card import SHIPPED
from lrfr.studio.asked import Edit
from lrfr.studio.recipes.recipe_edits import edited, parse_once

_PLACED = re.compile(r"<text>:(\d+):(\d+): (.*)")


@dataclass(frozen=True)
class Fault:
    """What is wrong at a line of the text; line 0 where it is about the whole."""

    line: int
    column: int
    path: str
    message: str


@dataclass(frozen=True)
class Opened:
    """A text that was read.

    Attributes:
        text: with its edits.
        data: its plain data, None where it is no YAML.
        spec: the recipe, None where it is wrong.
        resolved: what a text that extends another comes to, as plain data; else None.
        faults: what is wrong.

    """

    text: str
    data: object
    spec: Spec | None
    resolved: object
    faults: tuple[Fault, ...]


def faults_of(error: LrfrError) -> tuple[Fault, ...]:
    """Return the faults that an error tells, each at its line."""
    head, *rest = error.message.split("\n  ")
    hint = f" ({error.hint})" if error.hint else ""
    found = [Fault(error.line or 0, error.column or 0, error.path or "", head + hint)]
    for line in rest:
        placed = _PLACED.match(line)
        if placed:
            found.append(Fault(int(placed[1]), int(placed[2]), "", placed[3]))
        else:
            found.append(Fault(0, 0, "", line))
    return tuple(found)


class RecipeReader:
    """Reads recipes that came from a page.

    Args:
        home: the folder whose files a recipe may extend or take weights from; None for none.

    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = home

    def open(self, text: str, edits: Sequence[Edit] = ()) -> Opened:
        """Apply edits to a text and read it; what is wrong is part of the result.

        Raises:
            SpecError: an edit leads nowhere.

        """
        text = edited(text, edits) if edits else text
        data: object = None
        resolved: object = None
        try:
            document = parse_once(text)
            data = document.data
            sheet = build_sheet(self._at_home(document))
            resolved = sheet.data if isinstance(data, dict) and "extends" in data else None
            self._refuse_files(sheet.data)
            return Opened(text, data, read_sheet(sheet, "unnamed"), resolved, ())
        except LrfrError as error:
            return Opened(text, data, None, resolved, faults_of(error))

    def spec(self, text: str, edits: Sequence[Edit] = ()) -> Spec:
        """Return the recipe of a text.

        Raises:
            SpecError: it is wrong.

        """
        opened = self.open(text, edits)
        if opened.spec is None:
            first = opened.faults[0]
            raise SpecError(
                first.message, file=TEXT_FILE, line=first.line or None, column=first.column or None
            )
        return opened.spec

    def _at_home(self, document: Document) -> Document:
        """Return the document as one of the home folder, its ``extends`` checked."""
        data = document.data
        name = data.get("extends") if isinstance(data, dict) else None
        if not isinstance(name, str):
            return document
        known = [*preset_names(), *ALIASES]
        if name.removesuffix(".yaml") in known and not (Path(name).exists()):
            return document
        if self.home is None or not is_inside(self.home / name, self.home):
            hint = did_you_mean(name, known)
            raise document.error(
                "the studio extends presets and files of its folder only", ("extends",), hint
            )
        return Document(data | {"extends": str(self.home / name)}, document.file, document.lines)

    def _refuse_files(self, data: Mapping[str, Any]) -> None:
        """Refuse steps that name files outside the home folder.

        Raises:
            SpecError: there is one.

        """
        for place, step in _steps(data.get("pipeline"), ("pipeline",)):
            for key, value in _named_files(step):
                if self.home is None or not is_inside(Path(value), self.home):
                    where = format_place((*place, key))
                    raise SpecError("the studio reads no file outside its folder", path=where)


def _steps(raw: object, place: tuple[str | int, ...]) -> Iterable[tuple[tuple[str | int, ...], Any]]:
    if not isinstance(raw, list):
        return
    for index, step in enumerate(raw):
        if isinstance(step, dict):
            yield (*place, index), step
            for kind in CONTAINERS:
                yield from _steps(step.get(kind), (*place, index, kind))


def _named_files(step: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Return the values of a step that an op may open as files."""
    for key, value in step.items():
        if key == "weights" and isinstance(value, str) and value not in _shipped():
            yield key, value
        if key == "params" and isinstance(value, dict):
            yield from (("params", text) for text in _texts(value) if "/" in text or "\\" in text)


@functools.cache
def _shipped() -> frozenset[str]:
    return frozenset(path.stem for path in SHIPPED.glob("*.safetensors"))


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)
