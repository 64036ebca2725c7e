"""The documentation: the site builds without network, and the code of its pages runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lrfr
from tests.cli.test_tutorial import make_faces

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


def test_the_notebook_runs_and_is_kept_without_outputs(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share/jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(DOCS / "notebooks/tour.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell.id for cell in code if cell.outputs or cell.execution_count]
    place = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources=place, shutdown_kernel="immediate"
    )
    try:
        client.execute()
    except RuntimeError as error:
        # a machine under load may bury the kernel before its client has shut it down: every cell has run
        ran = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
        if "died" not in str(error) or None in ran or not (tmp_path / "report.html").exists():
            raise
    assert (tmp_path / "report.html").exists()
    shown = [str(output) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in text for text in shown), "the faces are looked at"
    assert "(0, 0)" in "".join(shown) or "0, 0)" in "".join(shown), "the second call writes nothing"


def run_blocks(page, folder):
    """Run a page's Python blocks as one script in a folder; return what it printed."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    script = folder / "page.py"
    script.write_text("\n".join(blocks))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(folder / "mpl")}
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=280
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def test_the_library_page_runs_as_one_script(tmp_path):
    said = run_blocks(DOCS / "python.md", tmp_path)
    assert "did you mean 'surveillance'" in said
    assert (tmp_path / "report.html").exists() and (tmp_path / "results/fskd.json").exists()


def test_the_front_page_runs_as_it_stands(tmp_path):
    make_faces(tmp_path)
    for name, person in (("anna", 1), ("ben", 2)):
        shutil.copy(tmp_path / f"my_faces/p{person}/0.jpg", tmp_path / f"{name}.jpg")
    assert "accuracy" in run_blocks(ROOT / "README.md", tmp_path).lower()


def command_lines():
    """Every command line of every page; a remark stands behind two spaces or a #, [what may be left out] in
    brackets, and of a|b the first is tried.
    """
    for page in [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = page.read_text("utf-8").replace("\\\n", " ")
        for line in re.findall(r"^    (?:torchrun .* -m )?lrfr (.*)$", text, re.M):
            said = re.split(r" {2,}| [|>] | && ", line)[0]
            words = [word.split("|")[0] for word in shlex.split(re.sub(r"[][]", "", said), comments=True)]
            yield pytest.param(words, id=f"{page.name}: {said}")


@pytest.mark.parametrize("words", list(command_lines()))
def test_command_lines_of_the_pages_are_spelled_right(words):
    """Commands, options and their values are as the parser knows them; files need not exist."""
    import click

    from lrfr.cli.main import cli
    from lrfr.core.errors import SpecError

    command, context, rest = cli, click.Context(cli, info_name="lrfr"), list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, found, rest = command.resolve_command(context, rest)
        if found is None:
            break
        command, context = found, click.Context(found, parent=context, info_name=name)
    try:
        command.make_context(context.info_name, list(rest), parent=context.parent)
    except click.exceptions.Exit:  # --help, --version
        pass
    except click.UsageError as error:
        assert "does not exist" in error.format_message(), error.format_message()
    except SpecError as error:  # a list that is read with the options
        assert "No such file" in str(error)
