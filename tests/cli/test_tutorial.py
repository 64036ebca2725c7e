"""Every command of docs/tutorial.md, in its order, on a small folder of faces."""

import re
import shlex
from pathlib import Path

from lrfr.core.image import decode, encode_jpeg, encode_png
from lrfr.pairs.sources.synthetic import render_face

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


def commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^    (lrfr .*)$", PAGE.read_text("utf-8"), re.M)]


def make_faces(folder: Path) -> None:
    """Write eight people with nine pictures each, one broken file, and a list of pairs."""
    for person in range(8):
        (folder / f"my_faces/p{person}").mkdir(parents=True)
        for number in range(9):
            image = render_face(person, number, 7)[0]
            encode, suffix = (encode_png, "png") if number else (encode_jpeg, "jpg")
            (folder / f"my_faces/p{person}/{number}.{suffix}").write_bytes(encode(image))
    (folder / "new_faces/p8").mkdir(parents=True)
    for number in range(3):
        (folder / f"new_faces/p8/{number}.png").write_bytes(encode_png(render_face(8, number, 7)[0]))
    (folder / "my_faces/p0/broken.jpg").write_bytes(b"<html>404</html>")
    same = [(f"p{p}/1.png", f"p{p}/{n}.png", 1) for p in range(8) for n in (2, 3, 4)]
    other = [(f"p{p}/1.png", f"p{(p + n) % 8}/2.png", 0) for p in range(8) for n in (1, 2, 3)]
    lines = [
        f"my_faces/{a}\tmy_faces/{b}\t{label}"
        for pair in zip(same, other, strict=True)
        for a, b, label in pair
    ]
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n")


def test_the_tutorial_works_as_typed(lrfr, tmp_path):
    make_faces(tmp_path)
    said = {}
    for argv in commands():
        code, out, err = lrfr(*argv)
        assert code == 0, f"lrfr {shlex.join(argv)}\n{out}{err}"
        said[" ".join(argv)] = out + err
    again = next(text for words, text in said.items() if "sensor --view sensor" in words)
    assert "0 HR images" in again, "the second spec found HR in the store"
    grown = next(text for words, text in said.items() if words.endswith("--source new_faces"))
    assert "new 3, kept 72" in grown and "75 faces of 9 identities" in grown
    following = [
        shlex.split(line.split("    ")[0])[2]
        for line in re.findall(r"^next: .*", "".join(said.values()), re.M)
    ]
    assert set(following) == {"degrade", "make-pairs", "train", "eval", "report"}, "no stage is a dead end"
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "maug" in page and "fskd" in page and not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert decode((tmp_path / "look" / "contact.png").read_bytes()).shape[0] > 8 * 50, "a row for every face"
    assert list((tmp_path / "maug-model").glob("*.safetensors"))


def test_the_tutorial_has_every_stage():
    words = {argv[0] for argv in commands()}
    assert words >= {
        "presets",
        "degrade",
        "init",
        "spec",
        "make-pairs",
        "store",
        "train",
        "eval",
        "report",
        "export",
    }
