"""``lrfr train cfsm`` and ``lrfr degrade style-sheet`` as typed."""

import json

import numpy as np
import pytest
import torch

from lrfr.cli.main import run
from lrfr.core.image import decode, encode_png
from lrfr.train import checkpoint
from lrfr.train.methods.baseline import Baseline


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lrfr.train.style.style_task.CURVE_FACES", 8)
    rng = np.random.default_rng(0)
    for name, count in (("source", 40), ("target", 20)):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index:03d}.png").write_bytes(
                encode_png(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            )
    torch.manual_seed(0)
    nets = Baseline(backbone="tiny").build(5)
    identity = {
        "method": "baseline",
        "options": {"backbone": "tiny"},
        "num_classes": 5,
        "attribute_names": [],
    }
    checkpoint.save(
        tmp_path / "identity", checkpoint.Checkpoint(identity, checkpoint.model_tensors(nets), {}, {}, {})
    )
    return tmp_path


TRAIN = [
    "train",
    "cfsm",
    "--source",
    "source",
    "--target",
    "target",
    "--identity",
    "identity",
    "--size",
    "32",
    "--steps",
    "2",
    "--batch",
    "2",
]


def answer(capsys):
    return json.loads(capsys.readouterr().out)


def test_train_in_two_pieces_then_draw_and_degrade(here, capsys):
    assert run([*TRAIN, "--threads", "1", "--int8", "--max-steps", "1", "--json"]) == 0
    assert answer(capsys)["result"]["steps"] == 1
    assert run([*TRAIN, "--threads", "1", "--int8", "--json"]) == 0
    result = answer(capsys)["result"]
    assert result["weights"] == "runs/cfsm/style.safetensors"
    assert {"orthonormality", "anchor", "spearman", "calibration"} <= set(result["acceptance"])
    assert (
        run(
            [
                "degrade",
                "style-sheet",
                "--weights",
                result["weights"],
                "--count",
                "2",
                "--magnitudes",
                "0,3",
                "--json",
            ]
        )
        == 0
    )
    assert answer(capsys)["result"]["files"] == ["style-sheet/magnitudes.png", "style-sheet/directions.png"]
    assert decode((here / "style-sheet" / "magnitudes.png").read_bytes()).shape == (
        4 + 16 + 2 * 36,
        4 + 3 * 36,
        3,
    )
    (here / "s.yaml").write_text(
        "version: 1\npipeline: [{op: style, weights: runs/cfsm/style.safetensors, magnitude: {uniform: [1, "
        "4]}}]\n"
        "image: {size: 32}\nstore: {lr: native, up: {size: 32, filter: bicubic, antialias: true}}\n"
    )
    assert run(["degrade", "--spec", "s.yaml", "target/000.png", "--out", "out", "--json"]) == 0
    assert answer(capsys)["result"]["faces"] == 1


def test_dry_runs_write_nothing(here, capsys):
    before = sorted(here.iterdir())
    assert run([*TRAIN, "--dry-run", "--set", "identity_range.high=0.5", "--json"]) == 0
    assert answer(capsys)["result"]["settings"]["identity_range"]["high"] == 0.5
    assert run(["degrade", "style-sheet", "--dry-run", "--json"]) == 0
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*TRAIN, "--preset", "huge"], "no preset 'huge'"),
        ([*TRAIN, "--set", "identity_rage.high=1"], "did you mean 'identity_range.high'"),
        ([*TRAIN, "--set", "lr=abc"], "lr: Input should be a valid number"),
        ([*TRAIN, "--target", "nowhere"], "no folder and no view 'nowhere'"),
        (["degrade", "style-sheet", "--weights", "tinny"], "did you mean 'tiny'"),
        (["degrade", "style-sheet", "--magnitudes", "1;2"], "expected numbers with commas"),
        (["degrade", "style-sheet", "--basis", "10"], "basis 10 of 10"),
    ],
)
def test_mistakes_end_with_two_and_a_hint(here, capsys, argv, message):
    assert run(argv) == 2
    assert message in capsys.readouterr().err
    assert not (here / "runs").exists()
    assert not (here / "style-sheet").exists()


def test_without_an_identity_network_one_is_trained_and_found_again(here, store, capsys, monkeypatch):
    from lrfr.train.recipe import load_recipe

    brief = {"train.unit": "step", "train.length": 1, "train.milestones": [], "train.batch_size": 8}
    monkeypatch.setattr(
        "lrfr.experiment.style_here.load_recipe",
        lambda method, set: load_recipe(method, set={**set, **brief}),
    )
    without = [word for word in TRAIN if word not in {"--identity", "identity"}]
    argv = [*without, "--threads", "1", "--store", str(store), "--max-steps", "1"]
    assert run([*argv, "--device", "cpu"]) == 0
    assert "identity network runs/identity" in capsys.readouterr().err
    made = (here / "runs" / "identity" / "journal.jsonl").stat().st_mtime_ns
    assert run([*argv, "--name", "again"]) == 0
    assert (here / "runs" / "identity" / "journal.jsonl").stat().st_mtime_ns == made
    recorded = json.loads((here / "runs" / "again" / "run.json").read_text())["identity"]["identity"]
    assert recorded == checkpoint.digest_of(here / "runs" / "identity")
