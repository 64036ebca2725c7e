"""Exported files by themselves: what they say of their input, whole numbers, routers, thresholds, and a server."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lrfr.core.errors import DataError, SpecError
from lrfr.eval.results import Model, Result, pack
from lrfr.experiment.steps.export_here import export_here, threshold_rows
from lrfr.train.weights.export_model import export
from lrfr.train.weights.int8 import calibration_faces
from lrfr.train.weights.load_model import load_model
from lrfr.train.weights.routes.export_routes import export_routes
from lrfr.train.weights.routes.router import write_routes
from tests.train.test_export import write_checkpoint

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
PAGE = Path(__file__).parents[2] / "docs/deploy.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deploy")
    write_checkpoint(folder / "model", "baseline", ["input.filter=bilinear"])
    return folder


def faces(count=6, side=112):
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def test_a_file_says_what_it_takes_and_is_read_by_that_alone(made):
    file = export(made / "model", made / "out", onnx=True)[0]
    props = {item.key: json.loads(item.value) for item in onnx.load(str(file)).metadata_props}
    assert props["lrfr.input"]["size_px"] == 112 and props["lrfr.input"]["mean"] == [127.5] * 3
    assert props["lrfr.resize"] == {"filter": "bilinear", "antialias": True}
    embed, ours = load_model(file), load_model(made / "model")
    assert (embed.origin, embed.spec.filter) == ("metadata", "bilinear")
    for side in (112, 20):
        assert np.allclose(embed(faces(3, side)), ours(faces(3, side)), atol=1e-4)


def test_a_quantized_file_is_smaller_and_near(made, dataset):
    pictures = calibration_faces(dataset, 24)
    assert pictures.shape == (24, 112, 112, 3) and pictures.dtype == np.uint8
    assert not np.array_equal(pictures[:12], pictures[12:])  # HR and LR
    plain, small, _ = export(made / "model", made / "int8", onnx=True, int8_faces=pictures)
    assert small.name == "baseline-112-int8.onnx" and small.stat().st_size < 0.4 * plain.stat().st_size
    one, other = (load_model(path)(list(pictures)) for path in (plain, small))
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert 0.9 < cosine.min() and not np.array_equal(one, other)
    assert load_model(small).origin == "metadata"
    kinds = {node.op_type for node in onnx.load(str(small)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


def test_a_router_is_exported_with_its_rule_and_embeds_alike(made):
    torch.manual_seed(1)
    write_checkpoint(made / "other", "baseline", ["backbone=tiny-gap"])
    write_routes(made / "routed", [(28, made / "other"), (None, made / "model")])
    files = export_routes(made / "routed", made / "routes")
    assert [path.name for path in files if path.suffix == ".json"] == ["rule.json"]
    ours, exported = load_model(made / "routed"), load_model(made / "routes")
    mixed = [*faces(2), *faces(2, 28), *faces(2, 29), *faces(2, 9)]
    assert np.allclose(exported(mixed), ours(mixed), atol=1e-4)
    rule = json.loads((made / "routes/rule.json").read_text())
    for change, words in (
        ({"file": "../x.onnx"}, "outside"),
        ({"sha256": "0" * 64}, "not the one"),
        ({"up_to_px": 28}, "takes the rest"),
    ):
        wrong = {"members": [rule["members"][0], rule["members"][1] | change]}
        (made / "routes/rule.json").write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=words):
            load_model(made / "routes")


def test_thresholds_are_the_lowest_scores_that_keep_their_promise():
    generator = np.random.default_rng(0)
    same = generator.random(4000) < 0.5
    score = np.round(generator.normal(same * 0.6, 0.2), 3).astype("<f4")
    kept = {
        "score_f32": pack(score),
        "same_u8": pack(same.astype("u1")),
        "correct_u8": pack(same.astype("u1")),
    }
    result = Result("b", "verification", Model("m"), "cross", (112, 14), {}, per_pair=kept)
    rows = threshold_rows(result)
    assert [rate for rate, _, _ in rows] == [0.1, 0.01, 0.001]  # 2,000 impostors cannot show 1e-4
    for rate, threshold, accepted in rows:
        assert (score[~same] >= np.float32(threshold)).mean() <= rate
        lower = max(score[score < np.float32(threshold)])
        assert (score[~same] >= lower).mean() > rate
        assert accepted == (score[same] >= np.float32(threshold)).mean()
    assert threshold_rows(Result("b", "verification", Model("m"), "cross", (112, 14), {})) == []


def test_the_command_writes_thresholds_whole_numbers_and_a_router(made, store, lrfr, tmp_path):
    code, _, err = lrfr("eval", made / "model", "--sizes", "112", "--replicates", "0", "--out", "r.json")
    assert code == 0, err
    words = ["--onnx", "--quantize", "int8", "--store", store, "--result", "r.json", "--out", "e"]
    code, out, err = lrfr("export", made / "model", *words)
    assert code == 0 and "baseline-112-int8.onnx" in out, err
    card = (tmp_path / "e/model-card.md").read_text()
    assert "## Thresholds" in card and "| FAR | score at least | TAR |" in card and "| 0.01 |" in card
    view = ["--benchmark", "view", "--view", "default", "--store", store, "--replicates", "0"]
    code, _, err = lrfr("eval", "e/baseline-112.onnx", *view, "--out", "v.json")
    assert code == 0, err
    code, _, err = lrfr("export", made / "model", "--safetensors", "--quantize", "int8", "--store", store)
    assert code == 2 and "--onnx --quantize int8" in err
    write_routes(tmp_path / "routed", [(28, made / "model"), (None, made / "model")])
    code, out, err = lrfr("export", "routed", "--onnx", "--out", "f")
    assert code == 0 and "rule.json" in out, err
    code, _, err = lrfr("eval", "f", "--sizes", "112,14", "--replicates", "0")
    assert code == 0, err
    code, _, err = lrfr("export", "routed", "--safetensors", "--out", "g")
    assert code == 2 and "with a rule" in err


def test_the_example_of_the_docs_serves_an_exported_file(made, tmp_path):
    file = export(made / "model", made / "served", onnx=True)[0]
    code = re.search(r'```python title="serve.py"\n(.*?)```', PAGE.read_text("utf-8"), re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 32
    assert "lrfr." not in re.sub(r'"lrfr\.\w+"', "", code)  # the file alone
    (tmp_path / "serve.py").write_text(code)
    (tmp_path / "model.onnx").write_bytes(file.read_bytes())
    face = faces(1)[0]
    Image.fromarray(face).save(tmp_path / "face.png")
    command = [sys.executable, "-u", "serve.py", "model.onnx", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline().split(":")[-1])
            data = (tmp_path / "face.png").read_bytes()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data, timeout=60) as answer:
                found = np.array(json.loads(answer.read())["embedding"])
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", b"no picture")
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(request, timeout=60)
        finally:
            process.kill()
    wanted = load_model(file)([face])[0]
    assert np.allclose(found, wanted / np.linalg.norm(wanted), atol=1e-4)


def test_what_cannot_be_quantized_is_named(made, tmp_path):
    from lrfr.train.weights.foreign.input_contract import InputContract
    from lrfr.train.weights.int8 import write_int8

    (tmp_path / "x.onnx").write_bytes(b"junk")
    with pytest.raises(DataError, match="cannot be quantized"):
        write_int8(tmp_path / "x.onnx", tmp_path / "y.onnx", np.stack(faces(2)), InputContract())
    with pytest.raises(SpecError, match=r"no such view|no store|no view|no such"):
        export_here(made / "model", tmp_path / "o", {"onnx": True}, int8_view=(tmp_path / "none", "default"))
