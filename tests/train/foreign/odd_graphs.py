"""Odd ONNX files of one small recognizer: each made by one function of a folder and the network."""

import warnings

import torch
import torch.nn.functional as F
from torch import nn

GRAPHS = {}


def graph(function):
    GRAPHS[function.__name__] = function
    return function


class Around(nn.Module):
    """A network with something before and after it."""

    def __init__(self, net, before=lambda x: x, after=lambda y, net, x: y):
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x):
        x = self.before(x)
        return self.after(self.net(x), self.net, x)


def exported(path, net, shape=(1, 3, 112, 112), dtype=torch.float32, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.randn(shape, dtype=dtype),), str(path), dynamo=False, opset_version=17,
            input_names=["data"], **how,
        )  # fmt: skip
    return path


@graph
def plain(d, net):
    return exported(d / "w.onnx", net)


@graph
def named_bin(d, net):
    return exported(d / "w.bin", net)


@graph
def any_batch_and_side(d, net):
    return exported(d / "w.onnx", net, dynamic_axes={"data": {0: "batch", 2: "height", 3: "width"}})


@graph
def weights_beside(d, net):
    import onnx

    model = onnx.load(str(exported(d / "whole.onnx", net)))
    onnx.save_model(model, str(d / "w.onnx"), save_as_external_data=True, location="w.data", size_threshold=0)
    (d / "whole.onnx").unlink()
    return d / "w.onnx"


@graph
def weights_beside_are_missing(d, net):
    path = weights_beside(d, net)
    (d / "w.data").unlink()
    return path


@graph
def half_numbers(d, net):
    import numpy as np
    import onnx

    model = onnx.load(str(exported(d / "w.onnx", net)))
    for item in model.graph.initializer:
        if item.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(item).astype(np.float16)
            item.CopyFrom(onnx.numpy_helper.from_array(array, item.name))
    for node in model.graph.node:
        if node.op_type == "Cast":
            node.attribute[0].i = onnx.TensorProto.FLOAT16
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, str(d / "w.onnx"))
    return d / "w.onnx"


@graph
def channels_last(d, net):
    before = lambda x: x.permute(0, 3, 1, 2)  # noqa: E731
    return exported(d / "w.onnx", Around(net, before), (1, 112, 112, 3))


@graph
def two_outputs(d, net):
    return exported(d / "w.onnx", Around(net, after=lambda y, net, x: (y, y.norm(dim=1, keepdim=True))))


@graph
def unit_embeddings(d, net):
    return exported(d / "w.onnx", Around(net, after=lambda y, net, x: F.normalize(y)))


@graph
def with_its_mirror_image(d, net):
    after = lambda y, net, x: torch.cat([y, net(x.flip(3))], 1)  # noqa: E731
    return exported(d / "w.onnx", Around(net, after=after))


@graph
def sum_with_its_mirror_image(d, net):
    return exported(d / "w.onnx", Around(net, after=lambda y, net, x: y + net(x.flip(3))))


@graph
def pixels_of_imagenet(d, net):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    return exported(d / "w.onnx", Around(net, lambda x: (x - mean) / std))


@graph
def scale_before_its_picture(d, net):
    return exported(d / "w.onnx", Around(net, lambda x: 0.0078125 * (x - 127.5)))


@graph
def reversed_channels_inside(d, net):
    return exported(d / "w.onnx", Around(net, lambda x: x.flip(1)))


@graph
def oblong(d, net):
    return exported(d / "w.onnx", Around(net, lambda x: F.interpolate(x, (112, 112))), (1, 3, 112, 96))


@graph
def classes_in_place_of_an_embedding(d, net):
    return exported(d / "w.onnx", Around(net, after=lambda y, net, x: y.argmax(1)))


@graph
def two_inputs(d, net):
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    torch.onnx.export(
        Two(), (torch.ones(2, 2), torch.ones(2, 2)), str(d / "w.onnx"), dynamo=False, input_names=["a", "b"]
    )
    return d / "w.onnx"


@graph
def cut_off(d, net):
    path = plain(d, net)
    path.write_bytes(path.read_bytes()[:200_000])
    return path
