"""The loop: resumed runs end with the same bytes, other runs are refused, weights come out calibrated."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, NumericFault, SpecError
from lrfr.core.image import decode
from lrfr.core.progress import Hooks
from lrfr.degrade.style.weight_files import load_weights
from lrfr.train import checkpoint
from lrfr.train.engine.distributed import World
from lrfr.train.engine.journal import loss_trace, read
from lrfr.train.style.image_sets import in_memory
from lrfr.train.style.recognizer import Recognizer, load_recognizer
from lrfr.train.style.style_run import fit_cfsm
from lrfr.train.style.style_task import CfsmData, StyleTask
from tests.train.tiny_style import MATRIX, data, settings, with_mini_presets

# revision: first total and identity loss, fourth loss of the critics
GOLDEN = {1: [1.10444, 0.0320918, 0.855218]}


@pytest.fixture(scope="module", autouse=True)
def _mini_preset():
    patch = with_mini_presets()
    yield
    patch.undo()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, fit_cfsm(settings(), data(), folder, int8=True)


def test_a_run_in_pieces_ends_with_the_same_bytes(whole, tmp_path):
    folder, result = whole
    for stop in (1, 3, None):
        pieces = fit_cfsm(settings(), data(), tmp_path, int8=True, max_steps=stop)
    assert pieces.started_at == 3
    assert (tmp_path / "style.safetensors").read_bytes() == (folder / "style.safetensors").read_bytes()
    assert loss_trace(tmp_path / "journal.jsonl") == loss_trace(folder / "journal.jsonl")
    assert pieces.acceptance == result.acceptance


def test_the_global_generators_state_does_not_matter(whole, tmp_path):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    fit_cfsm(settings(), data(), tmp_path, int8=True)
    assert (tmp_path / "style.safetensors").read_bytes() == (whole[0] / "style.safetensors").read_bytes()
    assert torch.equal(torch.get_rng_state(), before)


def test_finished_weights_are_orthonormal_and_carry_their_history(whole):
    folder, result = whole
    model = load_weights(str(folder / "style.safetensors"))
    assert model.generator.subspace.orthonormality_error() <= 1e-6
    assert result.acceptance.orthonormality <= 1e-6
    assert {key: model.card.provenance[key] for key in ("source", "target", "identity", "steps")} == {
        "source": "source-0",
        "target": "target",
        "identity": "recognizer",
        "steps": 4,
    }
    assert model.card.curve.norms[0] == 0.0
    assert model.card.curve.distances[0] == pytest.approx(0, abs=1e-5)


def test_journal_names_pictures_that_are_there(whole):
    folder, _ = whole
    lines = read(folder / "journal.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    grids = [line["grid"] for line in lines if "grid" in line]
    assert len(grids) == 1
    assert decode((folder / grids[0]).read_bytes()).shape[0] > 4 * 32


def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path):
    fit_cfsm(settings(), data(), tmp_path, max_steps=3)
    newest = checkpoint.steps(tmp_path)[-1]
    (newest / "model.safetensors").write_bytes(b"x" + (newest / "model.safetensors").read_bytes()[1:])
    notes = []
    result = fit_cfsm(settings(), data(), tmp_path, int8=True, hooks=Hooks(on_note=notes.append))
    assert result.started_at == 2
    assert "passing over" in notes[0]
    assert (tmp_path / "style.safetensors").read_bytes() == (whole[0] / "style.safetensors").read_bytes()


def test_another_run_in_the_folder_is_refused(tmp_path):
    fit_cfsm(settings(), data(), tmp_path, max_steps=1)
    with pytest.raises(SpecError, match="another run: other source"):
        fit_cfsm(settings(), data(1), tmp_path)
    with pytest.raises(SpecError, match="another run: other lr, seed"):
        fit_cfsm(settings(lr=1.0, seed=4), data(), tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        fit_cfsm(settings(), data(), tmp_path)


def test_not_a_number_stops_and_keeps_the_last_checkpoint(tmp_path):
    fit_cfsm(settings(), data(), tmp_path, max_steps=2)
    poisoned = data()
    poisoned = CfsmData(
        poisoned.source,
        poisoned.target,
        Recognizer(lambda x: x.flatten(1) @ MATRIX * float("nan"), "recognizer"),
    )
    with pytest.raises(NumericFault, match="not finite at step 3"):
        fit_cfsm(settings(), poisoned, tmp_path)
    assert [folder.name for folder in checkpoint.steps(tmp_path)] == ["step-00000002"]
    assert not (tmp_path / "style.safetensors").exists()


def test_too_few_faces_are_refused(tmp_path):
    few = in_memory(np.zeros((100, 32, 32, 3), np.uint8), "few")
    with pytest.raises(DataError, match="too few"):
        fit_cfsm(settings(), CfsmData(few, few, data().recognizer), tmp_path)


@pytest.mark.parametrize("side", [56, 112])
def test_other_sizes_train(side, tmp_path):
    rng = np.random.default_rng(0)
    faces = in_memory(rng.integers(0, 256, (200, side, side, 3), dtype=np.uint8), "faces")
    recognizer = Recognizer(lambda x: torch.nn.functional.adaptive_avg_pool2d(x, 8).flatten(1), "pool")
    result = fit_cfsm(settings(size_px=side), CfsmData(faces, faces, recognizer), tmp_path, max_steps=2)
    assert result.steps == 2


def test_a_checkpoint_of_ours_is_an_identity_network_with_gradients_to_the_face_only(tmp_path):
    from lrfr.train.backbones.net_embedder import to_input
    from lrfr.train.methods.baseline import Baseline
    from lrfr.train.weights.load_nets import load_embedder

    method = Baseline(backbone="tiny")
    torch.manual_seed(0)
    nets = method.build(5)
    identity = {
        "method": "baseline",
        "options": {"backbone": "tiny"},
        "num_classes": 5,
        "attribute_names": [],
    }
    digest = checkpoint.save(
        tmp_path / "c", checkpoint.Checkpoint(identity, checkpoint.model_tensors(nets), {}, {}, {})
    )
    recognizer = load_recognizer(tmp_path / "c", 56)
    assert recognizer.digest == digest
    face = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    x = to_input(face[None]).requires_grad_(True)
    embedding = recognizer.embed(x)
    embedding.sum().backward()
    assert x.grad.abs().sum() > 0
    wanted = load_embedder(tmp_path / "c")([face])
    # the embedder resizes in uint8, the differentiable one in float
    assert torch.cosine_similarity(embedding.detach(), torch.from_numpy(wanted)) > 0.99


def test_a_run_that_knows_its_faces_by_a_former_name_goes_on(whole, tmp_path):
    fit_cfsm(settings(), data(), tmp_path, int8=True, max_steps=2)
    today = data()
    renamed = [
        dataclasses.replace(x, digest=f"new {x.digest}", former=(x.digest,))
        for x in (today.source, today.target)
    ]
    result = fit_cfsm(settings(), CfsmData(*renamed, today.recognizer), tmp_path, int8=True)
    assert (result.started_at, result.steps) == (2, 4)
    assert loss_trace(tmp_path / "journal.jsonl") == loss_trace(whole[0] / "journal.jsonl")
    other = dataclasses.replace(renamed[1], former=("of another set",))
    with pytest.raises(SpecError, match="another run: other target"):
        fit_cfsm(settings(), CfsmData(renamed[0], other, today.recognizer), tmp_path, int8=True)


def test_run_json_says_what_it_is(whole):
    run = json.loads((whole[0] / "run.json").read_text())
    assert run["method"] == "cfsm"
    assert run["threads"] == 1
    assert run["identity"]["target"] == "target"


def test_a_stop_that_is_asked_for_saves_and_says_how_far_it_came(whole, tmp_path):
    seen = []
    hooks = Hooks(lambda done, total, **info: seen.append((done, total)), should_stop=lambda: len(seen) > 2)
    result = fit_cfsm(settings(), data(), tmp_path, int8=True, hooks=hooks)
    assert (result.steps, result.weights, result.acceptance) == (2, None, None)
    assert seen == [(0, 8), (2, 8), (4, 8)]  # images of two a step
    assert fit_cfsm(settings(), data(), tmp_path, int8=True).started_at == 2
    assert (tmp_path / "style.safetensors").read_bytes() == (whole[0] / "style.safetensors").read_bytes()


def test_half_precision_scales_losses_and_keeps_the_scaler(tmp_path):
    fit_cfsm(settings(amp="fp16"), data(), tmp_path, max_steps=2)
    saved = checkpoint.load(checkpoint.steps(tmp_path)[-1])
    assert saved.state["scaler"]["scale"] > 1
    fit_cfsm(settings(amp="fp16"), data(), tmp_path, max_steps=3)
    full = fit_cfsm(settings(), data(), tmp_path / "full", max_steps=3)
    assert full.steps == 3
    half, whole = (loss_trace(path / "journal.jsonl") for path in (tmp_path, tmp_path / "full"))
    assert half[0][1]["total"] == pytest.approx(whole[0][1]["total"], rel=0.02)


def test_checkpoints_without_the_loops_newer_notes_go_on(whole, tmp_path):
    """Runs of the generator's own loop of before kept only step, threads and versions."""
    fit_cfsm(settings(), data(), tmp_path, max_steps=3)
    for folder in checkpoint.steps(tmp_path):
        saved = checkpoint.load(folder)
        kept = {key: saved.state[key] for key in ("step", "threads", "torch")}
        checkpoint.save(folder, dataclasses.replace(saved, state=kept))
    assert fit_cfsm(settings(), data(), tmp_path, int8=True).started_at == 3
    assert (tmp_path / "style.safetensors").read_bytes() == (whole[0] / "style.safetensors").read_bytes()


def test_what_the_same_settings_train_moves_only_with_a_revision(whole):
    """Values of the first and last step; where they must change, raise ``StyleTask.revision`` with them."""
    trace = loss_trace(whole[0] / "journal.jsonl")
    found = [trace[0][1][name] for name in ("total", "identity")] + [trace[3][1]["critics"]]
    assert found == pytest.approx(GOLDEN[StyleTask.revision], rel=1e-3)


def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path):
    with pytest.raises(SpecError, match="not a multiple of 2 processes"):
        fit_cfsm(settings(batch_size=3), data(), tmp_path, world=World(0, 2))
