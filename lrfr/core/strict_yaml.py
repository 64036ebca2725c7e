"""Strict YAML: plain data only, size, depth and alias caps, duplicate keys refused, the line of every node
remembered.

PyYAML's C loader dies on deep nesting and its full loaders run code, so this is the pure ``SafeLoader`` with
fewer rights: no tags, no timestamps, YAML 1.2 numbers (``1e-4`` is a number, ``no`` a string) and a cap on
what aliases may expand to.
"""

from __future__ import annotations

import copy
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lrfr.core.errors import SpecError

MAX_BYTES = 128 * 1024
MAX_MARKS = 20_000  # commas, colons and line ends: PyYAML needs a second for twice as many
MAX_DEPTH = 40
MAX_NODES = 50_000
MAX_DIGITS = 300
TEXT_FILE = "<text>"  # stands for the file in errors of text that came from none

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """Parsed YAML: plain ``data`` and the (line, column) of each place in it, both 1-based."""

    data: Any
    file: str
    lines: dict[Place, tuple[int, int]] = field(repr=False)

    def error(self, message: str, place: Place = (), hint: str | None = None) -> SpecError:
        """Return a :class:`SpecError` that points at ``place`` or its nearest parent with a known line."""
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        line, column = self.lines.get(known, (1, 1))
        return SpecError(
            message, file=self.file, line=line, column=column, path=format_place(place) or None, hint=hint
        )


def format_place(place: Place) -> str:
    """Write a place as ``pipeline[2].quality``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def laid_over(
    base: Mapping[str, Any],
    above: Mapping[str, Any],
    claim: Callable[[Place], None] = lambda place: None,
    place: Place = (),
) -> dict[str, Any]:
    """Return ``above`` laid over ``base``, neither of them changed: mappings are merged key by key, all else
    (a list, too) is replaced by a copy and its place told to ``claim``.
    """
    both = dict(base)
    for key, value in above.items():
        here, below = (*place, key), both.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            both[key] = laid_over(below, value, claim, here)
        else:
            both[key] = copy.deepcopy(value)
            claim(here)
    return both


class _Loader(yaml.SafeLoader):
    """SafeLoader without tags, dates and YAML 1.1's surprising booleans."""


_NUMBER = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_SCALARS = (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", rf"^(?:{_NUMBER}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list("-+.0123456789")),
    ("merge", r"^<<$", ["<"]),
)
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


class _Builder:
    """Walk PyYAML nodes into plain data, counting what aliases expand to."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Place, tuple[int, int]] = {}
        self.count = 0

    def fault(self, message: str, node: yaml.Node, place: Place, hint: str | None = None) -> SpecError:
        """Return an error that says where ``node`` stands."""
        mark = node.start_mark
        return SpecError(
            message,
            file=self.file,
            line=mark.line + 1,
            column=mark.column + 1,
            path=format_place(place) or None,
            hint=hint,
        )

    def build(self, node: yaml.Node, place: Place) -> Any:
        """Return the plain data of a node that stands at ``place``; raise SpecError past a cap or at a
        forbidden construct.
        """
        self.count += 1
        if self.count > MAX_NODES:
            raise self.fault(f"more than {MAX_NODES} values after aliases are expanded", node, ())
        if len(place) > MAX_DEPTH:
            raise self.fault(f"nested deeper than {MAX_DEPTH} levels", node, ())
        self.lines[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            self._plain_tag(node, "seq", place)
            return [self.build(child, (*place, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, place)

    def _plain_tag(self, node: yaml.Node, kind: str, place: Place) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            raise self.fault(f"YAML tag '{node.tag}' is not allowed", node, place, "write plain values only")

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        self._plain_tag(node, "map", place)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                raise self.fault(
                    "keys must be plain words", key_node, place, "merge keys and complex keys are not allowed"
                )
            key = self._text(key_node.value, key_node, place)
            if key in result:
                raise self.fault(f"duplicate key '{key}'", key_node, (*place, key))
            result[key] = self.build(value_node, (*place, key))
            self.lines[(*place, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        return result

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text = str(node.value)
        if kind in {"int", "float"} and len(text) > MAX_DIGITS:
            raise self.fault(f"a number of {len(text)} digits", node, place)
        if kind == "str":
            return self._text(text, node, place)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        raise self.fault(f"YAML tag '{node.tag}' is not allowed", node, place, "write plain values only")

    def _text(self, text: str, node: yaml.Node, place: Place) -> str:
        r"""Join the surrogate pairs of JSON's ``\ud83d\ude00`` escapes; a lone surrogate is no text."""
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self.fault("half of a surrogate pair is not text", node, place) from None


def parse(text: str | bytes, file: str = TEXT_FILE) -> Document:
    """Parse one strict YAML document.

    Args:
        text: UTF-8 text of at most 128 KiB.
        file: name shown in errors.

    Raises:
        SpecError: malformed YAML or a forbidden construct, with file, line and column.

    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise SpecError(
            f"{len(raw)} bytes, a spec may have {MAX_BYTES}",
            file=file,
            hint="put long lists into files that the spec names",
        )
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 at byte {error.start}", file=file) from None
    marks = sum(decoded.count(mark) for mark in ",:\n")
    if marks > MAX_MARKS:
        raise SpecError(
            f"about {marks} values; a spec may have {MAX_MARKS}",
            file=file,
            hint="put long lists into files that the spec names",
        )
    _check_brackets(decoded, file)
    builder = _Builder(file)
    try:
        node = yaml.compose(decoded, Loader=_Loader)
        data = None if node is None else builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise SpecError(
            f"not valid YAML: {error.problem or error.context}",
            file=file,
            line=line,
            column=column,
            hint=_advice(str(error.problem)),
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise SpecError(f"not valid YAML: {reason}", file=file) from None
    return Document(data, file, builder.lines)


def _advice(problem: str) -> str | None:
    """Return what to change for a fault that YAML's parser tells in its own words."""
    advice = {
        r"'\t'": "indent by spaces: YAML takes no tabs",
        "<block end>": "this line and those around it are indented by different numbers of spaces",
        "mapping values are not allowed": "a second ':' in a line, or a wrong indent: put texts in quotes",
        "expected ',' or": "a bracket or a comma is missing",
    }
    return next((text for mark, text in advice.items() if mark in problem), None)


def read_assignment(
    text: str, option: str = "--set", example: str = "pipeline.j1.quality=50"
) -> tuple[str, Document]:
    """Read ``place=value``, a value being strict YAML, as it stands behind ``--set``.

    Args:
        text: for example ``pipeline.d1.size={choice: [7, 14]}``.
        option: what the text was given to, for messages.
        example: of a right one, for messages.

    Returns:
        The place, and the value as a document whose errors name option and place.

    Raises:
        SpecError: there is no ``=``, no place, or the value is malformed.

    """
    place, equals, value = text.partition("=")
    place = place.strip()
    if not equals or not place:
        raise SpecError(f"expected place=value, got '{text}'", file=option, hint=f"{option} {example}")
    return place, parse(value, f"{option} {place}")


def parse_assignment(text: str, option: str = "--set", example: str = "train.lr=0.05") -> tuple[str, Any]:
    """Return the place and the plain value of ``place=value``; raises like :func:`read_assignment`."""
    place, document = read_assignment(text, option, example)
    return place, document.data


def _check_brackets(text: str, file: str) -> None:
    """Refuse deep flow nesting before PyYAML recurses into it (its cost grows with the square of the
    depth).
    """
    depth = 0
    for number, line in enumerate(text.split("\n"), 1):
        for symbol in re.findall(r"[\[\]{}]", line):
            depth = depth + 1 if symbol in "[{" else max(0, depth - 1)
            if depth > MAX_DEPTH * 2:
                raise SpecError(f"nested deeper than {MAX_DEPTH} levels", file=file, line=number)


def load(path: Path) -> Document:
    """Read and parse a YAML file; a pipe or device is refused, so that none can block or never end.

    Raises:
        SpecError: the file cannot be read or is malformed.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as handle:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SpecError("not a regular file", file=str(path))
            raw = handle.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read: {getattr(error, 'strerror', None) or error}", file=str(path)) from None
    return parse(raw, str(path))
