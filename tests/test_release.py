"""What is handed out: wheel and source archive are complete, licensed, and work where nothing else of the
checkout is.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from lrfr import __version__

ROOT = Path(__file__).resolve().parent.parent
# not `skip`: an environment without the build back end is no environment for a release
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A clean copy of what is under version control (or would be)."""
    tree = tmp_path_factory.mktemp("checkout")
    skip = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", ".*")
    for name in ("lrfr", "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=skip)
    names = "setup.py pyproject.toml MANIFEST.in README.md LICENSE LICENSES.md CHANGELOG.md CONTRIBUTING.md"
    for name in (*names.split(), "CITATION.cff", "Makefile", "constraints.txt", "mkdocs.yml"):
        shutil.copy(ROOT / name, tree / name)
    return tree


def build(kind, tree, out):
    """Build one distribution with the back end that pyproject.toml names, without network."""
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree)
    assert done.returncode == 0, done.stderr[-3000:]
    return Path(out) / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def sdist(checkout, tmp_path_factory):
    """The source archive."""
    return build("build_sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory):
    """The wheel, built from the unpacked source archive as an installer would."""
    tree = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(tree, filter="data")
    return build("build_wheel", next(tree.iterdir()), tmp_path_factory.mktemp("wheel"))


def shipped():
    """Every file of the package as it lies in the checkout."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lrfr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_every_package_and_data_file_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert shipped() <= names, sorted(shipped() - names)
    others = {name for name in names - shipped() if ".dist-info/" not in name}
    assert not others
    info = f"lrfr-{__version__}.dist-info"
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/LICENSES.md"} <= names


def test_source_archive_holds_what_building_and_testing_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert shipped() <= names
    wanted = {
        "README.md",
        "LICENSE",
        "LICENSES.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "constraints.txt",
        "Makefile",
    }
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert wanted <= names, sorted(wanted - names)


def test_metadata_says_what_the_package_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"lrfr-{__version__}.dist-info/METADATA").decode()
        points = archive.read(f"lrfr-{__version__}.dist-info/entry_points.txt").decode()
    assert f"Version: {__version__}\n" in text and "Requires-Python: >=3.11\n" in text
    assert "License-Expression: Apache-2.0\n" in text and "Typing :: Typed" in text
    assert all(f"Provides-Extra: {extra}\n" in text for extra in ("onnx", "tensorboard", "docs", "dev"))
    assert "lrfr = lrfr.__main__:main" in points
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """An environment with nothing but the wheel; the libraries it depends on are lent by this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next((folder / "lib").iterdir()) / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    prefix = [*install, "--prefix", str(folder), "--ignore-installed", str(wheel)]
    done = subprocess.run(prefix, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder


def call(folder, place, *argv):
    """Run a program of the environment in an empty folder, without this checkout on its path."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    program = folder / "bin" / argv[0]
    return subprocess.run(
        [program, *argv[1:]], capture_output=True, text=True, check=False, cwd=place, env=clean, timeout=240
    )


def test_installed_wheel_works_on_its_own(installed, tmp_path):
    where = "import lrfr, sys; print(lrfr.__file__)"
    place = call(installed, tmp_path, "python", "-c", where).stdout.strip()
    assert Path(place).is_relative_to(installed), place
    said = call(installed, tmp_path, "lrfr", "--version")
    assert said.returncode == 0 and __version__ in said.stdout, said.stderr
    done = call(installed, tmp_path, "lrfr", "degrade", "--spec", "turb", "--limit", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    assert list((tmp_path / "degraded").glob("*.png"))
    for argv in (["presets", "ls"], ["train", "show", "fskd"], ["experiment", "demo", "--plan"]):
        again = call(installed, tmp_path, "lrfr", *argv)
        assert again.returncode == 0, (argv, again.stderr)


def listed():
    """The patterns of the tables of LICENSES.md."""
    return re.findall(r"^\| `([^`]+)` \|", (ROOT / "LICENSES.md").read_text("utf-8"), re.M)


def test_every_shipped_file_that_is_not_code_has_terms():
    inside = {name for name in shipped() if not name.endswith((".py", ".pyc"))}
    beside = {
        path.relative_to(ROOT).as_posix()
        for folder in ("docs/img", "tests/data")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    patterns = listed()
    bare = {name for name in inside | beside if not any(fnmatch.fnmatch(name, row) for row in patterns)}
    assert not bare, "say in LICENSES.md where these come from"
    unused = [row for row in patterns if not fnmatch.filter(inside | beside, row)]
    assert not unused


def test_declared_minimum_versions_are_below_the_pinned_ones():
    """Each requirement is met by the version that the suite runs with."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines)
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    for text in wanted:
        need = Requirement(text)
        if need.name not in {"lrfr", "tensorboard"}:
            version = pinned[need.name.lower().replace("_", "-")]
            assert need.specifier.contains(version), (text, version)
