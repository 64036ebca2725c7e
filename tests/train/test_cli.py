"""The commands, and the page on plug-in methods."""

import json
import re
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from lrfr.core.image import encode_png
from lrfr.pairs.sources.synthetic import render_face
from lrfr.train import checkpoint
from lrfr.train.engine.journal import loss_trace
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.model_identity import ModelIdentity

FAST = [
    "--set",
    "train.unit=step",
    "--set",
    "train.length=2",
    "--set",
    "train.milestones=[]",
    "--set",
    "batch_size=8",
    "--threads",
    "1",
]
DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_help_lists_methods_without_torch(lrfr):
    import subprocess

    code = (
        "import sys; from lrfr.cli.main import run; run(['train', '--help']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
    assert "btnet-branch" in done.stdout and "lrfr train fskd" in done.stdout


def test_train_reuses_its_teacher_and_goes_on(lrfr, store, monkeypatch):
    common = ["--store", str(store), *FAST]
    teacher = [
        "--set",
        "parents.teacher.train.unit=step",
        "--set",
        "parents.teacher.train.length=2",
        "--set",
        "parents.teacher.train.batch_size=8",
    ]
    teacher += ["--set", "parents.teacher.train.threads=1"]
    code, out, err = lrfr("train", "fskd", *common, *teacher)
    assert code == 0, err
    assert "teacher: training baseline (tiny) in runs/teacher" in err and "choice lambda = 5.0" in err
    assert "runs/fskd: step 2 of 2" in out
    code, out, err = lrfr("train", "fskd", *common, *teacher, "--json")
    assert code == 0 and json.loads(out)["result"]["started_at"] == 2
    code, out, err = lrfr("train", "fskd", *common, *teacher, "--set", "lambda=20", "--name", "strong")
    assert code == 0 and "teacher: using the finished run runs/teacher" in err
    code, out, err = lrfr("train", "fskd", *common, *teacher, "--set", "lambda=20")
    assert code == 2 and "options.lambda_ is 5.0 there, 20.0 here" in err
    code, out, err = lrfr("train", "fskd", *common, *teacher, "--fresh")
    assert code == 2 and "there is a run already" in err


def test_listing_showing_and_dry_run_write_nothing(lrfr, tmp_path):
    code, out, _ = lrfr("train", "ls", "--json")
    methods = {row["method"]: row for row in json.loads(out)["result"]["methods"]}
    assert (
        code == 0
        and methods["fskd"]["needs"] == {"teacher": "baseline"}
        and "paper" in methods["maug"]["recipes"]
    )
    code, out, _ = lrfr("train", "show", "fskd", "--recipe", "paper")
    assert code == 0 and "47000" in out and "released script 20" in out
    code, out, _ = lrfr("train", "btnet-branch", "--res", "14,7", "--dry-run", "--json")
    assert code == 0 and json.loads(out)["result"]["recipe"]["options"]["branches_px"] == [14, 7]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fskdd",), "did you mean 'fskd'"),
        (("fskd", "--recipe", "tinny"), "did you mean 'tiny'"),
        (("fskd", "--parent", "master=x"), "known: init, teacher"),
        (("fskd", "--view", "none", "--store", "nowhere"), "nowhere"),
    ],
)
def test_wrong_words_are_answered_on_one_line(lrfr, words, message):
    code, _, err = lrfr("train", *words)
    assert code in (2, 3) and message in err.lower() and "Traceback" not in err
    assert not Path("store").exists()  # nothing is made for a line that cannot work


def test_the_page_on_methods_works_as_printed(lrfr, store, tmp_path, monkeypatch):
    page = (DOCS / "write-a-method.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.S).group(1)
    assert len(code.splitlines()) <= 45
    (tmp_path / "angle.py").write_text(code)
    entry = re.search(r'angle = "(angle:Angle)"', page).group(1)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = EntryPoints([EntryPoint("angle", entry, "lrfr.methods")])
    monkeypatch.setattr("lrfr.core.registry.entry_points", lambda **wanted: found.select(**wanted))
    teacher = [
        f"--set=parents.teacher.train.{key}" for key in ("unit=step", "length=2", "batch_size=8", "threads=1")
    ]
    code, _, err = lrfr(
        "train",
        "angle",
        "--store",
        str(store),
        *FAST,
        "--set",
        "backbone=tiny",
        "--set",
        "weight=4",
        *teacher,
    )
    assert code == 0, err
    assert set(loss_trace(tmp_path / "runs/angle/journal.jsonl")[0][1]) == {
        "total",
        "margin",
        "angle",
        "grad_norm",
    }
    import numpy as np

    from lrfr.train.weights.load_nets import load_embedder

    assert load_embedder(tmp_path / "runs/angle")([np.zeros((14, 14, 3), np.uint8)]).shape == (1, 128)
    sys.modules.pop("angle", None)


def test_export_and_import_commands(lrfr, store, tmp_path):
    assert lrfr("train", "baseline", "--store", str(store), *FAST)[0] == 0
    code, out, err = lrfr("export", "runs/baseline", "--safetensors", "--license", "CC0")
    assert code == 0 and (tmp_path / "export/baseline/model-card.md").exists(), err
    code, out, err = lrfr(
        "import-weights",
        "export/baseline/baseline-112.safetensors",
        "--backbone",
        "tiny",
        "--out",
        "runs/copy",
        "--json",
    )
    assert code == 0 and len(json.loads(out)["result"]["digest"]) == 64, err
    assert lrfr("export", "runs/baseline")[0] == 2
    assert lrfr("export", "runs/none", "--onnx")[0] == 3


def test_a_plug_in_is_listed_without_being_imported(lrfr, tmp_path, monkeypatch):
    (tmp_path / "sharp.py").write_text(
        "raise RuntimeError('imported')\n\n\nclass Sharp:\n    'Sharpness first. The rest later.'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = EntryPoints([EntryPoint("sharp", "sharp:Sharp", "lrfr.methods")])
    monkeypatch.setattr("lrfr.core.registry.entry_points", lambda **wanted: found.select(**wanted))
    code, out, _ = lrfr("train", "ls", "--json")
    rows = {row["method"]: row for row in json.loads(out)["result"]["methods"]}
    assert code == 0
    assert rows["sharp"] == {"method": "sharp", "recipes": [], "needs": None, "about": "Sharpness first"}
    code, out, _ = lrfr("train", "--help")
    assert code == 0 and re.search(r"sharp +Sharpness first", out)
    code, _, err = lrfr("train", "sharp", "--dry-run")
    assert code == 5 and "cannot be imported: imported" in err


def test_listing_imports_no_torch():
    import subprocess

    code = "import sys; from lrfr.cli.main import run; run(['train', 'ls']); print('torch' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False False") and "teacher (baseline)" in done.stdout


def test_distillation_alone_needs_no_identities(lrfr, tmp_path, monkeypatch):
    """A list of pictures without names trains by its teacher alone; with a margin it is refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    lines = ["path"]
    for number in range(16):
        picture = render_face(number, 0, 5)[0]
        (tmp_path / f"faces/{number}.png").write_bytes(encode_png(picture))
        lines.append(f"{number}.png")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    source = "csv:list.csv,root=faces"
    assert lrfr("make-pairs", "--source", source, "--spec", "fskd", "--view", "faces")[0] == 0
    made = load_recipe("baseline", "tiny").make()
    nets = made.build(4)
    identity = ModelIdentity("baseline", load_recipe("baseline", "tiny").options, num_classes=4)
    saved = checkpoint.Checkpoint(identity.as_dict(), checkpoint.model_tensors(nets), {}, {}, {})
    checkpoint.save(tmp_path / "teacher", saved)
    words = ["train", "fskd", "--view", "faces", "--parent", "teacher=teacher", *FAST, "--no-eval"]
    code, _, err = lrfr(*words, "--set", "distance=embedding", "--name", "with-margin")
    assert code == 3 and "identit" in err
    alone = [*words, "--set", "margin_weight=0", "--set", "distance=embedding", "--name", "alone"]
    code, _, err = lrfr(*alone)
    assert code == 0, err
    trace = loss_trace(tmp_path / "runs/alone/journal.jsonl")
    assert trace[-1][0] == 2 and all(losses["margin"] == 0 < losses["distill"] for _, losses in trace)
    assert lrfr("eval", "runs/alone", "--dry-run")[0] == 0
