"""What of the code a hunt reaches: some of its batches run under coverage, and what those saw is put together."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# the code that others' files meet first
PACKAGES = ("lrfr/core", "lrfr/pairs/format", "lrfr/pairs/care", "lrfr/pairs/sources")
# every so many batches of a kind, from its first: tracing takes half as long again
EVERY = 4


@dataclass
class Reach:
    """Watch some batches; ``folder`` holds what each process saw until it is put together."""

    folder: Path
    packages: tuple[str, ...] = PACKAGES
    root: Path = ROOT
    begun: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def batch(self, kind: str) -> Iterator[None]:
        """Run a batch of a kind, watched where it is its turn; children that fork keep what they saw themselves."""
        number = self.begun.get(kind, 0)
        self.begun[kind] = number + 1
        if number % EVERY:
            yield
            return
        watch = self._watch()
        watch.start()
        try:
            yield
        finally:
            watch.stop()
            watch.save()

    def _watch(self):
        import coverage

        made = coverage.Coverage(
            data_file=str(self.folder / "seen"),
            data_suffix=True,
            include=[f"{self.root / package}/*" for package in self.packages],
            config_file=False,
        )
        made.set_option("run:disable_warnings", ["no-data-collected"])
        return made

    def told(self) -> dict[str, object]:
        """Put together what was seen: lines of functions, reached and all, of each package, and which were not.

        What runs when a module is imported is left out, for it says nothing.
        """
        import coverage

        whole = coverage.Coverage(data_file=str(self.folder / "whole"), config_file=False, messages=False)
        whole.combine([str(path) for path in self.folder.glob("seen.*")], strict=False)
        packages, missed = {}, {}
        for package in self.packages:
            reached = lines = 0
            for path in sorted((self.root / package).rglob("*.py")):
                _, statements, _, missing, _ = whole.analysis2(str(path))
                inner = within_functions(path.read_text("utf-8"))
                lines += len(inner & set(statements))
                reached += len(inner & (set(statements) - set(missing)))
                left = sorted(inner & set(missing))
                if left:
                    missed[str(path.relative_to(self.root))] = left
            packages[package] = {"reached": reached, "lines": lines}
        return {"packages": packages, "missed": missed}


def within_functions(text: str) -> set[int]:
    """Return the numbers of the lines that lie in the body of a function."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= set(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
    return found


def show(told: dict, path: Path) -> None:
    """Print the packages, and write which lines were not reached."""
    print(f"{'package':<22}{'reached':>9}{'lines':>7}")
    for package, row in told["packages"].items():
        share = row["reached"] / max(1, row["lines"])
        print(f"{package:<22}{row['reached']:>9}{row['lines']:>7}{share:>7.0%}")
    path.write_text(json.dumps(told, indent=1) + "\n")
