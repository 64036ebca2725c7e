"""One table type for everything that can be added to: ops, sources, backbones, heads, losses, methods,
benchmarks.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from lrfr.core.errors import EnvironmentFault, SpecError, check_kind, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A table by name; what is not in it is looked up among the entry points of installed packages.

    An entry is the thing itself, or the text ``module:attribute``, which is imported when it is first asked
    for, so that a table can be listed without importing what it names. A name of the table wins over a
    plug-in of the same name: no package can change what lrfr's own names mean. What is hidden that way,
    :meth:`shadowed` names.

    Args:
        what: one word for an entry, used in messages (``op``).
        group: the entry points' group (``lrfr.ops``).
        entries: the built-in entries, in the order in which they are listed.

    """

    def __init__(self, what: str, group: str, entries: Mapping[str, T | str]) -> None:
        self.what, self.group = what, group
        self._entries: dict[str, T | str] = dict(entries)

    def _offered(self) -> list[EntryPoint]:
        """Return what installed packages offer, by name and package; read anew each time, so that a package
        installed meanwhile is seen.
        """
        return sorted(entry_points(group=self.group), key=lambda point: (point.name, _package(point)))

    @property
    def _plugins(self) -> dict[str, EntryPoint]:
        found = {point.name: point for point in reversed(self._offered())}
        return {name: found[name] for name in sorted(found) if name not in self._entries}

    def shadowed(self) -> list[str]:
        """Return one sentence for each plug-in that cannot be reached because its name is taken: by an entry
        of the table, or by a package whose name sorts before.
        """
        chosen = self._plugins
        return [
            f"the {self.what} '{point.name}' of '{_package(point)}' is hidden by "
            + (f"that of '{_package(chosen[point.name])}'" if point.name in chosen else "lrfr's own")
            for point in self._offered()
            if point.name not in chosen or point.value != chosen[point.name].value
        ]

    def names(self) -> list[str]:
        """Return every name: the table's own in its order, then those of installed packages."""
        return [*self._entries, *(name for name in self._plugins if name not in self._entries)]

    def is_plugin(self, name: str) -> bool:
        """Return whether ``name`` comes from an installed package."""
        return name not in self._entries and name in self._plugins

    def register(self, name: str, entry: T | None = None) -> Callable[[T], T]:
        """Add an entry for this process, as a call or as a decorator.

        Worker processes import modules anew: what they need belongs into a package with an entry point.

        Raises:
            SpecError: the name is taken.

        """

        def add(value: T) -> T:
            """Put ``value`` into the table."""
            if name in self._entries:
                raise SpecError(f"there is {_a(self.what)} '{name}' already", hint="choose another name")
            self._entries[name] = value
            return value

        if entry is not None:
            add(entry)
        return add

    def unregister(self, name: str) -> None:
        """Remove an entry that :meth:`register` added (for tests and notebooks)."""
        self._entries.pop(name)

    def __getitem__(self, name: str) -> T:
        """Return the entry of ``name``.

        Raises:
            SpecError: no such name; the message names the nearest one.
            EnvironmentFault: the package that offers it cannot be imported.

        """
        check_kind(name, str, f"the name of a {self.what}")
        if name in self._entries:
            entry = self._entries[name]
            if isinstance(entry, str):
                module, _, attribute = entry.partition(":")
                entry = self._entries[name] = cast(T, getattr(importlib.import_module(module), attribute))
            return entry
        if name in self._plugins:
            return self._load(self._plugins[name])
        raise SpecError(f"unknown {self.what} '{name}'", hint=did_you_mean(name, self.names()))

    def _load(self, point: EntryPoint) -> T:
        try:
            return cast(T, point.load())
        except Exception as error:
            raise EnvironmentFault(
                f"the {self.what} '{point.name}' of '{_package(point)}' cannot be imported: {error}",
                hint="update or remove that package",
            ) from error

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._entries or name in self._plugins)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __repr__(self) -> str:
        return f"Registry({self.what}: {', '.join(self.names())})"

    def __len__(self) -> int:
        return len(self.names())

    def help(self, name: str) -> str:
        """Return one sentence about an entry: its ``help``, or the first sentence of its docstring.

        An entry that has not been imported is not imported for it: its source is read instead.
        """
        entry = self._entries.get(name)
        if entry is None and name in self._plugins:
            return sentence_of_target(self._plugins[name].value) or self._help_of_value(name)
        if isinstance(entry, str):
            return sentence_of_target(entry)
        if entry is None:
            raise SpecError(f"unknown {self.what} '{name}'", hint=did_you_mean(name, self.names()))
        return _help_of(entry)

    def _help_of_value(self, name: str) -> str:
        """Return what a plug-in that is a value, not a class or function, says of itself."""
        try:
            return _help_of(self[name])
        except EnvironmentFault:  # a listing shows the other names too; using this one says what is wrong
            return ""


def _help_of(entry: object) -> str:
    said = getattr(entry, "help", None)
    if isinstance(said, str):
        return said
    if not inspect.isclass(entry):
        return first_sentence(inspect.getdoc(entry) or "")
    # of its own, not its base's; and not the "Name(field: type)" that a dataclass is given without one
    own = inspect.cleandoc(vars(entry).get("__doc__") or "")
    return "" if own.startswith(f"{entry.__name__}(") else first_sentence(own)


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring on one line."""
    summary = " ".join(text.strip().split("\n\n")[0].split())
    end = summary.find(". ")
    return (summary if end < 0 else summary[:end]).rstrip(".")


@lru_cache(maxsize=256)
def sentence_of_target(target: str) -> str:
    """Return the first sentence of what ``module:attribute`` documents, from its source alone."""
    module, _, attribute = target.partition(":")
    try:
        spec = importlib.util.find_spec(module.strip())
        tree = ast.parse(Path(spec.origin).read_text("utf-8")) if spec and spec.origin else None
    except (ImportError, OSError, SyntaxError, ValueError):
        return ""
    kinds = (ast.ClassDef, ast.FunctionDef)
    found = [node for node in (tree.body if tree else []) if isinstance(node, kinds)]
    node = next((node for node in found if node.name == attribute.split(" ")[0].strip()), None)
    return first_sentence(ast.get_docstring(node) or "") if node is not None else ""


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
