"""SCRFD's decoding, on a graph whose outputs are known: scores are the mean red, green and blue of its cells."""

import hashlib
import json

import numpy as np
import pytest

import lrfr
from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.image import decode, encode_jpeg, encode_png
from lrfr.core.landmarks import TEMPLATE, align
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.reading.dataset import PairDataset

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

# distances of the edges from the anchor, and the five points, in strides
FAR = np.array([2.0, 3.0, 4.0, 5.0], np.float32)
POINTS = ((TEMPLATE - 40.0) / 16.0).astype(np.float32)
WHITE = 0.5 * (255 - 127.5) / 128.0 + 0.5


def graph(path, strides=(8, 16, 32), side=None, batched=False, more=()):
    """Write a network: at stride 8 it sees red, at 16 green, at 32 blue; of two anchors the second sees less."""
    make, numpy = onnx.helper, onnx.numpy_helper
    nodes, given, outputs = [], [], []

    def constant(name, value):
        given.append(numpy.from_array(np.asarray(value), name))
        return name

    for channel, stride in enumerate(strides):
        own = f"s{stride}"
        pick = np.zeros((2, 3, 1, 1), np.float32)
        pick[0, channel], pick[1, channel] = 0.5, 0.4
        nodes += [
            make.make_node(
                "AveragePool", ["x"], [f"{own}a"], kernel_shape=[stride] * 2, strides=[stride] * 2
            ),
            make.make_node(
                "Conv", [f"{own}a", constant(f"{own}w", pick), constant(f"{own}b", [0.5, 0.4])], [f"{own}c"]
            ),
            make.make_node("Transpose", [f"{own}c"], [f"{own}t"], perm=[0, 2, 3, 1]),
            make.make_node(
                "Reshape", [f"{own}t", constant(f"{own}r", [1, -1, 1] if batched else [-1, 1])], [f"{own}s"]
            ),
        ]
        outputs.append((f"{own}s", 1))
        for what, values in (("d", FAR), ("k", POINTS.ravel())):
            zero = constant(f"{own}{what}0", np.zeros((1, len(values)), np.float32))
            shift = constant(f"{own}{what}1", values)
            nodes.append(make.make_node("MatMul", [f"{own}s", zero], [f"{own}{what}m"]))
            nodes.append(make.make_node("Add", [f"{own}{what}m", shift], [f"{own}{what}"]))
            outputs.append((f"{own}{what}", len(values)))
    for item in given:
        if item.data_type == onnx.TensorProto.DOUBLE:
            values = numpy.to_array(item).astype(np.float32)
            item.CopyFrom(numpy.from_array(values, item.name))
    order = sorted(outputs, key=lambda output: output[1])
    declared = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name, _ in order]
    taken = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, side or "h", side or "w"])
    body = make.make_graph(nodes, "faces", [taken], [*declared, *more], given)
    model = make.make_model(body, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def scene(height, width, *cells):
    """Return a black picture with cells (stride, row, column) of the color that their stride sees."""
    image = np.zeros((height, width, 3), np.uint8)
    for stride, row, column in cells:
        rows, columns = (slice(place * stride, (place + 1) * stride) for place in (row, column))
        image[rows, columns, {8: 0, 16: 1, 32: 2}[stride]] = 255
    return image


@pytest.fixture
def weights(tmp_path):
    return graph(tmp_path / "scrfd.onnx")


def test_every_stride_is_read_where_it_lies(weights):
    detector = open_detector("scrfd", weights)
    found = detector.detect(scene(640, 640, (8, 20, 60), (16, 5, 4), (32, 12, 15)))
    # two anchors of a cell overlap wholly: the better one stays; a color that only fills a part of a larger
    # cell gives less than one half there
    assert found.scores == pytest.approx([WHITE] * 3, abs=1e-6) and len(found) == 3
    expected = {(60 * 8, 20 * 8, 8), (4 * 16, 5 * 16, 16), (15 * 32, 12 * 32, 32)}
    seen = set()
    for box, points in zip(found.boxes_xyxy, found.landmarks_5xy, strict=True):
        stride = (box[2] - box[0]) / (FAR[0] + FAR[2])
        x, y = box[0] + FAR[0] * stride, box[1] + FAR[1] * stride
        seen.add((round(x), round(y), round(stride)))
        assert box == pytest.approx([x - 2 * stride, y - 3 * stride, x + 4 * stride, y + 5 * stride])
        assert np.allclose(points, np.array([x, y]) + stride * POINTS, atol=1e-3)
    assert seen == expected


def test_a_picture_is_fitted_into_the_square(weights, tmp_path):
    detector = open_detector("scrfd", weights)
    small = scene(160, 320, (8, 6, 10))  # enlarged twice: its cell is one of 16 px, but red is for 8
    found = detector.detect(small)
    assert len(found) >= 1 and found.boxes_xyxy[0, 0] == pytest.approx((20 * 8 - 2 * 8) / 2)
    assert found.landmarks_5xy[0] == pytest.approx((np.array([160, 96]) + 8 * POINTS) / 2, abs=1e-3)
    large = np.kron(scene(640, 640, (16, 5, 4)), np.ones((2, 2, 1), np.uint8))
    assert detector.detect(large).boxes_xyxy[0] == pytest.approx([2 * (64 - 32), 2 * (80 - 48), 256, 320])
    fixed = open_detector("scrfd", graph(tmp_path / "fixed.onnx", side=320, batched=True))
    assert fixed.detect(scene(320, 320, (32, 3, 2))).boxes_xyxy[0] == pytest.approx([0, 0, 192, 256])
    assert len(detector.detect(np.zeros((10, 10, 3), np.uint8))) == 0


def test_the_whole_way_from_photographs_to_a_store(lrfr_command, weights, tmp_path):
    photos = tmp_path / "photos" / "anna"
    photos.mkdir(parents=True)
    (photos / "a.png").write_bytes(encode_png(scene(640, 640, (16, 15, 15))))
    (photos / "none.png").write_bytes(encode_png(np.zeros((640, 640, 3), np.uint8)))
    points = np.round(np.array([240, 240]) + 16 * POINTS.astype(float), 2)
    crop = align(scene(640, 640, (16, 15, 15)), points, 112)
    command = ("align", photos.parent, "--out", tmp_path / "crops", "--detector", "scrfd")
    code, out, err = lrfr_command(*command, "--detector-weights", weights)
    assert code == 0 and "1 used, 1 without a face" in out, err
    assert np.array_equal(decode((tmp_path / "crops" / "anna" / "a.png").read_bytes()), crop)
    store = tmp_path / "store"
    made = lrfr.make_pairs(
        photos.parent, store=store, align="detect", detector="scrfd", detector_weights=weights
    )
    assert PairDataset(store).hr_bytes(0) == encode_jpeg(crop, 95) and made.done.rows == 1
    finder = StoreFiles(store).base_manifest(made.parts[0].base).crop.finder
    assert finder.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    code, out, _ = lrfr_command("detectors", "ls", "--json")
    assert "scrfd" in {item["name"] for item in json.loads(out)["result"]["detectors"]}


@pytest.fixture
def lrfr_command(request):
    return request.getfixturevalue("lrfr")


def test_other_files_are_refused(weights, tmp_path):
    with pytest.raises(EnvironmentFault, match="ships no weights"):
        open_detector("scrfd")
    with pytest.raises(SpecError, match="no such file"):
        open_detector("scrfd", tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(SpecError, match="onnxruntime cannot read it"):
        open_detector("scrfd", tmp_path / "text.onnx")
    with pytest.raises(SpecError, match="got 6"):
        open_detector("scrfd", graph(tmp_path / "two.onnx", strides=(8, 16)))
    odd = open_detector("scrfd", graph(tmp_path / "odd.onnx", strides=(8, 16, 64)))
    with pytest.raises(DataError, match="at stride 32"):
        odd.detect(np.zeros((64, 64, 3), np.uint8))
