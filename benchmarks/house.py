"""The measures of the house: how large its folders, files and functions are, and how they hang together.

``python -m benchmarks.house [TREE ...]`` prints one column a tree (the folder that holds ``lrfr/``), so that
two trees stand side by side. Everything is read from the source text; nothing is imported from the trees.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
WINDOW = 6  # lines that must agree before two places count as copies of each other
CLICK = ("click.", "command(", "group(")
# a mapping whose values are anything, however it is spelled
OPEN = ("dict[str, Any]", "dict[str, object]", "Mapping[str, Any]", "Mapping[str, object]")


@dataclass(frozen=True)
class Found:
    """A function of the tree.

    Attributes:
        where: ``path/of/file.py:name``.
        lines: from ``def`` to its last line.
        parameters: without ``self`` and ``cls``.
        command: whether click calls it (its parameters are the options of a command line).
        free_json: how often ``dict[str, Any]`` stands in its signature.
        open_json: how often a mapping of text to anything stands there, in any spelling (:data:`OPEN`).
        hidden_json: how often a name that is nothing but ``dict[str, Any]`` stands there.

    """

    where: str
    lines: int
    parameters: int
    command: bool
    free_json: int
    open_json: int
    hidden_json: int


class House:
    """One tree, read once.

    Args:
        root: the folder that holds ``lrfr/``.

    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted((root / "lrfr").rglob("*.py"))
        self.texts = {path: path.read_text("utf-8") for path in self.files}
        self.trees = {path: ast.parse(text) for path, text in self.texts.items()}

    def name(self, path: Path) -> str:
        """Return the dotted name of a file."""
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def place(self, path: Path) -> str:
        """Return the file's path below the root."""
        return path.relative_to(self.root).as_posix()

    @cached_property
    def entries(self) -> dict[str, int]:
        """Folder of code -> modules and folders of code in it, ``__init__`` and ``__main__`` left out."""
        inside: dict[str, set[str]] = defaultdict(set)
        for path in self.files:
            if path.name not in {"__init__.py", "__main__.py"}:
                inside[self.place(path.parent)].add(path.name)
            elif path.name == "__init__.py" and path.parent != self.root / "lrfr":
                inside[self.place(path.parent.parent)].add(path.parent.name)
        return {folder: len(names) for folder, names in inside.items()}

    @cached_property
    def file_lengths(self) -> dict[str, int]:
        """File -> lines."""
        return {self.place(path): text.count("\n") for path, text in self.texts.items()}

    @cached_property
    def functions(self) -> list[Found]:
        """Every function and method of the tree."""
        return [
            self._function(path, node)
            for path, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, Function)
        ]

    def _function(self, path: Path, node: Function) -> Found:
        args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        stars = [arg for arg in (node.args.vararg, node.args.kwarg) if arg is not None]
        names = [arg.arg for arg in args if arg.arg not in {"self", "cls"}]
        notes = [arg.annotation for arg in (*args, *stars)] + [node.returns]
        signature = " ".join(ast.unparse(note) for note in notes if note is not None)
        spoken = [name for note in notes if note is not None for name in _names(note)]
        aliases = self.json_aliases(path)
        decorators = [ast.unparse(item) for item in node.decorator_list]
        return Found(
            f"{self.place(path)}:{node.name}",
            (node.end_lineno or node.lineno) - node.lineno + 1,
            len(names),
            any(word in text for text in decorators for word in CLICK),
            signature.count(OPEN[0]),
            sum(signature.count(spelling) for spelling in OPEN),
            sum(name in aliases for name in spoken),
        )

    def json_aliases(self, path: Path) -> list[str]:
        """Return the names that ``dict[str, Any]`` goes by in one file, defined there or imported."""
        own = self._aliases.get(self.name(path), set())
        imported = {
            item.asname or item.name
            for node in ast.walk(self.trees[path])
            if isinstance(node, ast.ImportFrom) and node.module
            for item in node.names
            if item.name in self._aliases.get(node.module, set())
        }
        return sorted(own | imported)

    @cached_property
    def _aliases(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for path, tree in self.trees.items():
            for node in tree.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    if ast.unparse(node.value) == "dict[str, Any]":
                        found[self.name(path)].add(node.targets[0].id)
        return found

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """File -> files of the tree that it imports, at any level; imports for type checkers are left out."""
        known = {self.name(path) for path in self.files}
        return {
            self.name(path): set(_targets(_running(tree), known)) - {self.name(path)}
            for path, tree in self.trees.items()
        }

    @cached_property
    def circles(self) -> list[list[str]]:
        """Groups of files that import each other, directly or through others."""
        reach = {name: _reached(name, self.imports) for name in self.imports}
        groups = {
            tuple(sorted(other for other in reach[name] if name in reach[other]))
            for name in self.imports
            if name in reach[name]
        }
        return [list(group) for group in sorted(groups)]

    @cached_property
    def late_imports(self) -> int:
        """Imports inside functions."""
        return sum(
            isinstance(inner, ast.Import | ast.ImportFrom)
            for tree in self.trees.values()
            for node in ast.walk(tree)
            if isinstance(node, Function)
            for inner in ast.walk(node)
        )

    @cached_property
    def comments_per_100(self) -> float:
        """Comments for a hundred lines of code (docstrings count as neither)."""
        comments = 0
        for path in self.files:
            with tokenize.open(path) as file:
                tokens = list(tokenize.generate_tokens(file.readline))
            comments += sum(
                token.type == tokenize.COMMENT and not token.string.startswith(("# noqa", "# type:"))
                for token in tokens
            )
        return 100 * comments / sum(len(lines) for lines in self._code.values())

    @cached_property
    def _code(self) -> dict[str, list[str]]:
        return {self.place(path): _code_lines(self.texts[path], tree) for path, tree in self.trees.items()}

    @cached_property
    def copied_percent(self) -> float:
        """Share of code lines that stand in a run of :data:`WINDOW` lines found elsewhere too, in percent."""
        seen = Counter(window for lines in self._code.values() for window in _windows(lines))
        copied = 0
        for lines in self._code.values():
            hits = {
                start + offset
                for start, window in enumerate(_windows(lines))
                if seen[window] > 1
                for offset in range(WINDOW)
            }
            copied += len(hits)
        return 100 * copied / sum(len(lines) for lines in self._code.values())

    @cached_property
    def public_names(self) -> int:
        """Names in ``lrfr.__all__``."""
        for node in self.trees[self.root / "lrfr/__init__.py"].body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if "__all__" in [ast.unparse(target) for target in targets if target is not None]:
                return len([item for item in ast.walk(node) if isinstance(item, ast.Constant)])
        return 0

    def free_json(self, room: str = "") -> int:
        """Return how often ``dict[str, Any]`` stands in signatures, of one room or of the whole tree."""
        return sum(item.free_json for item in self.functions if item.where.startswith(f"lrfr/{room}"))

    def lines(self, room: str) -> int:
        """Return the lines of one room."""
        return sum(count for path, count in self.file_lengths.items() if path.startswith(f"lrfr/{room}/"))

    def table(self) -> dict[str, str]:
        """Return the measures, ready to print."""
        lengths = [item.lines for item in self.functions]
        most = max((item.parameters for item in self.functions if not item.command), default=0)
        return {
            "files": str(len(self.files)),
            "lines": str(sum(self.file_lengths.values())),
            "entries of a folder, max": str(max(self.entries.values())),
            "folders over 12 entries": str(sum(count > 12 for count in self.entries.values())),
            "circles (files in them)": f"{len(self.circles)} ({sum(map(len, self.circles))})",
            "function lines p50/p90/max": _spread(lengths),
            "file lines p50/p90/max": _spread(list(self.file_lengths.values())),
            "parameters, max (no click)": str(most),
            "dict[str, Any] in signatures": str(self.free_json()),
            "the same in any spelling": str(sum(item.open_json for item in self.functions)),
            "the same under an alias": str(sum(item.hidden_json for item in self.functions)),
            "imports inside functions": str(self.late_imports),
            "comments per 100 lines": f"{self.comments_per_100:.1f}",
            "copied lines, %": f"{self.copied_percent:.1f}",
            "lines of cli": str(self.lines("cli")),
            "names in lrfr.__all__": str(self.public_names),
        }


def _names(annotation: ast.expr) -> list[str]:
    """Return the plain names of an annotation."""
    return [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)]


def _running(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield every import statement that runs: those under ``if TYPE_CHECKING`` never do."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def _targets(statements: Iterator[ast.stmt], known: set[str]) -> Iterator[str]:
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if item.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for item in node.names:
                inner = f"{node.module}.{item.name}"
                if inner in known:
                    yield inner
                elif node.module in known:
                    yield node.module


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(edges[name])
    return found


def _code_lines(text: str, tree: ast.Module) -> list[str]:
    """Return the stripped lines of code: no blanks, comments, docstrings or imports."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
                skipped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [line for number, line in numbered if line and line[0] != "#" and number not in skipped]


def _windows(lines: list[str]) -> list[str]:
    return ["\n".join(lines[start : start + WINDOW]) for start in range(len(lines) - WINDOW + 1)]


def _spread(values: list[int]) -> str:
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]} / {ordered[int(len(ordered) * 0.9)]} / {ordered[-1]}"


def main(trees: list[str]) -> None:
    """Print the measures of each tree side by side."""
    tables = [House(Path(tree).resolve()).table() for tree in trees]
    width = max(len(name) for name in tables[0])
    print("".ljust(width), *(tree.rjust(24) for tree in trees))
    for name in tables[0]:
        print(name.ljust(width), *(table[name].rjust(24) for table in tables))


if __name__ == "__main__":
    main(sys.argv[1:] or ["."])
