"""Edits of a recipe's text that keep comments, quotes and the order of keys."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lrfr.core.errors import SpecError
from lrfr.core.strict_yaml import TEXT_FILE, Document, parse
from lrfr.degrade.spec.model import Spec
from lrfr.degrade.spec.steps import CONTAINERS
from lrfr.studio.asked import Edit

WIDTH = 100_000  # lines are as long as somebody made them


@functools.lru_cache(maxsize=8)
def parse_once(text: str) -> Document:
    """Read strict YAML; what an edit gave is what the next begins with. The result is not to be changed.

    Raises:
        SpecError: as :func:`lrfr.core.strict_yaml.parse`.

    """
    return parse(text)


def edited(text: str, edits: Sequence[Edit]) -> str:
    """Return a recipe's text with changes; comments, quotes and the order of keys stay.

    Raises:
        SpecError: the text is no strict YAML, or an edit leads nowhere.

    """
    parse_once(text)  # its caps come before a second parser sees it
    from ruamel.yaml.error import YAMLError

    writer = _yaml(text)
    try:
        tree = writer.load(text)
        for edit in edits:
            _apply(tree, edit)
        out = io.StringIO()
        writer.dump(tree, out)
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"cannot be edited: {str(error).splitlines()[0]}", file=TEXT_FILE) from None
    return out.getvalue()


def written_out(spec: Spec) -> str:
    """Return a recipe as text with everything that it extends and every default written out."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    out, data = io.StringIO(), spec.as_json()
    steps = CommentedSeq([_step(step) for step in data["pipeline"]])  # type: ignore[attr-defined]
    tree = CommentedMap({key: steps if key == "pipeline" else _flow(value) for key, value in data.items()})
    _yaml("").dump(tree, out)
    return out.getvalue()


@functools.cache
def _emitter() -> Any:
    from ruamel.yaml.emitter import Emitter

    class Fresh(Emitter):
        """Forgets between two items of a list that the first had a comment before its dash: ruamel.yaml 0.19
        would leave out a line break in the next.
        """

        def expect_block_sequence_item(self, first: bool = False) -> None:
            """Write an item of a list in block style."""
            if not first:
                self.no_newline = False
            super().expect_block_sequence_item(first)

    return Fresh


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.Emitter = _emitter()
    yaml.preserve_quotes, yaml.width = True, WIDTH
    dash = re.search(r"^( *)- ", text, re.M)
    offset = len(dash[1]) if dash else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    return yaml


def _at(tree: Any, place: Sequence[str | int]) -> Any:
    for part in place:
        tree = tree[part]
    return tree


def _set(tree: Any, edit: Edit) -> None:
    place = edit.place
    if "extends" in tree and len(place) > 1 and not _holds(tree, place[:-1]):
        tree.setdefault("set", _flow({}))[".".join(map(str, place))] = _flow(edit.value)
        return
    parent: Any = tree
    for part in place[:-1]:
        parent = parent.setdefault(part, _flow({})) if isinstance(part, str) else parent[part]
    if isinstance(parent, list) and not isinstance(place[-1], int):
        raise KeyError(place[-1])
    parent[place[-1]] = _flow(edit.value)


def _holds(tree: Any, place: Sequence[str | int]) -> bool:
    try:
        _at(tree, place)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _remove(tree: Any, edit: Edit) -> None:
    _take(tree, edit.place)


def _take(tree: Any, place: Sequence[str | int]) -> tuple[Any, Any]:
    """Take a value out; return it with the comment that belongs to it."""
    parent, last = _at(tree, place[:-1]), place[-1]
    comment = parent.ca.items.pop(last, None)
    value = parent[last]
    del parent[last]
    return value, comment


def _insert(tree: Any, edit: Edit) -> None:
    target = _at(tree, edit.place)
    target.insert(min(edit.index, len(target)), _step(edit.value))


def _move(tree: Any, edit: Edit) -> None:
    if edit.to is None:
        raise KeyError("to")
    value, comment = _take(tree, edit.place)
    target = _at(tree, edit.to)
    index = min(edit.index, len(target))
    target.insert(index, value)
    if comment is not None:
        target.ca.items[index] = comment


_DO: Mapping[str, Callable[[Any, Edit], None]] = {
    "set": _set,
    "remove": _remove,
    "insert": _insert,
    "move": _move,
}


def _apply(tree: Any, edit: Edit) -> None:
    try:
        _DO[edit.do](tree, edit)
    except (KeyError, IndexError, TypeError, AttributeError):
        place = ".".join(map(str, edit.place)) or "the top"
        to = "" if edit.to is None else f" that could go to {'.'.join(map(str, edit.to)) or 'the top'}"
        raise SpecError(
            f"{edit.do}: the recipe has no place {place[:100]}{to[:120]}", file="request"
        ) from None


def _flow(value: Any) -> Any:
    """Return plain data as it is written in one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    made: Any
    if isinstance(value, dict):
        made = CommentedMap({key: _flow(item) for key, item in value.items()})
    elif isinstance(value, list):
        made = CommentedSeq([_flow(item) for item in value])
    else:
        return value
    made.fa.set_flow_style()
    return made


def _step(value: Any) -> Any:
    """Return a step: an op in one line, a container with a line for each step in it."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    kind = next((key for key in CONTAINERS if isinstance(value, dict) and key in value), None)
    if kind is None or not isinstance(value[kind], list):
        return _flow(value)
    steps = CommentedSeq([_step(item) for item in value[kind]])
    return CommentedMap({key: steps if key == kind else _flow(item) for key, item in value.items()})
