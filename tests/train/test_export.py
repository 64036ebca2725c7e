"""Export and import: other programs compute what torch computes; damaged and wrong files are refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from lrfr.core.errors import DataError, SpecError
from lrfr.train import checkpoint
from lrfr.train.backbones.branched import BTNet
from lrfr.train.backbones.table import build_backbone
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.export_model import export, run_onnx
from lrfr.train.weights.import_weights import embedded_faces, import_weights
from lrfr.train.weights.load_nets import load_embedder, load_nets
from lrfr.train.weights.model_identity import ModelIdentity


def write_checkpoint(folder, name, options=(), parents=None):
    torch.manual_seed(0)
    recipe = load_recipe(name, "tiny", options)
    nets = recipe.make().build(4, parents)
    identity = ModelIdentity(name, recipe.options, 4, view="v")
    state = {"step": 7, "metrics": {"accuracy": 0.5}, "best": None}
    checkpoint.save(
        folder, checkpoint.Checkpoint(identity.as_dict(), checkpoint.model_tensors(nets), state, {}, {})
    )
    return folder


def test_onnx_equals_torch_at_any_batch_size(tmp_path):
    pytest.importorskip("onnxruntime")
    folder = write_checkpoint(tmp_path / "ckpt", "baseline")
    files = export(
        folder,
        tmp_path / "out",
        onnx=True,
        safetensors=True,
        card={"License": "CC0", "Data": "invented faces"},
    )
    assert [file.name for file in files] == ["baseline-112.onnx", "baseline-112.safetensors", "model-card.md"]
    x = torch.rand(5, 3, 112, 112) * 2 - 1
    net = load_nets(folder).nets["net"]
    expected = net(x).detach().numpy()
    # of the largest value: older onnxruntimes add in another order
    assert np.abs(run_onnx(files[0], x.numpy()) - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
    assert load_file(files[1]).keys() == net.plain_state().keys()
    card = files[2].read_text()
    assert "CC0" in card and "invented faces" in card and '"accuracy": 0.5' in card and "sha256" in card


def test_branch_packs_rebuild_the_branches(tmp_path):
    folder = write_checkpoint(tmp_path / "ckpt", "btnet-branch")
    files = {file.name: file for file in export(folder, tmp_path / "out", branch_packs=True)}
    nets = load_nets(folder).nets
    fresh = load_nets(write_checkpoint(tmp_path / "other", "btnet-branch")).nets
    net, other = nets["net"], fresh["net"]
    assert isinstance(other, BTNet)
    with torch.no_grad():
        for parameter in other.net(14).parameters():
            parameter.add_(0.1)
    other.trunk.load_state_dict(net.trunk.state_dict())
    other.load_pack(14, load_file(files["branch-14.safetensors"]))
    x = torch.randn(1, 3, 14, 14)
    assert torch.equal(other.eval()(x), net(x))
    with pytest.raises(SpecError, match="has no branches"):
        export(write_checkpoint(tmp_path / "b", "baseline"), tmp_path / "o", branch_packs=True)


def test_import_of_safetensors_with_insightface_names(tmp_path):
    torch.manual_seed(3)
    net = build_backbone("tiny").eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    import_weights(tmp_path / "w.safetensors", tmp_path / "rgb", "tiny")
    import_weights(tmp_path / "w.safetensors", tmp_path / "bgr", "tiny", bgr=True)
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    rgb, bgr = (
        load_embedder(tmp_path / "rgb")([image]),
        load_embedder(tmp_path / "bgr")([image[:, :, ::-1].copy()]),
    )
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert np.allclose(rgb, net(x).detach().numpy(), atol=1e-5)
    assert np.allclose(rgb, bgr, atol=1e-5)
    with pytest.raises(DataError, match="do not fit"):
        import_weights(tmp_path / "w.safetensors", tmp_path / "x", "tiny-lrfr")
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(DataError):
        import_weights(tmp_path / "bad.safetensors", tmp_path / "x", "tiny")
    (tmp_path / "w.pt").write_bytes(b"\x80\x04")
    with pytest.raises(DataError, match="it was not run"):
        import_weights(tmp_path / "w.pt", tmp_path / "x", "tiny")


def test_import_of_a_folded_mobilefacenet(tmp_path, faces_dir):
    onnxruntime = pytest.importorskip("onnxruntime")
    source = faces_dir / "weights" / "mobilefacenet.onnx"
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 3, 112, 112)).astype(np.float32)
    faces = torch.from_numpy(pixels / 127.5 - 1)
    import_weights(source, tmp_path / "ckpt", "mobilefacenet-small", calibrate_on=faces)
    net = load_nets(tmp_path / "ckpt").nets["net"]
    session = onnxruntime.InferenceSession(str(source))
    wanted = np.concatenate([session.run(None, {"input": (image[None] - 127) / 128})[0] for image in pixels])
    assert np.abs(net(faces).detach().numpy() - wanted).max() < 1e-5
    net.train()(faces).square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    with pytest.raises(DataError, match="--backbone mobilefacenet-small"):
        import_weights(source, tmp_path / "x", "tiny")


def test_weights_that_have_vanished_become_zero(tmp_path):
    net = load_recipe("baseline", "tiny").make().build(0)["net"]
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    first = next(name for name, value in weights.items() if value.ndim == 4)
    weights[first].view(-1)[:3] = torch.tensor([1e-30, -1e-40, 1e-10])
    save_file(weights, tmp_path / "w.safetensors")
    import_weights(tmp_path / "w.safetensors", tmp_path / "run", "tiny")
    found = load_nets(tmp_path / "run").nets["net"].state_dict()
    assert found[first].view(-1)[:3].tolist() == [0.0, 0.0, float(np.float32(1e-10))]
    assert all(torch.equal(found[name], weights[name]) for name in weights if name != first)


def test_an_onnx_file_that_is_none(tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "x.onnx").write_bytes(b"junk" * 10)
    with pytest.raises(DataError):
        import_weights(tmp_path / "x.onnx", tmp_path / "y", "mobilefacenet-small")


class Plain(nn.Module):
    """A MobileFaceNet with the layer names of arcface_torch and nothing else, from plain torch layers."""

    def __init__(self, scale, emb_dim):
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale

        def block(c_in, c_out, kernel, stride=1, groups=1, linear=False):
            layers = [
                nn.Conv2d(c_in, c_out, kernel, stride, 1 if kernel == 3 else 0, groups=groups, bias=False)
            ]
            layers += [nn.BatchNorm2d(c_out), *([] if linear else [nn.PReLU(c_out)])]
            return _Layers(nn.Sequential(*layers))

        def unit(c_in, c_out, hidden, stride=2, residual=False):
            three = (
                block(c_in, hidden, 1),
                block(hidden, hidden, 3, stride, hidden),
                block(hidden, c_out, 1, linear=True),
            )
            return _Layers(nn.Sequential(*three), residual)

        def row(channels, count, hidden):
            return _Layers(nn.Sequential(*(unit(channels, channels, hidden, 1, True) for _ in range(count))))

        parts = [
            block(3, narrow, 3, 2),
            block(narrow, narrow, 3, groups=64),
            unit(narrow, narrow, 128),
            row(narrow, 4, 128),
        ]
        parts += [unit(narrow, wide, 256), row(wide, 6, 256), unit(wide, wide, 512), row(wide, 2, 256)]
        self.layers = nn.ModuleList(parts)
        self.conv_sep = block(wide, 512, 1)
        tail = (
            block(512, 512, 7, groups=512, linear=True),
            nn.Flatten(),
            nn.Linear(512, emb_dim, bias=False),
            nn.BatchNorm1d(emb_dim),
        )
        self.features = _Layers(nn.Sequential(*tail))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))


class _Layers(nn.Module):
    def __init__(self, layers, residual=False):
        super().__init__()
        self.layers, self.residual = layers, residual

    def forward(self, x):
        return self.layers(x) + x if self.residual else self.layers(x)


@pytest.mark.parametrize(
    ("scale", "shift"), [(1.0, 0.0), (127.5 / 128, 0.0), (127.5 / 128, 0.5 / 128), (2.0, -0.5)]
)
def test_a_mobilefacenet_with_its_input_range_loads_strictly_into_arcface_torch(tmp_path, scale, shift):
    folder = write_checkpoint(tmp_path / "ckpt", "baseline", ["backbone=mobilefacenet-small"])
    found = load_nets(folder)
    net = found.nets["net"].eval()
    x = torch.rand(6, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        net.train()(x)  # batch norms of a net that has seen something
        net.input_scale.fill_(scale)
        net.input_shift.fill_(shift)
        wanted = net.eval()(x)
        plain = Plain(1, 512).eval()
        plain.load_state_dict(net.plain_state(), strict=True)
        found = plain(x)
        apart = float((found - wanted).abs().max() / wanted.abs().max())
        # what touches no padding is the same to the last bits
        first, own = plain.layers[0](x), net.layers[0](x * scale + shift)
    assert float((first - own)[..., 1:, 1:].abs().max()) < 1e-5 * float(own.abs().max())
    if shift == 0:
        assert apart < 1e-5
    elif abs(shift) < 0.01:
        assert float(F.cosine_similarity(found, wanted).min()) > 0.9999


def test_the_export_of_an_imported_mobilefacenet_keeps_its_input_range_inside(tmp_path, faces_dir):
    pytest.importorskip("onnx")
    source = faces_dir / "weights/mobilefacenet.onnx"
    folder = tmp_path / "imported"
    import_weights(source, folder, "mobilefacenet-small")
    files = export(folder, tmp_path / "out", safetensors=True)
    state = load_file(files[0])
    net = load_nets(folder).nets["net"].eval()
    assert not [name for name in state if name.startswith("input_")]
    plain = Plain(1, net.emb_dim).eval()
    plain.load_state_dict(state, strict=True)
    x = embedded_faces(16)
    with torch.no_grad():
        assert float(F.cosine_similarity(plain(x), net(x)).min()) > 0.9999
