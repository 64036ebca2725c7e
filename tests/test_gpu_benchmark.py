"""The benchmark for machines with GPUs runs on any, small: numbers, a page, and a fault is told as one."""

import json
import sys

import pytest

from benchmarks import gpu


def run(monkeypatch, capsys, out, *words):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--device", "cpu", "--out", str(out), *words])
    code = gpu.main()
    return code, json.loads(out.with_suffix(".json").read_text()), capsys.readouterr().out


def test_parts_give_numbers_and_a_page(monkeypatch, capsys, tmp_path):
    words = ("--parts", "methods,feed,checkpoint", "--methods", "baseline,fskd")
    code, found, page = run(monkeypatch, capsys, tmp_path / "gpu", *words)
    assert code == 0 and page.strip() == (tmp_path / "gpu.md").read_text().strip()
    assert [row["method"] for row in found["methods"]] == ["baseline", "fskd"]
    assert all(row["images_per_s"] > 0 and row["loss"] > 0 for row in found["methods"])
    assert all(row["pairs_per_s"] > 0 for row in found["feed"]) and len(found["feed"]) == 4
    assert all(row["gb"] > 0 and row["wait_s"] >= 0 for row in found["checkpoint"])
    assert "## feed" in page and "| fskd |" in page and found["machine"]["lrfr"] in page


@pytest.mark.soak
def test_heads_in_two_processes(monkeypatch, capsys, tmp_path):
    code, found, _ = run(monkeypatch, capsys, tmp_path / "gpu", "--parts", "heads")
    assert code == 0 and [row["spread"] for row in found["heads"]] == [False, True]
    assert found["heads"][0]["loss"] == pytest.approx(found["heads"][1]["loss"], rel=1e-3)


def test_a_fault_is_a_row_and_an_exit_code(monkeypatch, capsys, tmp_path):
    def broken(*arguments):
        raise RuntimeError("no memory")

    monkeypatch.setattr(gpu, "built", broken)
    code, found, page = run(monkeypatch, capsys, tmp_path / "gpu", "--parts", "methods", "--methods", "maug")
    assert code == 1 and "no memory" in found["methods"][0]["fault"] and "no memory" in page


def test_words_that_are_no_parts_are_refused(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, tmp_path / "gpu", "--parts", "heds")
    assert "unknown: heds" in capsys.readouterr().err
