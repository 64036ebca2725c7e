"""What a file of weights may look like around its network, and what is refused, in one line each."""

import json
import random
import re
import shlex
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from lrfr.core.errors import DataError, SpecError
from lrfr.train.backbones.table import build_backbone
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.foreign.input_contract import InputContract, Stated, parse_range
from lrfr.train.weights.foreign.names.families import FAMILIES
from lrfr.train.weights.foreign.names.recognize import Choice, layers_of
from lrfr.train.weights.import_weights import plan_import, write_import
from lrfr.train.weights.load_model import load_model
from lrfr.train.weights.load_nets import load_nets


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = build_backbone("tiny").train()
    with torch.no_grad():
        net(torch.randn(8, 3, 112, 112))
    return net.eval()


def faces(count=2, side=112):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def saved(path, tree, legacy=False):
    torch.save(tree, path, _use_new_zipfile_serialization=not legacy)
    return path


def under(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


PREFIXES = [
    "",
    "module.",
    "backbone.",
    "model.",
    "net.",
    "module.backbone.",
    "_orig_mod.module.",
    "student.encoder.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrap", ["", "state_dict", "checkpoint.weights"])
def test_every_prefix_in_every_wrapping(tmp_path, net, prefix, wrap):
    tree = under(prefix, net.state_dict())
    if prefix:  # a head beside the network is no part of it
        tree = under(prefix, net.state_dict()) | {"head.weight": torch.ones(9, 128)}
    for word in reversed(wrap.split(".") if wrap else []):
        tree = {
            word: tree,
            "epoch": 3,
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": []},
        }
    plan = plan_import(saved(tmp_path / "w.pth", tree, legacy=len(prefix) % 2 == 0))
    assert (plan.found.backbone, plan.found.prefix, plan.found.place) == ("tiny", prefix, wrap)
    assert plan.found.beside == (("head.weight",) if prefix else ())


def test_a_whole_pickled_module_and_lightning_and_bare_counters(tmp_path, net):
    whole = nn.Sequential(build_backbone("tiny"))
    whole[0].load_state_dict(net.state_dict())
    plan = plan_import(saved(tmp_path / "w.pt", {"model": whole}))
    assert (plan.found.backbone, plan.found.prefix) == ("tiny", "0.")
    wanted = net.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in plan.found.tensors.items())
    bare = {name: tensor for name, tensor in wanted.items() if not name.endswith("num_batches_tracked")}
    assert plan_import(saved(tmp_path / "b.ckpt", {"state_dict": bare})).found.backbone == "tiny"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_kinds_of_numbers(tmp_path, net, kind):
    state = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor
        for name, tensor in net.state_dict().items()
    }
    path, before = saved(tmp_path / "w.bin", state), random_states()
    write_import(plan_import(path), tmp_path / "run")
    assert random_states() == before
    found = load_nets(tmp_path / "run").nets["net"].state_dict()
    assert all(torch.equal(found[name], tensor.to(found[name].dtype)) for name, tensor in state.items())


def test_averaged_weights_are_preferred_and_the_others_named(tmp_path, net):
    other = {name: tensor + 1 for name, tensor in net.state_dict().items()}
    path = saved(tmp_path / "w.pth", {"state_dict": other, "state_dict_ema": net.state_dict()})
    plan = plan_import(path)
    assert plan.found.place == "state_dict_ema" and plan.found.others == ("state_dict",)
    assert torch.equal(plan.found.tensors["conv1.weight"], net.conv1.weight)
    chosen = plan_import(path, Choice(part="state_dict"))
    assert torch.equal(chosen.found.tensors["conv1.weight"], other["conv1.weight"])
    with pytest.raises(SpecError, match=r"no network 'teacher'.*'state_dict_ema', 'state_dict'"):
        plan_import(path, Choice(part="teacher"))
    both = under("student.", net.state_dict()) | under("teacher.", other)
    plan = plan_import(saved(tmp_path / "two.pth", both))
    assert (
        plan.found.others
        and plan_import(tmp_path / "two.pth", Choice(part="teacher")).found.prefix == "teacher."
    )


def random_states():
    return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()  # noqa: NPY002


def refused(tmp_path, tree, *words, choice=None):
    path = saved(tmp_path / "w.pth", tree)
    with pytest.raises(DataError) as caught:
        plan_import(path, choice)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text and str(path) in text and len(text) < 700


def test_what_is_no_network_is_refused(tmp_path, net):
    head = torch.randn(50, 128)
    optimizer = {"state": {0: {"exp_avg": head}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    refused(tmp_path, {"weight": head}, "a head alone (weight: 50 x 128)", "backbone's weights")
    refused(tmp_path, {"state_dict": {"kernel": head, "t": torch.ones(1)}}, "a head alone")
    refused(tmp_path, {"optimizer": optimizer}, "an optimizer's state")
    refused(tmp_path, {"epoch": 3, "loss": [0.5]}, "no tensors with names")
    quantized = torch.quantize_per_tensor(head, 0.1, 0, torch.qint8)
    refused(tmp_path, {"fc.weight": quantized}, "quantized weights are not read")
    refused(
        tmp_path,
        {"stem.weight": torch.ones(8, 3, 3, 3)},
        "1 tensors of no known family (stem.weight",
        "adaface",
    )


def test_weights_of_a_family_that_fit_nothing_name_their_faults(tmp_path, net):
    state = net.state_dict()
    less = {name: tensor for name, tensor in state.items() if not name.startswith("layer4")}
    refused(tmp_path, less, "insightface weights do not fit 'tiny'", "missing (layer4.0.bn1.weight)")
    other = state | {"fc.weight": torch.ones(64, 2048)}
    refused(tmp_path, other, "of another shape (fc.weight: [64, 2048], expected [128, 2048])")
    refused(tmp_path, state | {"layer1.0.rpe.weight": torch.ones(2)}, "unknown (layer1.0.rpe.weight)")
    refused(tmp_path, state, "do not fit 'tiny-gap'", "--backbone tiny", choice=Choice("tiny-gap"))
    with pytest.raises(SpecError, match="did you mean 'adaface'"):
        plan_import(saved(tmp_path / "w.pth", state), Choice(family="adafaces"))
    with pytest.raises(SpecError, match="unknown backbone"):
        plan_import(tmp_path / "w.pth", Choice("tinyy"))


@pytest.mark.parametrize("text", ["-1,1", "0,1", "0,255", "127/128", "imagenet"])
@pytest.mark.parametrize("bgr", [False, True])
def test_any_input_is_brought_to_ours_exactly(tmp_path, net, text, bgr):
    plan = plan_import(saved(tmp_path / "w.pth", net.state_dict()), None, Stated(text, bgr))
    write_import(plan, tmp_path / "run")
    mean, std = parse_range(text)
    x = InputContract(channels="bgr" if bgr else "rgb", mean=mean, std=std).apply(np.stack(faces()))
    with torch.no_grad():
        wanted = net(torch.from_numpy(x))
    found = torch.from_numpy(load_model(tmp_path / "run")(faces()))
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


@pytest.mark.parametrize("bgr", [False, True])
def test_a_mobilefacenet_takes_a_mean_for_each_channel(tmp_path, bgr):
    torch.manual_seed(0)
    net = build_backbone("tiny-mobilefacenet").eval()
    plan = plan_import(saved(tmp_path / "w.pth", net.state_dict()), None, Stated("imagenet", bgr))
    write_import(plan, tmp_path / "run")
    mean, std = parse_range("imagenet")
    x = InputContract(channels="bgr" if bgr else "rgb", mean=mean, std=std).apply(np.stack(faces()))
    with torch.no_grad():
        wanted = net(torch.from_numpy(x))
    found = torch.from_numpy(load_model(tmp_path / "run")(faces()))
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5
    # it starts a training, and its plain weights hold the shift but for the first row and column
    nets = (
        load_recipe("baseline", "tiny", {"backbone": "tiny-mobilefacenet"})
        .make()
        .build(2, {"init": load_nets(tmp_path / "run").nets})
    )
    assert nets["net"].input_shift.shape == (3, 1, 1)
    plain = build_backbone("tiny-mobilefacenet")
    plain.load_state_dict(nets["net"].plain_state(), strict=False)
    y = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        shifted = nets["net"].eval().layers[0](y * nets["net"].input_scale + nets["net"].input_shift)
        folded = plain.eval().layers[0](y)
    assert torch.allclose(shifted[..., 1:, 1:], folded[..., 1:, 1:], atol=1e-5)


def test_what_is_printed_next_is_typed_and_works(lrfr, tmp_path, net):
    saved(tmp_path / "my weights.pth", net.state_dict())
    code, out, err = lrfr("import-weights", "my weights.pth")
    assert code == 0, err
    words = shlex.split(re.search(r"next: lrfr (.*)", out + err)[1])
    code, out, err = lrfr(*words, "--sizes", "112", "--replicates", "0")
    assert code == 0 and "112" in out, err
    code, out, err = lrfr("export", words[1], "--safetensors", "--out", "again")
    assert code == 0, err
    code, out, err = lrfr("import-weights", next((tmp_path / "again").glob("*.safetensors")), "--dry-run")
    assert code == 0 and "backbone tiny," in out, err


def test_the_command_says_what_it_found_and_writes_nothing_on_a_dry_run(lrfr, tmp_path, net):
    saved(
        tmp_path / "w.ckpt",
        {"state_dict": under("model.", net.state_dict()) | {"head.kernel": torch.ones(3, 3)}},
    )
    code, out, err = lrfr("import-weights", "w.ckpt", "--dry-run", "--json")
    said = json.loads(out)["result"]
    assert code == 0 and not (tmp_path / "runs").exists(), err
    assert (said["family"], said["backbone"], said["part"]) == ("insightface", "tiny", "state_dict.model")
    assert said["beside"] == ["head.kernel"] and said["digest"] is None
    code, out, err = lrfr("import-weights", "w.ckpt", "--json")
    assert code == 0 and len(json.loads(out)["result"]["digest"]) == 64, err
    assert "sha256" in (tmp_path / "runs/w/model-card.md").read_text()
    code, out, err = lrfr("import-weights", "w.ckpt")
    assert code == 0 and "already" in out + err
    code, out, err = lrfr("import-weights", "w.ckpt", "--bgr")  # it would go on with the old reading
    assert code == 2 and "made of the same file with another input (choose another --out)" in err
    (tmp_path / "junk.pth").write_bytes(b"junk")
    code, out, err = lrfr("import-weights", "junk.pth")
    assert code == 3 and len(err.strip().splitlines()) == 1
    assert lrfr("import-weights", "w.ckpt", "--bgr", "--rgb", "--out", "x")[0] == 2


def test_a_mobilefacenet_by_every_form_embeds_alike(tmp_path, faces_dir):
    """The same weights as ONNX, both formats of torch.save, safetensors and ONNX again."""
    onnxruntime = pytest.importorskip("onnxruntime")
    source = faces_dir / "weights" / "mobilefacenet.onnx"
    images = faces(4)
    session = onnxruntime.InferenceSession(str(source))
    pixels = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
    wanted = np.concatenate([session.run(None, {"input": (x[None] - 127) / 128})[0] for x in pixels])
    layers_of.cache_clear()
    before = random_states()
    write_import(plan_import(source), tmp_path / "onnx")
    assert random_states() == before  # they are the process's: a training in another thread draws from them
    plain = load_nets(tmp_path / "onnx").nets["net"].state_dict()
    own = {name: tensor for name, tensor in plain.items() if not name.startswith("input_")}
    save_file(own, tmp_path / "st.safetensors")
    saved(tmp_path / "zip.pth", own)
    saved(tmp_path / "legacy.pth", {"state_dict": under("module.backbone.", own)}, legacy=True)
    for name in ("st.safetensors", "zip.pth", "legacy.pth"):
        write_import(plan_import(tmp_path / name, None, Stated("127/128")), tmp_path / name.partition(".")[0])
    found = {name: load_model(tmp_path / name)(images) for name in ("onnx", "st", "zip", "legacy")}
    assert all(np.array_equal(rows, found["onnx"]) for rows in found.values())
    assert np.abs(found["onnx"] - wanted).max() < 1e-5 * np.abs(wanted).max()


def onnx_of(net, path, side=112, fold=True, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.randn(1, 3, side, side),), str(path), dynamo=False, opset_version=17,
            input_names=["data"], output_names=["out"], do_constant_folding=fold,
            training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE, **changes,
        )  # fmt: skip
    return path


class Scaled(nn.Module):
    """A net whose graph takes pixels."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 127.5))

    def forward(self, x):
        return self.net((x - self.mean) * 0.0078125)


@pytest.mark.parametrize(
    ("backbone", "fold"),
    [
        *((name, True) for name in ("tiny", "tiny-facex", "tiny-ir", "tiny-mobilefacenet")),
        ("tiny-lrfr", False),
    ],
)
def test_graphs_with_and_without_their_norms(tmp_path, backbone, fold):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(len(backbone))
    net = build_backbone(backbone).train()
    with torch.no_grad():
        net(torch.randn(8, 3, 112, 112))
    path = onnx_of(net, tmp_path / "w.onnx", fold=fold)
    plan = plan_import(path, None, Stated("-1,1"))
    assert plan.found.backbone == backbone and (len(plan.folded) > 0) == fold
    write_import(plan, tmp_path / "run")
    x = torch.from_numpy(np.stack(faces())).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        wanted = net.eval()(x)
    found = torch.from_numpy(load_model(tmp_path / "run")(faces()))
    assert float((F.normalize(found) - F.normalize(wanted)).abs().max()) < 1e-5


def test_a_graph_that_scales_pixels_by_itself(tmp_path):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(1)
    net = build_backbone("tiny").eval()
    plan = plan_import(onnx_of(Scaled(net), tmp_path / "w.onnx"))
    assert np.allclose(plan.contract.mean, 127.5) and np.allclose(plan.contract.std, 128)
    write_import(plan, tmp_path / "run")
    x = (torch.from_numpy(np.stack(faces())).permute(0, 3, 1, 2).float() - 127.5) / 128
    with torch.no_grad():
        wanted = net(x)
    assert torch.allclose(torch.from_numpy(load_model(tmp_path / "run")(faces())), wanted, atol=1e-5)


def test_the_docs_name_every_family_as_the_table_does():
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs" / "foreign.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    told = {row.split("`")[1]: row for row in rows}
    assert told.keys() >= set(FAMILIES)
    for name, family in FAMILIES.items():
        order, words = family.contract.channels.upper(), family.contract.range_name
        assert f"{order}, {words}" in told[name], name
