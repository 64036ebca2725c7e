"""Odd files of weights: read rightly, or refused in one line that says what to do."""

import os
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.train.backbones.table import BACKBONES, build_backbone
from lrfr.train.weights.foreign.foreign_file import ForeignFile
from lrfr.train.weights.foreign.input_contract import InputContract
from lrfr.train.weights.foreign.names.recognize import Choice
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.import_weights import filled, imported_before, plan_import, write_import
from lrfr.train.weights.load_model import load_model
from tests.train.foreign.odd_files import MADE, saved, shards_of_torch
from tests.train.foreign.odd_graphs import GRAPHS, exported

# name: what the one line says
REFUSED = {
    "zip_of_something_else": "a ZIP archive of something else ('word/document.xml') (give the file",
    "zip_around_a_file": "a ZIP archive around 'backbone.pth' (unpack it",
    "torchscript": "a TorchScript archive, which is a program (lrfr eval --trust-code",
    "arrays_of_numpy": "'conv1.weight' is an array of numpy (save plain tensors",
    "plain_pickle_of_arrays": "does not begin as torch.save writes; save a dictionary of tensors",
    "archive_of_numpy": "an archive of numpy (save a dictionary of tensors",
    "sparse_weights": "1 of its tensors are not read: 'fc.weight' is sparse (save plain tensors",
    "complex_weights": "'fc.weight' is complex (save plain tensors",
    "quantized_weights": "'fc.weight' is quantized (save plain tensors",
    "weights_that_are_not_finite": "1 tensors have numbers that are not finite (fc.weight)",
    "tensors_without_numbers": "is without numbers (of the device meta)",
    "one_shard_alone": "one of 2 parts of a model (give pytorch_model.bin.index.json)",
    "shards_with_one_missing": "a part is missing: 'pytorch_model-00002-of-00002.bin' (fetch all",
    "shards_outside": "its parts do not lie beside it: '../pytorch_model-00001-of-00002.bin'",
    "settings_of_a_model": "JSON, no file of weights (give the file of the weights)",
    "file_within_a_tar": "a tar archive, no file of weights (unpack it",
    "packed_by_gzip": "a file packed by gzip, no file of weights (unpack it",
    "pointer_of_git_lfs": "a pointer of Git LFS in place of the file, no file of weights (git lfs pull)",
    "pointer_named_safetensors": "(git lfs pull)",
    "pointer_named_onnx": "(git lfs pull)",
    "nothing": "the file has no bytes (fetch it again)",
    "nothing_named_safetensors": "the file has no bytes",
    "nothing_named_onnx": "the file has no bytes",
    "page_of_a_drive": "a web page in place of the file (fetch it again",
    "page_named_onnx": "a web page in place of the file",
    "answer_of_a_server": "JSON, no file of weights",
    "cut_off": "a ZIP archive whose end is missing or damaged (fetch it again)",
    "cut_off_legacy": "is not where it should be",
    "cut_off_safetensors": "(cut off? fetch it again)",
    "optimizer_alone": "an optimizer's state alone",
    "head_alone_of_columns": "a head alone (fc.weight: 128 x 9)",
    "keras_file": "an HDF5 file, as Keras writes, no file of weights (export it as ONNX",
    "keras_named_pth": "an HDF5 file",
    "light_tensorflow": "a model of TensorFlow Lite",
    "parameters_of_mxnet": "parameters of MXNet",
    "gguf": "a GGUF file",
    "ordered_lists": "no tensors with names",
}
# name: what import-weights says, what lrfr eval says; nothing where it is taken
NO_MIRROR = (
    "goes into Conv and Slice, expected a convolution (lrfr eval and --parent teacher= take it as it is)"
)
GRAPH_FAULTS = {
    "weights_beside_are_missing": ("its weights are missing: 'w.data' (copy both files)",) * 2,
    "with_its_mirror_image": (NO_MIRROR, ""),
    "sum_with_its_mirror_image": (NO_MIRROR, ""),
    "reversed_channels_inside": ("goes into a Slice, expected a convolution (lrfr eval", ""),
    "oblong": ("expected a convolution", "takes [1, 3, 112, 96], expected one input [B, 3, S, S]"),
    "classes_in_place_of_an_embedding": ("gives int64 [1] for 1 faces, expected embeddings",) * 2,
    "two_inputs": ("a graph of 2 inputs, expected one picture", "has 2 inputs, a recognizer has one"),
    "cut_off": ("not an ONNX file: DecodeError (cut off? fetch it again)",) * 2,
}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = build_backbone("tiny").train()
    with torch.no_grad():
        net(torch.randn(8, 3, 112, 112))
    return net.eval()


def one_line(error, path):
    text = str(error)
    assert "\n" not in text and str(path) in text and len(text) < 700, text
    return text


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_file_is_read_rightly_or_refused_in_one_line(tmp_path, net, name):
    wanted = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    path = MADE[name](tmp_path, net, net.state_dict())
    before = sorted(tmp_path.iterdir())
    if name in REFUSED:
        with pytest.raises((DataError, SpecError)) as caught:
            plan_import(path)
        assert REFUSED[name] in one_line(caught.value, path)
    else:
        found = plan_import(path).found
        assert (found.family, found.backbone) == ("insightface", "tiny")
        near = 1e-3 if name == "half_numbers" else 0
        weights = {key: tensor for key, tensor in wanted.items() if not key.endswith("num_batches_tracked")}
        assert all(torch.allclose(found.tensors[key].float(), weights[key], near, near) for key in weights)
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_in_parts_is_known_by_all_of_them(tmp_path, net):
    path = shards_of_torch(tmp_path, net, net.state_dict())
    write_import(plan_import(path), tmp_path / "run")
    assert imported_before(tmp_path / "run", path)
    part = tmp_path / "pytorch_model-00002-of-00002.bin"
    torch.save({key: value + 1 for key, value in torch.load(part).items()}, part)
    with pytest.raises(SpecError, match="exists already"):
        imported_before(tmp_path / "run", path)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    for path, words in ((tmp_path / "pipe.pth", "no regular file"), (tmp_path, "a folder")):
        with pytest.raises(SpecError, match=words):
            plan_import(path)
    with pytest.raises(SpecError, match="cannot read: No such file"):
        plan_import(tmp_path / "none.pth")


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_a_graph_is_read_rightly_or_refused_in_one_line(tmp_path, net, name):
    pytest.importorskip("onnxruntime")
    path = GRAPHS[name](tmp_path, net)
    faults = GRAPH_FAULTS.get(name, ("", ""))
    images = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)

    def imported():
        plan = plan_import(path)
        with torch.no_grad():
            rows = filled(plan)(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1)
        return rows, plan.contract

    def as_it_is():
        embed = ForeignEmbedder(ForeignFile(path))
        return torch.from_numpy(embed(list(images))), embed.contract

    for way, fault in zip((imported, as_it_is), faults, strict=True):
        if fault:
            with pytest.raises(LrfrError) as caught:
                way()
            assert fault in one_line(caught.value, path)
            continue
        rows, contract = way()
        if any(faults):
            continue  # another function than the network's
        if name in INSIDE and way is as_it_is:
            assert contract.range_name == "0,255"
            contract = InputContract(mean=INSIDE[name][0], std=INSIDE[name][1])
        x_bchw = InputContract(mean=contract.mean, std=contract.std).apply(images)
        with torch.no_grad():
            wanted = net(torch.from_numpy(x_bchw))
        near = 1e-3 if name == "half_numbers" else 1e-5
        assert float((F.normalize(rows) - F.normalize(wanted)).abs().max()) < near


INSIDE = {
    "pixels_of_imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "scale_before_its_picture": ((127.5,) * 3, (128.0,) * 3),
}


@pytest.mark.parametrize(
    ("backbone", "size"),
    [("tiny", 256), ("mobilefacenet-small", 128), ("tiny-vit", 64), ("tiny-inception", 512)],
)
def test_the_embedding_size_is_read_from_the_tensors(tmp_path, backbone, size):
    torch.manual_seed(0)
    net = build_backbone(backbone, emb_dim=size).eval()
    path = saved(tmp_path / "w.pth", net.state_dict())
    plan = plan_import(path)
    assert plan.found.backbone == f"{backbone}-{size}d"
    write_import(plan, tmp_path / "run")
    side = plan.contract.size_px
    faces = [np.full((side, side, 3), 90, np.uint8)]
    x_bchw = plan.contract.apply(np.stack(faces))
    with torch.no_grad():
        wanted = net(torch.from_numpy(x_bchw))
    found = torch.from_numpy(load_model(tmp_path / "run")(faces))
    assert found.shape == (1, size) and float((F.normalize(found) - F.normalize(wanted)).abs().max()) < 1e-5
    with pytest.raises(DataError, match=re.escape(f"--backbone {backbone}-{size}d")):
        plan_import(path, Choice(backbone))


def test_the_embedding_size_is_read_from_a_graph(tmp_path):
    pytest.importorskip("onnxruntime")
    net = build_backbone("tiny-mobilefacenet", emb_dim=64)
    assert plan_import(exported(tmp_path / "w.onnx", net)).found.backbone == "tiny-mobilefacenet-64d"


def test_a_sized_name_is_the_preset_with_another_embedding():
    assert build_backbone("tiny-256d").emb_dim == 256 and "tiny-256d" not in list(BACKBONES)
    for name in ("tiny-0256d", "tiny-0d", "nothing-256d", "tiny-256d-256d"):
        with pytest.raises(SpecError, match="unknown backbone"):
            BACKBONES[name]
