"""Odd files of weights, as strangers leave them: each made by one function of a folder, a network and its weights."""

import collections
import gzip
import io
import json
import pickle
import tarfile
import types
import zipfile

import numpy as np
import torch
from safetensors.torch import save, save_file
from torch import nn

MADE = {}
HEAD = torch.linspace(-1, 1, 9 * 128).reshape(9, 128)


def made(function):
    MADE[function.__name__] = function
    return function


def under(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def saved(path, tree, **how):
    torch.save(tree, path, **how)
    return path


def bytes_of(tree, **how):
    buffer = io.BytesIO()
    torch.save(tree, buffer, **how)
    return buffer.getvalue()


def written(path, data):
    path.write_bytes(data)
    return path


def optimizer(state):
    moments = {number: {"step": 7, "exp_avg": tensor} for number, tensor in enumerate(state.values())}
    return {"state": moments, "param_groups": [{"lr": 0.1, "params": [*moments]}]}


# read as they are


@made
def lightning_of_parallel_with_average(d, net, state):
    wrong = {name: tensor + 1 for name, tensor in state.items()}
    tree = {"state_dict": under("model.module.", wrong) | {"model.module.head.kernel": HEAD.T}}
    ema = {"ema_state_dict": under("model.module.", state)}
    return saved(d / "last.ckpt", tree | {"callbacks": {"EMA": ema}, "loops": {}, "epoch": 3})


@made
def state_within_state(d, net, state):
    return saved(d / "w.pth", {"state_dict": {"state_dict": state}, "best_acc": np.float64(0.9)})


@made
def head_kernel_beside(d, net, state):
    return saved(d / "w.pth", dict(state) | {"head.kernel": HEAD.T, "head.t": torch.zeros(1)})


@made
def arcface_rows_beside(d, net, state):
    return saved(d / "w.pth", {"backbone": state, "fc": {"weight": HEAD}})


@made
def arcface_columns_beside(d, net, state):
    return saved(d / "w.pth", under("backbone.", state) | {"fc.weight": HEAD.T})


@made
def head_of_a_plain_name(d, net, state):
    return saved(d / "w.pth", dict(state) | {"weight": HEAD})


@made
def optimizer_first(d, net, state):
    return saved(d / "w.tar", {"optimizer": optimizer(state), "scaler": {"scale": 2.0}, "net": state})


@made
def half_numbers(d, net, state):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    return saved(d / "w.pth", half)


@made
def backbone_body(d, net, state):
    return saved(d / "w.pth", under("backbone.body.", state))


@made
def compiled_and_wrapped(d, net, state):
    return saved(d / "w.pth", under("_orig_mod.module._fsdp_wrapped_module.", state))


@made
def named_safetensors_and_is_torch(d, net, state):
    return saved(d / "w.safetensors", state)


@made
def named_onnx_and_is_torch(d, net, state):
    return saved(d / "w.onnx", state)


@made
def named_pth_and_is_safetensors(d, net, state):
    return written(d / "w.pth", save({name: tensor.contiguous() for name, tensor in state.items()}))


@made
def no_suffix(d, net, state):
    return saved(d / "weights", state)


@made
def whole_module(d, net, state):
    return saved(d / "w.pth", net)


@made
def whole_module_of_a_lost_class(d, net, state):
    lost = type("Lost", (nn.Module,), {"__module__": "gone", "__qualname__": "Lost"})
    module = types.ModuleType("gone")
    module.Lost = lost
    import sys

    sys.modules["gone"] = module
    try:
        one = lost()
        one.backbone = net
        return saved(d / "w.pth", nn.DataParallel(one), _use_new_zipfile_serialization=False)
    finally:
        del sys.modules["gone"]


@made
def tensors_of_a_graphics_card(d, net, state):
    tagged = torch.serialization.location_tag
    torch.serialization.location_tag = lambda storage: "cuda:3"
    try:
        return saved(d / "w.pth", state)
    finally:
        torch.serialization.location_tag = tagged


@made
def older_pickles(d, net, state):
    return saved(d / "w.pth", {"state_dict": state}, pickle_protocol=4)


@made
def parameters_and_views(d, net, state):
    tree = {name: nn.Parameter(t) if t.is_floating_point() else t for name, t in state.items()}
    wide = torch.stack([tree["fc.weight"].detach(), tree["fc.weight"].detach() + 1], 2)
    return saved(d / "w.pth", tree | {"fc.weight": wide[:, :, 0]})


@made
def odd_company(d, net, state):
    beside = {
        3: None,
        "args": types.SimpleNamespace(lr=0.1),
        b"raw": b"\x00",
        "when": (1, 2.5),
        "set": {1, 2},
    }
    return saved(d / "w.pth", {"model": state, **beside, "rng": np.random.default_rng(0).bit_generator.state})


@made
def numbers_of_numpy_beside(d, net, state):
    return saved(d / "w.pth", {"state_dict": state, "history": np.arange(5.0), "best": np.float32(0.5)})


@made
def sparse_and_complex_beside(d, net, state):
    odd = {"a": torch.eye(3).to_sparse(), "b": torch.ones(2, dtype=torch.complex64)}
    return saved(d / "w.pth", {"state_dict": state, "extra": odd})


@made
def average_of_swa(d, net, state):
    averaged = torch.optim.swa_utils.AveragedModel(net)
    return saved(d / "w.pth", averaged.state_dict())


@made
def shards_of_torch(d, net, state):
    return shards(
        d, state, "pytorch_model-{}.bin", lambda part, path: torch.save(part, path), "pytorch_model.bin"
    )


@made
def shards_of_safetensors(d, net, state):
    return shards(d, state, "model-{}.safetensors", save_file, "model.safetensors")


def shards(d, state, name, write, whole):
    names = list(state)
    parts = {name.format(f"0000{k}-of-00002"): names[k - 1 :: 2] for k in (1, 2)}
    for file, held in parts.items():
        write({key: state[key].contiguous() for key in held}, d / file)
    where = {key: file for file, held in parts.items() for key in held}
    path = d / f"{whole}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return path


# refused


@made
def zip_of_something_else(d, net, state):
    with zipfile.ZipFile(d / "w.pth", "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    return d / "w.pth"


@made
def zip_around_a_file(d, net, state):
    with zipfile.ZipFile(d / "w.zip", "w") as archive:
        archive.writestr("backbone.pth", bytes_of({"a.weight": HEAD}))
    return d / "w.zip"


@made
def torchscript(d, net, state):
    torch.jit.save(torch.jit.script(nn.Linear(3, 2)), str(d / "w.pt"))
    return d / "w.pt"


@made
def arrays_of_numpy(d, net, state):
    return saved(d / "w.pth", {"state_dict": {name: tensor.numpy() for name, tensor in state.items()}})


@made
def plain_pickle_of_arrays(d, net, state):
    return written(d / "w.pkl", pickle.dumps({name: tensor.numpy() for name, tensor in state.items()}))


@made
def archive_of_numpy(d, net, state):
    np.savez(d / "w.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    return d / "w.npz"


@made
def sparse_weights(d, net, state):
    return saved(d / "w.pth", dict(state) | {"fc.weight": state["fc.weight"].to_sparse()})


@made
def complex_weights(d, net, state):
    return saved(d / "w.pth", dict(state) | {"fc.weight": state["fc.weight"].to(torch.complex64)})


@made
def quantized_weights(d, net, state):
    packed = torch.quantize_per_tensor(state["fc.weight"], 0.1, 0, torch.qint8)
    return saved(d / "w.pth", dict(state) | {"fc.weight": packed})


@made
def weights_that_are_not_finite(d, net, state):
    return saved(d / "w.pth", dict(state) | {"fc.weight": state["fc.weight"] * float("nan")})


@made
def tensors_without_numbers(d, net, state):
    return saved(d / "w.pth", {name: tensor.to("meta") for name, tensor in state.items()})


@made
def one_shard_alone(d, net, state):
    shards_of_torch(d, net, state)
    return d / "pytorch_model-00001-of-00002.bin"


@made
def shards_with_one_missing(d, net, state):
    path = shards_of_torch(d, net, state)
    (d / "pytorch_model-00002-of-00002.bin").unlink()
    return path


@made
def shards_outside(d, net, state):
    path = shards_of_torch(d, net, state)
    where = json.loads(path.read_text())["weight_map"]
    path.write_text(json.dumps({"weight_map": {name: f"../{file}" for name, file in where.items()}}))
    return path


@made
def settings_of_a_model(d, net, state):
    return written(d / "config.json", b'{"architectures": ["IR_50"], "output_dim": 512}')


@made
def file_within_a_tar(d, net, state):
    with tarfile.open(d / "w.pth.tar", "w") as archive:
        inner = bytes_of(state)
        info = tarfile.TarInfo("checkpoint/w.pt")
        info.size = len(inner)
        archive.addfile(info, io.BytesIO(inner))
    return d / "w.pth.tar"


@made
def packed_by_gzip(d, net, state):
    return written(d / "w.pth.gz", gzip.compress(bytes_of({"a.weight": HEAD})))


@made
def pointer_of_git_lfs(d, net, state):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 174664498\n"
    return written(d / "w.pth", text.encode())


@made
def pointer_named_safetensors(d, net, state):
    return pointer_of_git_lfs(d, net, state).rename(d / "w.safetensors")


@made
def pointer_named_onnx(d, net, state):
    return pointer_of_git_lfs(d, net, state).rename(d / "w.onnx")


@made
def nothing(d, net, state):
    return written(d / "w.pth", b"")


@made
def nothing_named_safetensors(d, net, state):
    return written(d / "w.safetensors", b"")


@made
def nothing_named_onnx(d, net, state):
    return written(d / "w.onnx", b"")


@made
def page_of_a_drive(d, net, state):
    return written(
        d / "w.pth", b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>"
    )


@made
def page_named_onnx(d, net, state):
    return page_of_a_drive(d, net, state).rename(d / "w.onnx")


@made
def answer_of_a_server(d, net, state):
    return written(d / "w.pth", b'{"error": "Repository not found"}')


@made
def cut_off(d, net, state):
    return written(d / "w.pth", bytes_of(state)[:100_000])


@made
def cut_off_legacy(d, net, state):
    return written(d / "w.pth", bytes_of(state, _use_new_zipfile_serialization=False)[:100_000])


@made
def cut_off_safetensors(d, net, state):
    return written(d / "w.safetensors", save({name: t.contiguous() for name, t in state.items()})[:100_000])


@made
def optimizer_alone(d, net, state):
    return saved(d / "w.pth", {"optimizer": optimizer(state), "epoch": 3})


@made
def head_alone_of_columns(d, net, state):
    return saved(d / "w.pth", {"fc.weight": HEAD.T})


@made
def keras_file(d, net, state):
    return written(d / "w.h5", b"\x89HDF\r\n\x1a\n" + bytes(512))


@made
def keras_named_pth(d, net, state):
    return keras_file(d, net, state).rename(d / "w.pth")


@made
def light_tensorflow(d, net, state):
    return written(d / "w.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(64))


@made
def parameters_of_mxnet(d, net, state):
    return written(d / "model-0000.params", b"\x12\x01\x00\x00\x00\x00\x00\x00" + bytes(64))


@made
def gguf(d, net, state):
    return written(d / "w.gguf", b"GGUF" + bytes(64))


@made
def ordered_lists(d, net, state):
    return saved(d / "w.pth", list(collections.OrderedDict(state).values()))
