"""Numbers that no revision may move without being raised: methods, backbones, heads, distances, the loop, defaults."""

import json

import pytest

from lrfr.train.backbones.table import BACKBONES
from lrfr.train.heads.margins import MARGINS
from lrfr.train.losses.distances import DISTANCES
from lrfr.train.methods.table import METHODS
from tests.train import golden


@pytest.fixture(scope="module")
def here():
    return golden.golden()


def test_golden_values(here):
    assert golden.moved(json.loads(golden.FILE.read_text()), here) == []


def test_every_part_has_one(here):
    wanted = [
        *(f"method {name}" for name in METHODS),
        *(f"layout {name}" for name in BACKBONES),
        *(f"head {name}" for name in MARGINS),
        *(f"distance {name}" for name in DISTANCES),
    ]
    assert set(wanted) <= here.keys()
    # every class of networks embeds in the golden file, on its smallest preset
    nets = {preset.net for name, preset in BACKBONES.items() if f"backbone {name}" in here}
    assert nets == {preset.net for preset in BACKBONES.values()}


def test_what_the_check_says():
    known = {"a": [1, 0.5], "b": [1, {"x": 1}], "c": [1, [1.0, 2.0]], "d": [1, 1]}
    found = {"a": [1, 0.500001], "b": [1, {"x": 1, "new": 2}], "c": [1, [1.0, 2.1]], "d": [2, 5], "e": [1, 0]}
    faults = sorted(golden.moved(known, found))
    assert len(faults) == 3 and "raise it, or mend" in faults[0]
    assert [fault[0] for fault in faults] == ["c", "d", "e"]


def test_moved_values_are_not_renewed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(golden, "FILE", tmp_path / "golden.json")
    golden.FILE.write_text(text := '{"loop": [1, 0.5]}')
    monkeypatch.setattr(golden, "golden", lambda: {"loop": [1, 0.6]})
    assert golden.renew() == 1 and golden.FILE.read_text() == text
    assert "loop: other numbers" in capsys.readouterr().err
    monkeypatch.setattr(golden, "golden", lambda: {"loop": [2, 0.6]})
    assert golden.renew() == 0 and json.loads(golden.FILE.read_text()) == {"loop": [2, 0.6]}


@pytest.mark.parametrize("part", ["loss", "head", "distance", "backbone", "default"])
def test_a_change_is_seen(monkeypatch, part):
    from lrfr.train.backbones.iresnet import IResNet
    from lrfr.train.heads.margins import CosFace
    from lrfr.train.losses import distances

    known = json.loads(golden.FILE.read_text())
    if part == "loss":
        import lrfr.train.methods.maug as maug

        monkeypatch.setattr(maug, "logexp", lambda *given: 1.02 * distances.logexp(*given))
        name, value = "method maug", golden.of_method("maug", {})
    elif part == "head":
        monkeypatch.setattr(CosFace, "target", lambda self, cos_b, norm_b: cos_b - 1.1 * self.margin)
        name, value = "head cosface", golden.of_head("cosface")
    elif part == "distance":
        monkeypatch.setattr(distances, "attention_map", lambda x, kind="mean": x.mean(1).flatten(1))
        name, value = "distance at", golden.of_distance("at")
    elif part == "backbone":
        monkeypatch.setattr(IResNet, "embed_map", lambda self, x: self.run_tail(x) + 0.01)
        name, value = "backbone tiny", golden.of_backbone("tiny")
    else:
        name, value = "defaults fskd", {**known["defaults fskd"][1], "lambda_": 6.0}
    assert golden.moved({name: known[name]}, {name: [1, value]})
