"""Every command of docs/first-hour.md, in its order, on 40 synthetic photographs."""

import re
import shlex
from pathlib import Path

from lrfr.core.image import decode
from tests.experiment.in_process import detector, in_process

__all__ = ["detector", "in_process"]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "first-hour.md"


def commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^    (lrfr .*)$", PAGE.read_text("utf-8"), re.M)]


def test_the_first_hour_works_as_typed(lrfr, tmp_path, in_process, detector):
    said = {}
    for argv in commands():
        if argv[0] == "detectors" or argv[1] == "photos/":  # the network; your photographs
            continue
        code, out, err = lrfr(*argv)
        assert code == 0, f"lrfr {shlex.join(argv)}\n{out}{err}"
        said[shlex.join(argv)] = out + err
    quick = next(text for words, text in said.items() if words.endswith("--minutes 1"))
    assert re.search(r"student +\d+\.\d \[", quick) and "few people to measure on" in quick
    shown = re.findall(r"^\[\d+/\d+\] lrfr (.*)$", quick, re.M)
    assert [line.split()[0] for line in shown] == [
        "align", "make-pairs", "degrade", "train", "train", "train", "eval", "eval", "eval", "report"
    ]  # fmt: skip
    page = (tmp_path / "hour/report.html").read_text("utf-8")
    assert "student-s0" in page and not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert decode((tmp_path / "hour/aligned-sheet.png").read_bytes()).shape[0] > 400
    info = said["store info faces"]
    assert ("test" in info and "40" in info) or "refused" in info
