"""``lrfr degrade turbulence-check`` and ``lrfr train p2s`` as typed."""

import json
import re


def test_p2s_writes_a_bank_and_its_card(lrfr, tmp_path):
    code, out, _ = lrfr("train", "p2s", "--bank", "strong", "--seed", "3", "--out", "banks", "--json")
    assert code == 0
    card = json.loads((tmp_path / "banks/strong.json").read_text("utf-8"))
    assert json.loads(out)["result"]["banks"]["strong"] == card
    assert card["command"] == "lrfr train p2s --bank strong --seed 3"
    assert card["relative_l2_basis"]["4-10"] <= 0.09
    assert (tmp_path / "banks/strong.safetensors").stat().st_size > 1000


def test_dry_runs_write_nothing(lrfr, tmp_path):
    for words in (["train", "p2s"], ["degrade", "turbulence-check"]):
        code, _, _ = lrfr(*words, "--dry-run")
        assert code == 0
    assert list(tmp_path.iterdir()) == []


def test_turbulence_check_writes_its_page(lrfr, tmp_path):
    code, out, _ = lrfr("degrade", "turbulence-check", "--draws", "100", "--json")
    assert code == 0
    result = json.loads(out)["result"]
    assert {path.name for path in (tmp_path / "turbulence-check").iterdir()} == set(result["written"])
    page = (tmp_path / "turbulence-check/index.html").read_text("utf-8")
    assert "p2s2021" in page
    for row in page.split("<tr>"):
        if row.startswith(("<td>weak", "<td>mid", "<td>strong")):
            assert re.search(r"<td>0\.\d+", row), "every bank shows its errors"
    assert all(value > 40 for value in result["psnr_learned_exact_db"].values())
    assert abs(result["tilt"]["std_px"]["x"] / result["tilt"]["std_px"]["theory"] - 1) < 0.25


def test_a_bad_strength_is_one_message(lrfr):
    code, _, err = lrfr("degrade", "--spec", "turb.yaml", "--set", "pipeline.t1.D_over_r0=40")
    assert code == 2
    assert "D/r0 reaches 40" in err
