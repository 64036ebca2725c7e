"""``lrfr degrade turbulence-check`` and ``lrfr train p2s`` as typed."""

import json
import re

import torch

import lrfr as lrfr_package
from lrfr.core.files import sha256_file
from lrfr.degrade.turbulence.banks import WEIGHTS
from lrfr.degrade.turbulence.check import check, stated_bounds
from lrfr.degrade.turbulence.check.check import run_check


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


def test_turbulence_check_writes_its_page(lrfr, tmp_path, monkeypatch):
    measured = []

    def once(*words):
        """Measure in earnest, but only once for both commands."""
        if not measured:
            measured.append(run_check(*words))
        return measured[0]

    monkeypatch.setattr(check, "run_check", once)
    code, out, _ = lrfr("degrade", "turbulence-check", "--draws", "100", "--json")
    assert code == 0
    result = json.loads(out)["result"]
    assert {path.name for path in (tmp_path / "turbulence-check").iterdir()} == set(result["written"])
    folder = tmp_path / "turbulence-check"
    page = (folder / "index.html").read_text("utf-8")
    assert "p2s2021" in page
    for bank, bins in (("weak", 3), ("mid", 1), ("strong", 1)):
        rows = [row for row in page.split("<tr>") if row.startswith(f"<td>{bank}, ")]
        assert rows and all(len(re.findall(r"<td>0\.\d+", row)) == bins for row in rows), (
            "every bank shows its errors"
        )
        assert sha256_file(WEIGHTS / f"{bank}.safetensors") in page
    for shown in (
        "lrfr degrade turbulence-check --seed 0 --draws 100",
        torch.__version__,
        f"lrfr {lrfr_package.__version__}",
    ):
        assert shown in page
    held = [one for one in result["bounds"] if one["passed"]]
    assert f"{len(held)} of {len(result['bounds'])} bounds hold" in page
    assert page.count('class="pass"') == len(held) == len(result["bounds"]) > 20
    for name in ("strip", "tilt", "mtf", "psf"):
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in (folder / f"{name}.svg").read_text("utf-8")
        assert all(f'"{name}.{form}"' in page for form in ("png", "pdf", "svg"))
    psf = (folder / "psf.svg").read_text("utf-8")
    # matplotlib keeps the text of every label as a comment
    for label in ("x [px]", "y [px]", "share of light in a pixel", "D/r0 = 10 (bank strong)"):
        assert label in psf
    assert abs(result["tilt"]["std_px"]["x"] / result["tilt"]["std_px"]["theory"] - 1) < 0.25

    monkeypatch.setitem(stated_bounds.PICTURE_BOUNDS_DB, "1", 99.0)
    code, _, err = lrfr("degrade", "turbulence-check", "--draws", "100", "--out", "other")
    assert code == 6
    assert "1 of 28 bounds do not hold" in err
    assert 'class="fail"' in (tmp_path / "other/index.html").read_text("utf-8")


def test_bounds_of_few_draws_are_wider_and_an_lower_bound_is_a_lower_one():
    least = stated_bounds.Verdict("PSNR", 50.0, 48.0, least=True)
    most = stated_bounds.Verdict("error", 50.0, 48.0)
    assert (least.passed, most.passed) == (True, False)
    assert (least.row()[2], most.row()[2:]) == (">= 48", ["<= 48", "FAIL"])


def test_a_bad_strength_is_one_message(lrfr):
    code, _, err = lrfr("degrade", "--spec", "turb.yaml", "--set", "pipeline.t1.D_over_r0=40")
    assert code == 2
    assert "D/r0 reaches 40" in err
