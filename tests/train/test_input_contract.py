"""What a foreign model takes: the equation, its spellings, and what a few faces say of a reading."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.train.weights.foreign.input_contract import InputContract, Stated, from_metadata, parse_range
from lrfr.train.weights.foreign.readings import (
    Reading,
    Verdict,
    channel_gains,
    check_readings,
    embedded_faces_for,
)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("-1,1", -1, 1),
        ("0,1", 0, 1),
        ("0,255", 0, 255),
        ("127.5/128", -127.5 / 128, 127.5 / 128),
        ("-2, 3", -2, 3),
    ],
)
def test_a_range_maps_black_and_white_to_its_ends(text, low, high):
    mean, std = parse_range(text)
    black, white = np.zeros((1, 1, 1, 3), np.uint8), np.full((1, 1, 1, 3), 255, np.uint8)
    contract = InputContract(1, mean=mean, std=std)
    assert np.allclose(contract.apply(black), low, atol=1e-6) and np.allclose(
        contract.apply(white), high, atol=1e-5
    )
    assert parse_range(contract.range_name) == (mean, std)


@pytest.mark.parametrize("text", ["", "1", "1,1", "a,b", "nan,1", "0/0", "1,2/3", "1/1,2", "inf/1", "0,1,2"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(SpecError, match="no input range"):
        parse_range(text)


def test_means_stay_with_their_colors_in_either_order_and_layout():
    face = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    mean, std = parse_range("104,117,123/1,2,4")
    rgb = InputContract(5, mean=mean, std=std).apply(face)
    for channel, (m, s) in enumerate([(104, 1), (117, 2), (123, 4)]):
        assert np.allclose(rgb[:, channel], (face[..., channel].astype(float) - m) / s)
    bgr = InputContract(5, "nhwc", "bgr", mean, std).apply(face)
    assert bgr.shape == (2, 5, 5, 3) and bgr.flags.c_contiguous and bgr.dtype == np.float32
    assert np.array_equal(bgr, rgb[:, ::-1].transpose(0, 2, 3, 1))


def test_a_contract_survives_json_and_damage_is_named():
    contract = InputContract(96, "nhwc", "bgr", *parse_range("imagenet"))
    text = json.dumps(contract.as_dict())
    assert InputContract.read(json.loads(text), "card") == contract
    assert from_metadata({"lrfr.input": text}, "x.onnx") == contract and from_metadata({}, "x.onnx") is None
    assert str(contract) == "BGR, 96 px, NHWC, (x - 123.675,116.28,103.53) / 58.395,57.12,57.375"
    wrong = [{"size_px": 0}, {"layout": "chw"}, {"std": [0, 1, 1]}, {"mean": [1, 2]}, {"code": "x"}, 7, []]
    for data in wrong:
        with pytest.raises(DataError, match="contract"):
            InputContract.read(data, "card")
    with pytest.raises(DataError, match="no JSON"):
        from_metadata({"lrfr.input": "{" * 5000}, "x.onnx")


def test_what_is_stated_wins():
    found = InputContract(96, channels="bgr")
    assert Stated().over(found) == found
    changed = Stated("0,255", bgr=False).over(found)
    assert (changed.channels, changed.mean, changed.std, changed.size_px) == ("rgb", (0,) * 3, (1,) * 3, 96)


def clipped(x_nchw):
    """A model that wants [-1, 1]: thresholds of a coarse picture, against the middle of each place."""
    coarse = np.clip(x_nchw, -1, 1).reshape(len(x_nchw), 3, 14, 8, 14, 8).mean((3, 5))
    even = coarse + coarse[..., ::-1]
    return (even - MIDDLE).reshape(len(x_nchw), -1).astype(np.float32)


FACES, LABELS = embedded_faces_for(32)
MIDDLE = 0
MIDDLE = clipped(InputContract().apply(FACES)).mean(0).reshape(3, 14, 14)


@pytest.mark.parametrize("given", ["-1,1", "0,255"])
def test_faces_tell_a_saturated_reading(given):
    mean, std = parse_range(given)
    verdict = check_readings(clipped, InputContract(mean=mean, std=std), FACES, LABELS)
    assert len(verdict.readings) == 6 and verdict.given.contract.range_name == given
    assert verdict.word == ("plausible" if given == "-1,1" else "implausible")
    assert verdict.readings[0].contract.range_name == "-1,1" and "-1,1" in str(verdict)
    assert verdict.readings[0].separation > verdict.readings[-1].separation


@pytest.mark.skipif("LRFR_FACES" not in os.environ, reason="needs LRFR_FACES")
def test_a_real_recognizer_refuses_bytes_and_is_nearly_blind_to_the_order():
    onnxruntime = pytest.importorskip("onnxruntime")
    file = Path(os.environ["LRFR_FACES"]) / "weights/mobilefacenet.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)
    few = [4 * person + number for person in range(4) for number in range(2)]

    def forward(x_nchw):
        return np.concatenate([session.run(None, {"input": x[None]})[0] for x in x_nchw])

    mean, std = parse_range("127/128")
    verdict = check_readings(forward, InputContract(mean=mean, std=std), FACES[few], LABELS[few])
    words = {(one.contract.channels, one.contract.range_name) for one in verdict.plausible}
    assert verdict.word == "plausible" and {("rgb", "127/128"), ("bgr", "127/128")} <= words
    assert not any(name == "0,255" for _, name in words)


def drawn(count=64, draw=0):
    """Faces whose red tells people apart, and whose blue is noise."""
    generator = np.random.default_rng(draw)
    labels = np.arange(count) // 4
    faces = generator.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    faces[..., 0] = generator.integers(0, 256, (count, 8, 8), dtype=np.uint8)[labels]
    return faces, labels


@pytest.mark.parametrize("asked", ["rgb", "bgr"])
def test_draws_of_faces_tell_the_order_of_the_channels(monkeypatch, asked):
    monkeypatch.setattr("lrfr.train.weights.foreign.readings.embedded_faces_for", drawn)
    gains = channel_gains(lambda x: x[:, 0].reshape(len(x), -1), InputContract(8, channels=asked))
    assert len(set(gains)) == 3 and all((gain > 1) is (asked == "bgr") and abs(gain) > 1 for gain in gains)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.1, 0.3, 0.2), "bgr tells faces apart better in all of 3 draws (d' +0.10 to +0.30): "),
        ((-0.1, -0.3, -0.2), "; rgb tells them apart better in all draws"),
        ((0.1, -0.3, 0.2), ""),
        ((), ""),
    ],
)
def test_the_order_is_said_where_all_draws_agree(gains, said):
    reading = Reading(InputContract(), 0.1, 0.9)
    text = str(Verdict((reading,), reading, gains))
    assert said in text and ("apart better" in text) is bool(said)
