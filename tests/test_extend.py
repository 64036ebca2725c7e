"""docs/extend.md as typed: its code becomes an installed package, and every command of the page is run."""

import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from lrfr.core.image import encode_png
from lrfr.pairs.sources.synthetic import render_face

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/extend.md").read_text("utf-8")
FILES = dict(re.findall(r'^```\w+ title="([\w./]+)"\n(.*?)^```$', PAGE, re.M | re.S))
SECTIONS = {
    "op": ("haze", "lrfr.ops"),
    "source": ("album", "lrfr.sources"),
    "detector": ("passport", "lrfr.detectors"),
    "backbone": ("plain", "lrfr.backbones"),
    "head": ("sphere", "lrfr.heads"),
    "distance": ("huber", "lrfr.losses"),
    "method": ("angle", "lrfr.methods"),
    "benchmark": ("mirror", "lrfr.benchmarks"),
}


def commands() -> list[list[str]]:
    """Return the page's command lines without their first word, in order."""
    return [shlex.split(line)[1:] for line in re.findall(r"^    (lrfr .*)$", PAGE, re.M)]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install the page's package as pip would leave it: modules and a dist-info folder."""
    site = tmp_path / "site"
    info = site / "lrfr_extras-0.1.dist-info"
    info.mkdir(parents=True)
    for name, text in FILES.items():
        (site if name.endswith(".py") else tmp_path).joinpath(name).write_text(text)
    groups = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"]
    lines = [
        f"[{group}]\n{name} = {value}\n" for group, rows in groups.items() for name, value in rows.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lrfr-extras\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(str(site))  # for this process, and below for the processes that it starts
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    yield site
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def make_inputs(folder: Path) -> None:
    """Write what the commands name: an archive of faces and a folder of portraits."""
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for person in range(6):
            for number in range(3):
                archive.writestr(f"p{person}/{number}.png", encode_png(render_face(person, number, 5)[0]))
    (folder / "portraits").mkdir()
    for person in range(12):
        (folder / f"portraits/{person}.png").write_bytes(encode_png(render_face(person, 0, 6)[0]))


def test_the_page_works_as_typed(lrfr, tmp_path, package):
    make_inputs(tmp_path)
    said = {}
    for argv in commands():
        code, out, err = lrfr(*argv)
        assert code == 0, f"lrfr {shlex.join(argv)}\n{out}{err}"
        said[" ".join(argv)] = out + err
    assert "spec check haze.yaml" in said
    assert "angle" in said["train ls"] and "Margin softmax on LR plus" in said["train ls"]
    assert "mirror" in said["eval --list"] and "mirror images" in said["eval --list"]
    assert "passport" in said["detectors ls"] and len(list((tmp_path / "cut").glob("*.png"))) == 12
    assert list((tmp_path / "hazy").glob("*.png"))
    assert (tmp_path / "results/plain-mirror.json").exists()


def test_every_table_lists_its_plugin_with_its_help(package):
    import lrfr

    tables = {"op": "ops", "source": "sources", "detector": "detectors", "backbone": "backbones"}
    tables |= {"head": "heads", "distance": "losses", "method": "methods", "benchmark": "benchmarks"}
    for kind, (name, group) in SECTIONS.items():
        table = getattr(lrfr.registry, tables[kind])
        assert table.group == group
        assert table.is_plugin(name) and table.names()[-1] == name
        assert table.help(name), kind
        with pytest.raises(lrfr.SpecError, match=f"did you mean '{name}'"):
            table[name[:-1] + name[-1] * 2]


def test_worker_processes_see_the_package(package, tmp_path):
    words = "make-pairs --source synthetic:ids=8,per_id=4 --spec haze.yaml --executor process --workers 2"
    done = subprocess.run(
        [sys.executable, "-m", "lrfr", *words.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_the_costs_are_those_of_the_page():
    """The table at the end is counted from the sections."""
    rows = dict(re.findall(r"^\| (\w+) \| 1 \| (\d+) \| 1 \| 0 \|$", PAGE, re.M))
    counted = {kind: str(FILES[f"extras_{name}.py"].count("\n")) for kind, (name, _) in SECTIONS.items()}
    assert rows == counted


def test_every_kind_of_table_has_a_section():
    from lrfr.experiment.tables import Tables

    tables = [name for name, entry in vars(Tables).items() if isinstance(entry, property)]
    assert len(tables) == len(SECTIONS)
    for kind in SECTIONS:
        assert f"\n## {kind.capitalize()}\n" in PAGE
