"""The papers' figures: their numbers against printed equations and loops, and the command that draws them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pydantic import TypeAdapter
from torch import nn

from lrfr.cli.main import cli
from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import decode, encode_png
from lrfr.eval.analysis.beside import dimension_errors
from lrfr.eval.analysis.block_statistics import compare_blocks
from lrfr.eval.analysis.charts import stars
from lrfr.eval.analysis.figures import Shown
from lrfr.eval.result_files import read_results, write_results
from lrfr.experiment.steps.drawing.figures_here import (
    FigureWish,
    _named,
    distance_slope,
    gradient_sums,
)
from lrfr.experiment.steps.drawing.stored_here import results_of, stored_parameters
from lrfr.train import checkpoint
from lrfr.train.heads.gradients import chosen_classes, margin_gradient_sum
from lrfr.train.heads.margins import HeadSpec
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.load_nets import load_nets
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.routes.router import write_routes
from tests.eval.test_published import result as one_result


def saved(folder, method="baseline", options=(), classes=4):
    """A checkpoint of untrained networks."""
    torch.manual_seed(0)
    made = load_recipe(method, "tiny", options).make()
    identity = ModelIdentity(
        method, TypeAdapter(type(made)).dump_python(made, mode="json"), num_classes=classes
    )
    tensors = checkpoint.model_tensors(made.build(classes))
    checkpoint.save(folder, checkpoint.Checkpoint(identity.as_dict(), tensors, {}, {}, {}))
    return folder


def test_gradient_sum_of_a_linear_net_is_the_one_of_its_equation():
    """Softmax: dL/dA = mean over faces of (sum_c (p_c - [c = y]) w_c) x^T, and of the bias without x."""
    rng = np.random.default_rng(0)
    a, b, w = rng.normal(size=(3, 12)), rng.normal(size=3), rng.normal(size=(5, 3))
    x, y = rng.normal(size=(4, 3, 2, 2)), np.array([0, 4, 2, 2])
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double().train()
    head = HeadSpec("softmax", 1.0, 0.0).build(3, 5).double().requires_grad_(False)
    with torch.no_grad():
        net[1].weight.copy_(torch.from_numpy(a))
        net[1].bias.copy_(torch.from_numpy(b))
        head.weight.copy_(torch.from_numpy(w))
    wanted_a, wanted_b = np.zeros((3, 12)), np.zeros(3)
    for face, label in zip(x.reshape(4, 12), y, strict=True):
        logits = w @ (a @ face + b)
        p = np.exp(logits) / np.exp(logits).sum()
        back = sum((p[c] - (c == label)) * w[c] for c in range(5)) / 4
        wanted_a, wanted_b = wanted_a + np.outer(back, face), wanted_b + back
    net.requires_grad_(False)
    found = margin_gradient_sum(net, head, torch.from_numpy(x), torch.from_numpy(y))
    assert found == pytest.approx(np.linalg.norm(wanted_a) + np.linalg.norm(wanted_b))
    assert net.training and not any(p.requires_grad or p.grad is not None for p in net.parameters())
    logits = x.reshape(4, 12) @ a.T + b
    assert chosen_classes(net, head, torch.from_numpy(x)).tolist() == (logits @ w.T).argmax(1).tolist()


@pytest.mark.parametrize("c", [0.0, 1.0, 16.0])
def test_slopes_are_those_of_the_printed_derivatives(c):
    """MAug, Eq. 1, 2 and 6: 1, |x - y|, and e^|x - y| / (C + e^|x - y|), all over D."""
    errors = np.linspace(0.01, 3, 100)
    assert distance_slope("logexp", c) == pytest.approx(np.exp(errors) / (c + np.exp(errors)))
    assert distance_slope("l1", c) == pytest.approx(np.ones(100))
    assert distance_slope("l2", c) == pytest.approx(errors)
    assert distance_slope("smooth-l1", c) == pytest.approx(np.minimum(errors, 1))


def test_statistics_of_blocks_are_those_of_loops():
    rng = np.random.default_rng(3)
    maps = {("a", 8): rng.normal(size=(5, 2, 3, 3)), ("b", 4): rng.normal(size=(5, 2, 3, 3))}
    wide = rng.normal(size=(5, 4, 3, 3))

    def blocks(model, images):
        own = maps[model, images[0].shape[0]].astype(np.float32)
        return [own, own if model == "a" else wide.astype(np.float32)]

    shown = Shown([np.full((8, 8, 3), 9 * i, np.uint8) for i in range(5)], (8, 4), blocks)
    first, second = compare_blocks("a", {"student": "b"}, shown)
    hr, lr = maps["a", 8], maps["b", 4]
    assert first.row["norm HR"] == pytest.approx(np.mean([np.sqrt((face**2).sum()) for face in hr]), rel=1e-5)
    by_face = [np.corrcoef(h.mean(0).ravel(), s.mean(0).ravel())[0, 1] for h, s in zip(hr, lr, strict=True)]
    assert first.r["channel_mean"] == pytest.approx(np.mean(by_face), rel=1e-4)
    assert first.hr_pixels == pytest.approx(hr.mean(1).ravel(), rel=1e-5) and first.model == "student"
    assert second.r == {} and len(second.lr_pixels) == 0  # another width: nothing to correlate
    assert [stars(p) for p in (0.0005, 0.005, 0.03, 0.2)] == ["***", "**", "*", "n.s."]


def test_figures_of_models_are_drawn_by_one_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("student", "teacher", "other"):
        saved(tmp_path / name)
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    for number in range(40):
        picture = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
        (tmp_path / f"faces/{number}.png").write_bytes(encode_png(picture))
    words = ["figures", "student", "--teacher", "teacher", "--beside", "other", "--sizes", "112,14"]
    words += ["--data", "faces", "--faces", "6", "--gradients", "--distances", "--out", "f"]
    planned = CliRunner().invoke(cli, [*words, "--dry-run"])
    assert planned.exit_code == 0 and not (tmp_path / "f").exists()
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    names = ("attention", "stages", "norms", "correlation", "gradients", "distances")
    for name in (*names, "beside-dimensions", "beside-attention"):
        assert decode((tmp_path / f"f/{name}.png").read_bytes()).std() > 1
        assert name in planned.output
    assert done.output.count("student") >= 4 and done.output.count("other") >= 4  # four blocks each
    missing = CliRunner().invoke(cli, ["figures", "nowhere", "--dry-run"])
    assert isinstance(missing.exception, DataError | SpecError)


def test_errors_of_dimensions_are_those_of_a_loop():
    """MAug Fig. 6: of unit embeddings, mean over faces of |HR - LR|."""
    faces = [np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8) for i in range(4)]

    def embed(images):
        return np.stack([image.mean((0, 1)) + image[0, 0] for image in images]).astype(np.float32)

    shown = Shown(faces, (16, 8), lambda *_: [])
    pairs = [(embed([face])[0], embed(shown.small([face], 8))[0]) for face in faces]
    wanted = np.mean([abs(h / np.linalg.norm(h) - s / np.linalg.norm(s)) for h, s in pairs], axis=0)
    assert dimension_errors(embed, shown) == pytest.approx(wanted, abs=1e-6) and wanted.min() > 0


def test_models_of_one_name_are_told_apart_by_their_paths():
    """One was drawn over the other, in silence."""
    wish = FigureWish(Path("a/x"), beside=(Path("b/x"), Path("c/y"), Path("d/y"), Path("z")))
    assert list(_named(wish)) == ["b/x", "c/y", "d/y", "z"]


def test_gradients_need_classes_and_sizes(tmp_path):
    path = saved(tmp_path / "none", classes=0)
    shown = Shown([np.zeros((112, 112, 3), np.uint8)], (112, 14), lambda *_: [])
    with pytest.raises(SpecError, match="classes"):
        gradient_sums(path, shown)


def test_stored_parameters_count_what_branches_share_once(tmp_path, monkeypatch):
    """BTNet Fig. 7: trunk and packs of the branches, found beside the results."""
    monkeypatch.chdir(tmp_path)
    counts = {}
    for name, shift in (("less", -1), ("more", 1)):
        path = saved(tmp_path / "runs" / name, "btnet-branch", [f"shift={shift}", "branches_px=[28, 14]"])
        net = load_nets(path).nets["net"]
        own = {id(tensor): tensor.numel() for px in (28, 14) for tensor in net.net(px).parameters()}
        counts[name] = sum((own | {id(t): t.numel() for t in net.trunk.parameters()}).values())
        found = one_result("lfw", "accuracy", 0.8 + shift / 10, (28, 28))
        model = replace(found.model, name=name, checkpoint=f"runs/{name}")
        write_results([replace(found, model=model)], tmp_path / f"results/{name}.json")
    assert counts["less"] < counts["more"]
    monkeypatch.chdir("/")
    for file in results_of(tmp_path / "results"):
        result = read_results([file])[0]
        assert stored_parameters(result, file) == counts[result.model.name]
    less, more = (tmp_path / "runs" / name for name in ("less", "more"))
    write_routes(tmp_path / "runs/routed", [(14, less), (28, less), (None, more)])
    routed = replace(found, model=replace(found.model, checkpoint="runs/routed"))
    assert stored_parameters(routed, tmp_path / "results/x.json") == sum(counts.values())
    (tmp_path / "report.json").write_text("{}")
    assert results_of(tmp_path) == results_of(tmp_path / "results")  # as a sweep leaves them
    words = ["figures", "--results", str(tmp_path), "--out", str(tmp_path / "f")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert decode((tmp_path / "f/stored.png").read_bytes()).std() > 1
    with pytest.raises(DataError, match="no result file"):
        results_of(tmp_path / "runs")
    missing = CliRunner().invoke(cli, ["figures", "--results", str(tmp_path / "runs"), "--dry-run"])
    assert isinstance(missing.exception, DataError)
