"""One call for every kind of model, files that the group may read, and imports that name what would fit."""

import builtins
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.machine import own_draws
from lrfr.train import checkpoint
from lrfr.train.backbones.table import build_backbone
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.export_model import export
from lrfr.train.weights.import_weights import import_weights
from lrfr.train.weights.load_model import load_model
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.routes.router import write_routes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "run" / "checkpoints" / "step-00000001"
    folder.parent.mkdir(parents=True)
    torch.manual_seed(0)
    recipe = load_recipe("baseline", "tiny")
    nets = recipe.make().build(0)
    identity = ModelIdentity("baseline", recipe.options).as_dict()
    checkpoint.save(
        folder, checkpoint.Checkpoint(identity, checkpoint.model_tensors(nets), {"step": 1}, {}, {})
    )
    return folder.parents[1]


def test_a_save_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """On a full disk what was begun of a checkpoint would hold the room that is left."""
    made = checkpoint.Checkpoint({"options": {}}, {"x": torch.ones(9)}, {}, {}, {})
    checkpoint.save(tmp_path / "step-1", made)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lrfr.train.checkpoint.checkpoint_files._seal", full)
    with pytest.raises(EnvironmentFault, match="disk full"):
        checkpoint.save(tmp_path / "step-1", made)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    assert torch.equal(checkpoint.load(tmp_path / "step-1").model["x"], torch.ones(9))


def faces():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((112, 112), (20, 24), (7, 9))]


def test_run_checkpoint_router_and_onnx_embed_alike(run, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    wanted = load_model(run)(faces())
    assert wanted.shape == (3, 128) and wanted.dtype == np.float32
    assert np.array_equal(load_model(str(run / "checkpoints/step-00000001"))(faces()), wanted)
    write_routes(tmp_path / "routed", [(28, run), (None, run)])
    assert np.allclose(load_model(tmp_path / "routed")(faces()), wanted, atol=1e-5)
    file = export(run, tmp_path / "out", onnx=True)[0]
    found = load_model(file)
    assert np.allclose(found(faces()), wanted, atol=1e-4) and os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    with pytest.raises(ValueError, match="at least one"):
        found([])


def test_what_is_no_model_is_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="neither a checkpoint nor a run"):
        load_model(tmp_path)
    pytest.importorskip("onnxruntime")
    with pytest.raises(SpecError, match="no such file"):
        load_model(tmp_path / "none.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 10)
    with pytest.raises(DataError, match="not an ONNX file"):
        load_model(tmp_path / "junk.onnx")
    load = builtins.__import__

    def without(name, *rest):
        if name == "onnxruntime":
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EnvironmentFault, match=r"lrfr\[onnx\]"):
        load_model(tmp_path / "junk.onnx")


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_the_umask_decides_who_reads_a_checkpoint(tmp_path, mask):
    before = os.umask(mask)
    try:
        checkpoint.save(
            tmp_path / "c", checkpoint.Checkpoint({}, {"x": torch.ones(3)}, {}, {"o": torch.ones(1)}, {})
        )
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "c").iterdir()}
    assert len(modes) == 4 and set(modes.values()) == {0o666 & ~mask}


@pytest.mark.parametrize(
    ("backbone", "given", "words"),
    [
        ("iresnet34", "iresnet18", ["unknown (layer1.2", "--backbone iresnet34"]),
        ("iresnet18", "iresnet34", ["missing (layer1.2", "--backbone iresnet18"]),
        ("tiny-cbam", "tiny", ["unknown (layer1.0.cbam", "--backbone tiny-cbam"]),
    ],
)
def test_weights_of_another_backbone_are_refused_with_the_one_that_fits(tmp_path, backbone, given, words):
    save_file(build_backbone(backbone).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(DataError) as caught:
        import_weights(tmp_path / "w.safetensors", tmp_path / "run", given)
    assert all(word in str(caught.value) for word in [f"do not fit '{given}'", *words])
    assert not (tmp_path / "run").exists()


def test_weights_of_no_backbone_and_weights_without_counters(tmp_path):
    whole = build_backbone("tiny").state_dict()
    save_file({**whole, "extra.weight": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"1 unknown \(extra.weight\).*no backbone of lrfr"):
        import_weights(tmp_path / "w.safetensors", tmp_path / "run", "tiny")
    bare = {name: tensor for name, tensor in whole.items() if not name.endswith("num_batches_tracked")}
    save_file(bare, tmp_path / "w.safetensors")
    assert len(import_weights(tmp_path / "w.safetensors", tmp_path / "run", "tiny")) == 64


def test_a_manifest_without_a_field_names_it(run, tmp_path):
    folder = tmp_path / "c"
    checkpoint.save(folder, checkpoint.Checkpoint({"options": {}}, {"x": torch.ones(1)}, {}, {}, {}))
    with pytest.raises(DataError, match="method"):
        load_model(folder)


def test_a_model_that_is_loaded_draws_apart(run):
    """Torch's random state is the process's: a training in another thread draws from it."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_model(run)
    assert torch.equal(torch.get_rng_state(), before)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    inside, done = threading.Event(), threading.Event()

    def build():
        with own_draws():
            inside.set()
            assert done.wait(60)
            return [torch.randn(3), torch.rand(4), torch.randperm(7), torch.normal(torch.zeros(3), 1.0),
                    nn.init.orthogonal_(torch.empty(3, 3)), nn.init.trunc_normal_(torch.empty(5)),
                    torch.bernoulli(torch.full((4,), 0.5)), torch.empty(3).exponential_(), torch.rand_like(wanted),
                    torch.randint(9, (4,)), torch.multinomial(torch.ones(4), 2), nn.LSTM(3, 3).bias_hh_l0]  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(build)
        assert inside.wait(60)
        # while another thread is in there, this one draws what it always does
        assert torch.equal(torch.rand(3), wanted)
        torch.manual_seed(5)
        done.set()
        first = one.result()
        assert torch.equal(torch.get_rng_state(), before)
        second = pool.submit(build).result()
    assert torch.equal(torch.get_rng_state(), before) and all(map(torch.equal, first, second))
