"""Foreign files: what they say is read, what they compute is what the equation says, and what could harm is
refused before it is opened."""

import json
import multiprocessing
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from lrfr.core.errors import DataError, SpecError
from lrfr.train.weights.foreign.foreign_file import ForeignFile
from lrfr.train.weights.foreign.input_contract import InputContract, Stated
from lrfr.train.weights.foreign.stated_copy import write_stated_copy
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.load_model import load_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, numpy_helper = pytest.importorskip("onnx.helper"), pytest.importorskip("onnx.numpy_helper")

SIDE, WIDTH = 8, 5
WEIGHT = np.random.default_rng(0).standard_normal((WIDTH, 3, SIDE, SIDE)).astype(np.float32)


def write(path, batch="N", *, before=(), metadata=None, layout="nchw", location=None, kind=1):
    """Write a model of one convolution over the whole face, after ``before``: (op, constant) steps."""
    shape = [batch, 3, SIDE, SIDE] if layout == "nchw" else [batch, SIDE, SIDE, 3]
    nodes, name, tensors = [], "face", [numpy_helper.from_array(WEIGHT, "w")]
    if kind != 1:
        nodes.append(helper.make_node("Cast", [name], ["cast"], to=1))
        name = "cast"
    for number, (op, value) in enumerate(before):
        tensors.append(numpy_helper.from_array(np.asarray(value, np.float32).reshape(-1, 1, 1), f"c{number}"))
        nodes.append(helper.make_node(op, [name, f"c{number}"], [f"x{number}"]))
        name = f"x{number}"
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", [name], ["t"], perm=[0, 3, 1, 2]))
        name = "t"
    nodes.append(helper.make_node("Conv", [name, "w"], ["y"]))
    nodes.append(helper.make_node("Flatten", ["y"], ["out"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("face", kind, shape)],
        [helper.make_tensor_value_info("out", 1, [batch, WIDTH])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    if location is not None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())
    return path


def faces(count=5, side=SIDE):
    return list(np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def expected(contract, images=None):
    """The convolution, written out."""
    x = (np.stack(images or faces()).astype(np.float64) - contract.mean) / contract.std
    x = x[..., ::-1] if contract.channels == "bgr" else x
    return np.einsum("nhwc,dchw->nd", x, WEIGHT.astype(np.float64))


@pytest.mark.parametrize("batch", ["N", 1, 2, 8])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_any_batch_and_layout_give_the_equation(tmp_path, batch, layout):
    embed = load_model(write(tmp_path / "x.onnx", batch, layout=layout))
    found = embed(faces())
    assert found.dtype == np.float32 and embed.contract.layout == layout and embed.size_px == SIDE
    assert np.allclose(found, expected(InputContract()), rtol=1e-4, atol=1e-3)
    assert embed(faces(3, 20)).shape == (3, WIDTH)
    assert embed.counted() == (WEIGHT.size, WEIGHT.size, 4 * WEIGHT.size)


@pytest.mark.parametrize("kind", [10, 11, 2])
def test_half_double_and_byte_inputs_are_served(tmp_path, kind):
    embed = load_model(write(tmp_path / "x.onnx", kind=kind), input_range="0,255")
    contract = InputContract(mean=(0,) * 3, std=(1,) * 3)
    assert np.allclose(embed(faces()), expected(contract), rtol=1e-3)


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ([], "assumed -1,1"),
        ([("Sub", [127.5]), ("Mul", [1 / 127.5])], "graph 0,255"),
        ([("Sub", [127.5]), ("Div", [128.0])], "graph 0,255"),
        ([("Mul", [2.0]), ("Add", [-1.0])], "graph 0,1"),
        ([("Sub", [0.485, 0.456, 0.406]), ("Div", [0.229, 0.224, 0.225])], "graph 0,1"),
        ([("Mul", [1.0])], "graph -1,1"),
    ],
)
def test_the_range_is_read_from_the_first_steps_of_a_graph(tmp_path, before, wanted):
    embed = load_model(write(tmp_path / "x.onnx", before=before))
    assert f"{embed.origin} {embed.contract.range_name}" == wanted


def test_metadata_wins_over_the_graph_and_a_statement_over_both(tmp_path):
    said = InputContract(SIDE, channels="bgr", mean=(1, 2, 3), std=(4, 5, 6))
    path = write(
        tmp_path / "x.onnx",
        before=[("Sub", [0.0])],
        metadata={"lrfr.input": json.dumps(said.as_dict()), "lrfr.resize": '{"filter": "nearest"}'},
    )
    embed = load_model(path)
    assert (embed.contract, embed.origin, embed.spec.filter) == (said, "metadata", "nearest")
    assert np.allclose(embed(faces()), expected(said), rtol=1e-4, atol=1e-3)
    stated = load_model(path, input_range="0,255", bgr=False)
    assert stated.origin == "stated" and stated.contract.channels == "rgb"
    assert np.allclose(stated(faces()), expected(stated.contract), rtol=1e-4, atol=0.1)


def test_the_name_of_a_model_is_its_bytes_and_what_is_stated_against_them(tmp_path):
    path = write(tmp_path / "x.onnx")
    plain = load_model(path).digest
    assert load_model(path, input_range="-1,1").digest == plain  # what it would have been anyway
    others = {load_model(path, input_range="0,1").digest, load_model(path, bgr=True).digest, plain}
    assert len(others) == 3
    (tmp_path / "y.onnx").write_bytes(path.read_bytes())
    assert load_model(tmp_path / "y.onnx").digest == plain


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "/etc/hostname", "sub/../../w.bin", "..\\w.bin", "", "link.bin", "/dev/zero", "a\0b"],
)
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(DataError, match="outside its folder"):
        load_model(write(folder / "x.onnx", location=location))


def test_weights_beside_the_file_are_read_and_are_part_of_its_name(tmp_path):
    path = write(tmp_path / "x.onnx", location="w.bin")
    with pytest.raises(DataError, match="weights are missing"):
        load_model(path)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    first = load_model(path)
    assert np.allclose(first(faces()), expected(InputContract()), rtol=1e-4, atol=1e-3)
    (tmp_path / "w.bin").write_bytes((2 * WEIGHT).tobytes())
    assert load_model(path).digest != first.digest


def test_what_is_no_recognizer_is_refused_with_its_shape(tmp_path):
    path = write(tmp_path / "x.onnx")
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"takes \['\?', 4, 8, 8\]"):
        load_model(path)
    model = onnx.load(str(write(path)))
    model.graph.output[0].name = model.graph.node[-1].output[0] = "y2"
    model.graph.node.pop()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, None))
    path.write_bytes(model.SerializeToString())
    assert load_model(path)(faces()).shape == (5, WIDTH)  # [N, D, 1, 1] is a row each
    begun = path.read_bytes()[:50]
    for data, words in ((b"", "no bytes"), (b"junk" * 100, "ONNX"), (begun, "ONNX")):
        path.write_bytes(data)
        with pytest.raises(DataError, match=words):
            load_model(path)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, SIDE, bias=False)
        self.conv.weight.data.copy_(torch.from_numpy(WEIGHT))

    def forward(self, x):
        return self.conv(x).flatten(1)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    extra = {"lrfr.input": json.dumps(InputContract(SIDE).as_dict())}
    torch.jit.script(Net()).save(str(folder / "x.ts"), _extra_files=extra)
    batch = torch.export.Dim("batch", min=1, max=512)
    exported = torch.export.export(Net(), (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, str(folder / "x.pt2"))
    fixed = torch.export.export(Net(), (torch.zeros(2, 3, SIDE, SIDE),))
    torch.export.save(fixed, str(folder / "fixed.pt2"))
    return folder


@pytest.mark.parametrize("name", ["x.ts", "x.pt2", "fixed.pt2"])
def test_programs_of_torch_run_only_where_they_are_trusted(programs, name, monkeypatch):
    for module in (torch.jit, torch.export):
        monkeypatch.setattr(module, "load", lambda *_a, **_k: pytest.fail("opened without trust"))
    with pytest.raises(SpecError, match="is a program") as caught:
        load_model(programs / name)
    assert "--trust-code" in str(caught.value.hint)
    monkeypatch.undo()
    embed = load_model(programs / name, trust_code=True)
    assert embed.size_px == SIDE
    assert np.allclose(embed(faces()), expected(InputContract()), rtol=1e-4, atol=1e-3)


def test_weights_without_a_program_are_sent_to_the_importer(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", b"")
    (tmp_path / "old.pth").write_bytes(b"\x80\x02}.")
    for name in ("w.pt", "old.pth"):
        with pytest.raises(SpecError, match="no program") as caught:
            load_model(tmp_path / name, trust_code=True)
        assert f"import-weights {name}" in str(caught.value.hint)


def embed_in_process(embed, images):
    return embed(images)


def test_a_foreign_model_goes_to_worker_processes(tmp_path):
    embed = ForeignEmbedder(ForeignFile(write(tmp_path / "x.onnx"), Stated("0,1")))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(embed_in_process, (embed, faces()))
    assert np.array_equal(found, embed(faces()))


def test_a_statement_about_a_run_of_ours_is_refused(tmp_path):
    with pytest.raises(SpecError, match="only a foreign file"):
        load_model(tmp_path, input_range="0,255")


def test_eval_takes_a_foreign_file_by_itself(lrfr, tmp_path):
    write(tmp_path / "x.onnx")
    code, _, err = lrfr("eval", "x.onnx", "--input-range", "0,255", "--sizes", "112", "--replicates", "0")
    assert code == 0, err
    result = json.loads((tmp_path / "results/x-synthetic.json").read_text())["results"][0]["model"]
    assert result["digest"] == load_model(tmp_path / "x.onnx", input_range="0,255").digest
    assert "(x - 0) / 1, stated" in result["notes"] and "x.onnx" in result["checkpoint"]
    code, _, err = lrfr("eval", "x.onnx", "--input-range", "none")
    assert code == 2 and "no input range" in err


def test_a_graph_is_one_by_its_bytes_and_what_it_takes_is_said(lrfr, tmp_path):
    write(tmp_path / "x.onnx").rename(tmp_path / "pytorch_model.bin")
    line = ("eval", "pytorch_model.bin", "--sizes", "112", "--replicates", "0")
    code, _, err = lrfr(*line)
    assert code == 0 and "pytorch_model.bin takes RGB" in err and "(assumed); input rgb -1,1 is" in err, err
    code, _, err = lrfr(*line, "--input-range", "0,255", "--dry-run")
    assert code == 0 and "(stated)" in err and "plausible" not in err
    (tmp_path / "notes.bin").write_bytes(b"what I did")
    code, _, err = lrfr("eval", "notes.bin", "--dry-run")
    assert code == 3 and "a text, no file of weights" in err


def test_a_copy_says_what_the_original_takes(lrfr, tmp_path):
    source, target = write(tmp_path / "x.onnx", 2), tmp_path / "t.onnx"
    given = ("import-weights", str(source), "--as-is", "--out", str(target), "--bgr", "--input-range", "0,1")
    code, found, _ = lrfr(*given, "--dry-run", "--json")
    assert code == 0 and not target.exists() and json.loads(found)["result"]["input"]["channels"] == "bgr"
    assert lrfr(*given)[0] == lrfr(*given)[0] == 0  # the same again is nothing to do
    embed = ForeignEmbedder(ForeignFile(target))
    contract = InputContract(SIDE, channels="bgr", mean=(0,) * 3, std=(255,) * 3)
    assert (embed.contract, embed.origin) == (contract, "metadata")
    assert np.allclose(embed(faces()), expected(contract), rtol=1e-4, atol=1e-3)
    stated = ForeignEmbedder(ForeignFile(source, Stated("0,1", True)))
    assert np.array_equal(embed(faces()), stated(faces()))
    # and again, from the copy
    write_stated_copy(target, tmp_path / "u.onnx", Stated(bgr=False))
    assert ForeignEmbedder(ForeignFile(tmp_path / "u.onnx")).contract.channels == "rgb"
    with pytest.raises(SpecError, match="exists already"):
        write_stated_copy(source, target, Stated(bgr=False))
    with pytest.raises(SpecError, match="nothing is said"):
        write_stated_copy(source, tmp_path / "v.onnx", Stated())


def test_a_copy_finds_its_weights_or_is_refused(tmp_path):
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    source = write(tmp_path / "x.onnx", location="w.bin")
    (tmp_path / "other").mkdir()
    with pytest.raises(SpecError, match=r"lie beside it \(w.bin\)"):
        write_stated_copy(source, tmp_path / "other/y.onnx", Stated(bgr=True))
    write_stated_copy(source, tmp_path / "y.onnx", Stated(bgr=True))
    contract = InputContract(SIDE, channels="bgr")
    found = ForeignEmbedder(ForeignFile(tmp_path / "y.onnx"))(faces())
    assert np.allclose(found, expected(contract), rtol=1e-4, atol=1e-3)
