"""The commands as a user types them, the documentation's examples, and a third party's model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrfr.core.image import decode
from lrfr.eval.result_files import read_results
from lrfr.eval.results import unpack
from tests.eval.world import identity_picture, save

DOCS = Path(__file__).resolve().parents[2] / "docs" / "evaluate.md"
TOY = """
import cv2
import numpy as np


def embed(images):
    small = np.stack([cv2.resize(image, (3, 3), interpolation=cv2.INTER_AREA).reshape(-1) for image in images])
    return (small.astype(np.float32) - 128) / 64
"""


def write_pairs(folder, count=30):
    lines = []
    for row in range(count):
        other = row + (0 if row % 2 else 100)
        save(folder / "images" / f"p{row}" / "a.png", identity_picture(row, 0))
        save(folder / "images" / f"p{other}" / "b.png", identity_picture(other, 1))
        lines.append(f"p{row}/a.png\tp{other}/b.png\t{row % 2}\t{row % 5}")
    (folder / "pairs.tsv").write_text("\n".join(lines))


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy_model.py").write_text(TOY)
    write_pairs(tmp_path)
    return [
        "eval",
        "--embedder",
        "toy_model:embed",
        "--benchmark",
        "pairs-tsv",
        "--data",
        "pairs.tsv",
        "--sizes",
        "24,6",
        "--replicates",
        "50",
    ]


def test_eval_report_and_table_in_a_row(lrfr, toy, tmp_path):
    code, out, err = lrfr(*toy, "--name", "toy net")
    assert code == 0, err
    assert "24 & 6 px" in out and "results/toy-net-pairs-tsv.json" in out
    result = read_results([tmp_path / "results" / "toy-net-pairs-tsv.json"])[0]
    assert result.model.name == "toy net" and result.command.startswith("lrfr ")
    code, out, _ = lrfr("report", "results/toy-net-pairs-tsv.json", "--dry-run")
    assert code == 0 and "Provenance" in out and not (tmp_path / "report.html").exists()
    assert lrfr("report", "results/toy-net-pairs-tsv.json")[0] == 0
    assert {"report.html", "report.md", "report.json"} <= {path.name for path in tmp_path.iterdir()}
    code, out, _ = lrfr("table", "waveresnet-2", "results/toy-net-pairs-tsv.json")
    assert code == 0 and "81.87" in out


def test_a_dry_run_writes_nothing(lrfr, toy, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, out, err = lrfr(*toy, "--dry-run")
    assert code == 0 and "would measure" in out, err
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


def test_json_is_one_object_and_nothing_else(lrfr, toy):
    code, out, err = lrfr(*toy, "--json")
    assert code == 0 and err == ""
    body = json.loads(out)
    assert (
        body["ok"] and len(body["result"]["results"]) == 3 and "per_pair" not in body["result"]["results"][0]
    )


def test_every_benchmark_is_listed_with_its_tree(lrfr):
    from lrfr.eval.protocols.table import BENCHMARKS

    code, out, _ = lrfr("eval", "--list")
    assert code == 0
    for name, benchmark in BENCHMARKS.items():
        assert f"{name}: {benchmark.help}" in out
        assert bool(benchmark.tree) == benchmark.needs_data
        assert callable(benchmark.run)
        assert f"`{name}`" in DOCS.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--benchmark", "lwf"], 2, "did you mean 'lfw'"),
        (["--benchmark", "tinyface"], 2, "needs --data"),
        (["--benchmark", "tinyface", "--data", "nowhere"], 2, "no such file"),
        (["--benchmark", "tinyface", "--data", "."], 3, "Testing_Set"),
        (["--sizes", "0"], 2, "sizes"),
        (["--sizes", "112,banana"], 2, "banana"),
        (["--convention", "Q"], 2, "A, B, C, D, E, F"),
        (["--interpolation", "cubic"], 2, "cubic"),
        (["--embedder", "nothing_here:embed"], 2, "cannot import"),
    ],
)
def test_a_wrong_word_gives_one_message(lrfr, toy, arguments, code, words):
    given = [
        "eval",
        "--embedder",
        "toy_model:embed",
        "--benchmark",
        "pairs-tsv",
        "--data",
        "pairs.tsv",
        "--replicates",
        "0",
        *arguments,
    ]
    if arguments[0] == "--benchmark" and "--data" not in arguments:
        given = ["eval", "--embedder", "toy_model:embed", *arguments]
    found, _, err = lrfr(*given)
    assert found == code, err
    assert words in err and "Traceback" not in err
    assert not Path("results").exists()


def test_neither_or_both_models_is_a_usage_error(lrfr, toy):
    assert lrfr("eval")[0] == 2
    assert lrfr("eval", "runs/x", "--embedder", "toy_model:embed")[0] == 2
    assert lrfr("eval", "runs/x")[0] == 3


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("list", "lrfr eval --list"),
        ("benchmarks", "lrfr eval --list"),
        ("lfw", "--benchmark lfw"),
        ("agedb30", "--benchmark agedb-30"),
        ("TinyFace", "--benchmark tinyface"),
    ],
)
def test_a_word_in_place_of_a_model_is_answered_with_the_right_one(lrfr, tmp_path, monkeypatch, word, answer):
    monkeypatch.chdir(tmp_path)
    code, _, err = lrfr("eval", word)
    assert code == 2 and answer in err


def test_table_lists_all_and_suggests(lrfr):
    from lrfr.eval.published.papers import tables

    code, out, _ = lrfr("table")
    assert code == 0 and all(name in out for name in tables())
    code, _, err = lrfr("table", "fskd-22")
    assert code == 2 and "did you mean" in err
    code, out, _ = lrfr("table", "catface-8")
    assert code == 0 and "91.10" in out and "note:" in out


def test_report_refuses_other_suffixes_and_missing_files(lrfr):
    assert lrfr("report", "x.json", "--out", "page.pdf")[0] == 2
    assert lrfr("report", "x.json")[0] == 3
    assert lrfr("report", "x.json", "--gains", "one")[0] == 2


def test_figures_are_written_with_captions(lrfr, toy, tmp_path):
    code, out, err = lrfr(
        "figures",
        "--embedder",
        "toy_model:embed",
        "--data",
        "images",
        "--sizes",
        "24,6",
        "--faces",
        "60",
        "--out",
        "f",
    )
    assert code == 0, err
    names = {"gallery", "ssim", "error-bound", "pca", "tsne", "dimensions"}
    assert {path.stem for path in (tmp_path / "f").iterdir()} == names
    for name in names:
        assert name in out
        assert decode((tmp_path / "f" / f"{name}.png").read_bytes()).std() > 1


def python_blocks():
    return re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), flags=re.S)


def test_the_library_example_of_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a1", "a2", "b1", "b2"):
        save(tmp_path / f"{name}.png", identity_picture(ord(name[0]), int(name[1]), 112))
    space = {}
    exec(TOY, space)  # the reader's own embed
    exec(python_blocks()[1], space)
    assert (tmp_path / "report.html").exists() and len(
        read_results([tmp_path / "results" / "mine.json"])
    ) == 3


@pytest.fixture
def third_party(faces_dir, lrfr, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'lrfr[onnx]'")
    monkeypatch.setenv("MOBILEFACENET", str(faces_dir / "weights" / "mobilefacenet.onnx"))
    (tmp_path / "mobilefacenet.py").write_text(python_blocks()[0])

    def run(rows, sizes, *more):
        lines = (faces_dir / "splits" / "dev_pairs.tsv").read_text().splitlines()[:rows]
        lines = (
            lines if rows is None else [line.rpartition("\t")[0] for line in lines]
        )  # a fold may lose a kind
        (tmp_path / "pairs.tsv").write_text("\n".join(lines))
        if not (tmp_path / "aligned").exists():
            (tmp_path / "aligned").symlink_to(faces_dir / "aligned")
        command = [
            "eval",
            "--embedder",
            "mobilefacenet:embed",
            "--benchmark",
            "pairs-tsv",
            "--data",
            "pairs.tsv",
            "--sizes",
            sizes,
        ]
        code, _, err = lrfr(*command, "--out", "r.json", *more)
        assert code == 0, err
        return read_results([tmp_path / "r.json"]), [line.split("\t") for line in lines]

    return run


def test_a_third_partys_onnx_model_gives_the_scores_computed_by_hand(third_party, faces_dir, tmp_path):
    import onnxruntime

    results, lines = third_party(12, "112,20", "--matching", "cross", "--replicates", "0")
    session = onnxruntime.InferenceSession(str(faces_dir / "weights" / "mobilefacenet.onnx"))
    name = session.get_inputs()[0].name

    def feature(path, size):
        image = Image.open(faces_dir / "aligned" / path)
        small = image.resize((size, size), Image.Resampling.BICUBIC).resize(
            (112, 112), Image.Resampling.BICUBIC
        )
        x = (np.asarray(small if size < 112 else image, np.float32) - 127) / 128
        return session.run(None, {name: x.transpose(2, 0, 1)[None]})[0][0].astype(np.float64)

    scores = unpack(results[1].per_pair["score_f32"], "<f4")
    for row in (0, 7, 11):
        a, b = feature(lines[row][0], 112), feature(lines[row][1], 20)
        assert scores[row] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=0.02)
    assert results[0].metrics["AUC"].value > 0.95


@pytest.mark.soak
def test_the_third_partys_table_is_reproduced_within_a_fifth_of_a_point(third_party):
    """HR-LR accuracy of MobileFaceNet on all development pairs; about twenty minutes on one core."""
    results, _ = third_party(None, "112,28,20,14,10,7", "--matching", "cross")
    measured = {28: 94.7, 20: 82.8, 14: 64.7, 10: 56.1, 7: 51.4, 112: 98.1}
    for result in results:
        size = result.sizes[1]
        slack = 0.3 if size == 7 else 0.2  # near chance the threshold rule alone moves the accuracy by 0.3
        assert 100 * result.metrics["accuracy"].value == pytest.approx(measured[size], abs=slack)
