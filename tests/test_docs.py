"""The documentation: the site builds without network, and the code of its pages runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
BUILD = """
import sys

def refuse(event, args):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        raise AssertionError(f"the network is asked: {event} {args}")

sys.addaudithook(refuse)
from mkdocs.__main__ import cli
cli(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The whole site; a broken link, a page outside the navigation or a name without docstring fails."""
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", BUILD, "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_fetches_nothing(site):
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link[^>]* href=\"?([^\" >]+)", text)
        assert not [place for place in loaded if re.match(r"(https?:)?//", place)], page.name


def test_the_reference_has_every_public_name(site):
    import lrfr

    text = (site / "reference/api.html").read_text("utf-8")
    missing = [name for name in lrfr.__all__ if name != "__version__" and f'id="lrfr.{name}"' not in text]
    assert not missing


def test_no_role_is_left_in_the_reference(site):
    for name in ("api", "contracts"):
        assert not re.search(
            r":(class|func|data|meth):<", (site / f"reference/{name}.html").read_text("utf-8")
        )


@pytest.mark.parametrize(
    "page", [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"], ids=lambda page: page.name
)
def test_pages_name_files_that_exist(page):
    """Paths in code spans and links that a reader would look for (mkdocs checks the links between its pages)."""
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:docs|lrfr|tests|benchmarks)/[\w./-]+)`", text)
    named += [link for link in re.findall(r"\]\(([\w./-]+\.\w+)\)", text) if page.parent == ROOT]
    base = ROOT
    missing = [name for name in named if not (base / name.rstrip("/")).exists()]
    assert not missing, f"{page.name} names {missing}"
