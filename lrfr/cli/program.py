"""How lrfr is called where it runs: commands in messages are to work as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=4)
def program(path: str, python: str) -> str:
    """Return the words that start lrfr: ``lrfr`` where the shell finds it on ``path``, else the script beside
    the interpreter ``python``, else the interpreter itself.
    """
    if shutil.which("lrfr", path=path):
        return "lrfr"
    script = Path(python).with_name("lrfr")
    if not os.access(script, os.X_OK):
        return f"{shlex.quote(python)} -m lrfr"
    try:
        near = script.relative_to(Path.cwd())
    except (ValueError, OSError):
        near = script
    return shlex.quote(str(near))


def runnable(text: str) -> str:
    """Return a message in which ``lrfr COMMAND`` can be typed as it stands."""
    if "lrfr " not in text:
        return text
    own = program(os.environ.get("PATH", ""), sys.executable)
    return text if own == "lrfr" else _call().sub(lambda _: f"{own} ", text)


@lru_cache(maxsize=1)
def _call() -> re.Pattern[str]:
    """Return what a call of lrfr looks like: its name and that of a command."""
    from lrfr.cli.main import COMMANDS

    return re.compile(rf"(?<![\w./\-])lrfr (?=(?:{'|'.join(COMMANDS)})\b(?!-))")
