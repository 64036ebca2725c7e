"""The suite on the lowest version of every package that lrfr declares, torch alone as it is pinned:

    python -m tests.lowest --venv /tmp/lowest [PYTEST ARGUMENTS]

Needs a package index; an environment that is there is used again.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# what runs the tests, not what is tested; and torch, whose builds belong to machines
EXTRAS = ("fit", "heif", "onnx", "parquet", "studio")
AS_PINNED = {"torch"}
_FLOOR = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*])?\s*(?P<sign>[>=]=)\s*(?P<floor>[0-9][0-9.]*)")


def floors() -> list[str]:
    """Return ``name==lowest`` for every declared package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"]]
    for extra in EXTRAS:
        declared += project["optional-dependencies"][extra]
    found = [_FLOOR.match(item) for item in declared]
    assert all(found), "a package without a lowest version"
    return [f"{item['name']}=={item['floor']}" for item in found if item and item["name"] not in AS_PINNED]


def pinned(name: str) -> str:
    """Return ``name==version`` of the constraints."""
    text = (ROOT / "constraints.txt").read_text("utf-8")
    return next(line for line in text.splitlines() if line.lower().startswith(f"{name.lower()}=="))


def build(place: Path) -> Path:
    """Make the environment, if it is not there, and return its Python."""
    python = place / "bin/python"
    if not (place / "made").exists():
        venv.create(place, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, pinned("torch")], check=True)
        tools = [pinned(name) for name in ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")]
        subprocess.run([*pip, *floors(), *tools], check=True)
        subprocess.run([*pip, "--no-deps", "-e", str(ROOT)], check=True)
        (place / "made").touch()
    return python


def main(words: list[str]) -> int:
    """Build, say what is in it, run."""
    place = Path(words[words.index("--venv") + 1]) if "--venv" in words else ROOT / ".venv-lowest"
    given = [word for word in words if word != "--venv" and word != str(place)]
    python = build(place)
    print("\n".join(floors()))
    return subprocess.run(
        [str(python), "-m", "pytest", "-p", "no:cacheprovider", *given], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
