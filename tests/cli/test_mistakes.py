"""The commonest mistakes of a first day: each ends in one message, with its exit code, that says what to type next;
where that is a command, it is typed, and works.
"""

import os
import re
import resource
import shlex
import signal

import numpy as np
import pytest
import torch

from lrfr.core.image import encode_png
from lrfr.core.landmarks import TEMPLATE
from lrfr.pairs.align.landmark_table import LandmarkRow, table_bytes
from lrfr.pairs.sources.synthetic import render_face
from lrfr.pairs.sources.synthetic_photos import photograph
from lrfr.train.backbones.table import build_backbone
from tests.experiment.in_process import PACE

SPEC = "version: 1\nname: x\nimage: {size: 112}\npipeline:\n"
DOWN = "  - {op: down, size: 14, filter: bicubic, antialias: true}\n"


@pytest.fixture
def typed(lrfr, tmp_path, monkeypatch):
    """An empty folder with four people in ``faces``; ``typed(line)`` gives the code and all that was said."""
    monkeypatch.setattr("lrfr.experiment.first_hour.first_plan.pace_of", PACE)
    for person in range(4):
        for number in range(3):
            path = tmp_path / f"faces/p{person}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(render_face(person, number, 1)[0]))

    def call(line):
        code, out, err = lrfr(*shlex.split(line))
        assert "bug in lrfr" not in err and "Traceback" not in err
        return code, out + err

    return call


def pairs(typed, more=""):
    code, said = typed(f"make-pairs --source faces --spec maug --view mine {more}")
    assert code == 0, said
    return said


# the mistake, its exit code, what the message says, and the word that mends the line
NEAR = {
    "no such source": ("make-pairs --source facs --plan", 2, r"did you mean --source (faces)", "facs"),
    "no such preset": ("degrade faces --spec mugg --preview", 2, r"did you mean '(maug)'", "mugg"),
    "no such method": ("train show fskdd", 2, r"did you mean '(fskd)'", "fskdd"),
    "no such benchmark": ("eval --benchmark sintetic --embedder m:e", 2, r"did you mean '(synthetic)'", None),
    "no such experiment": ("experiment demoo --plan", 2, r"did you mean '(demo)'", "demoo"),
    "no such setting": ("train fskd --dry-run --set lamda=3", 2, r"did you mean '(lambda)'", "lamda"),
    "no such command": ("make-pear --plan", 2, r"Did you mean '(make-pairs)'", "make-pear"),
    "a share in percent": ("make-pairs --source faces --holdout 20 --plan", 2, r"A share: (0.2)\?", "20"),
    "no such way to align": (
        "make-pairs --source faces --align detcet --plan",
        3,
        r"did you mean '(detect)'",
        None,
    ),
    "no such op": ("spec check op.yaml", 2, r"op.yaml:5:6: .*did you mean '(down)'", None),
    "an old spelling in a spec": ("spec check old.yaml", 2, r"old.yaml:3:20: .*did you mean '(color)'", None),
}


@pytest.mark.parametrize("name", NEAR)
def test_a_near_name_is_named_and_works(typed, tmp_path, name):
    (tmp_path / "op.yaml").write_text(SPEC + DOWN.replace("down", "dwon"))
    (tmp_path / "old.yaml").write_text(SPEC.replace("size: 112", "size: 112, colour: rgb") + DOWN)
    line, expected, pattern, wrong = NEAR[name]
    code, said = typed(line)
    found = re.search(pattern, said)
    assert code == expected and found, said
    if wrong is not None:
        code, said = typed(line.replace(wrong, found[1]))
        assert code == 0, said


def test_a_view_that_is_misspelled(typed):
    pairs(typed)
    for line in ("store info mien", "make-pairs --extend mien --source faces --plan", "store card mien"):
        code, said = typed(line)
        assert code == 2 and re.search(r"did you mean '(mine)'", said), said
        assert typed(line.replace("mien", "mine"))[0] == 0


def test_training_before_there_are_pairs(typed):
    code, said = typed("train baseline --view mine")
    assert code == 2 and "there is no store here" in said and "lrfr make-pairs" in said
    pairs(typed)
    assert typed("train baseline --view mine --dry-run")[0] == 0


def test_a_batch_that_is_larger_than_the_data(typed):
    pairs(typed)
    code, said = typed("train baseline --view mine")
    found = re.search(r"--set batch_size=\d+", said)
    assert code == 3 and found, said
    code, said = typed(f"train baseline --view mine --max-steps 1 --set backbone=tiny-gap {found[0]}")
    assert code == 0, said


def test_a_gpu_that_is_not_there(typed):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    pairs(typed)
    line = "train baseline --view mine --max-steps 1 --set batch_size=4 --set backbone=tiny-gap --device cuda"
    code, said = typed(line)
    found = re.search(r"no device 'cuda' here \(.*(--device cpu)\)", said)
    assert code == 5 and found, said
    assert typed(line.replace("--device cuda", found[1]))[0] == 0
    code, said = typed("eval runs/baseline --device cuda:3")
    assert code == 5 and "--device cpu" in said
    assert typed(f"{line.replace('--device cuda', '--device gpu')}")[0] == 5


def test_an_interrupted_run_with_other_settings(typed):
    pairs(typed)
    line = "train baseline --view mine --max-steps 1 --set batch_size=4 --set backbone=tiny-gap"
    assert typed(line)[0] == 0
    code, said = typed(f"{line} --set train.lr=0.5")
    assert code == 2 and "lr" in said and "--name" in said, said
    assert typed(f"{line} --set train.lr=0.5 --name other")[0] == 0
    code, said = typed("eval")  # and what there is to measure is named
    found = re.search(r"lrfr (eval runs/other)", said)
    assert code == 2 and found, said
    assert typed(f"{found[1]} --dry-run")[0] == 0
    code, said = typed("eval runs/basline")
    found = re.search(r"there is (runs/baseline)", said)
    assert code == 3 and found, said
    code, said = typed("eval runs/baseline --benchmark lfw")
    assert code == 2 and "needs --data" in said and "\n  lfw.bin" in said and "\\n" not in said


def test_a_teacher_that_is_not_there(typed):
    pairs(typed)
    code, said = typed("train fskd --view mine --parent teacher=runs/big")
    assert code == 3 and "runs/big" in said and "lrfr train" in said


def test_one_picture_in_place_of_a_folder(typed):
    code, said = typed("make-pairs --source faces/p0/0.png --plan")
    found = re.search(r"(--source \S+faces)\)", said)
    assert code == 2 and found, said
    assert typed(f"make-pairs {found[1]} --plan")[0] == 0


def test_a_folder_without_folders_for_people(typed, tmp_path):
    for path in sorted((tmp_path / "faces").rglob("*.png")):
        (tmp_path / "flat").mkdir(exist_ok=True)
        (tmp_path / f"flat/{path.parent.name}_{path.name}").write_bytes(path.read_bytes())
    code, said = typed("make-pairs --source flat --spec maug")
    assert code == 0 and "no face has an identity" in said and "lrfr quickstart" in said
    for number in range(4, 12):
        for again in (0, 1):
            face = encode_png(render_face(number, again, 1)[0])
            (tmp_path / f"flat/p{number}_{again}.png").write_bytes(face)
    code, said = typed("quickstart flat --dry-run --minutes 1")
    assert code == 0 and "12 people, told by names of files; aligned crops" in said, said


def test_tabs_and_crooked_indents_in_a_spec(typed, tmp_path):
    (tmp_path / "tabs.yaml").write_text(SPEC + DOWN.replace("  -", "\t-"))
    (tmp_path / "crooked.yaml").write_text(SPEC + "  - op: down\n   size: 14\n")
    code, said = typed("spec check tabs.yaml")
    assert code == 2 and "tabs.yaml:5:1" in said and "indent by spaces" in said
    code, said = typed("spec check crooked.yaml")
    assert code == 2 and "crooked.yaml:6:4" in said and "different numbers of spaces" in said
    (tmp_path / "tabs.yaml").write_text((tmp_path / "tabs.yaml").read_text().replace("\t", "  "))
    assert typed("spec check tabs.yaml")[0] == 0


def test_a_spec_that_is_not_there(typed):
    code, said = typed("degrade faces --spec mine.yaml --preview")
    found = re.search(r"lrfr (init mine.yaml)", said)
    assert code == 2 and found, said
    assert typed(found[1])[0] == 0 and typed("degrade faces --spec mine.yaml --preview")[0] == 0


def test_crops_among_the_photographs(typed):
    code, said = typed("align faces --out faces/aligned --dry-run")
    assert code == 2 and "--out faces-aligned" in said


def test_a_store_where_nobody_may_write(typed, tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "file").write_text("")
        where = "file/store"
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        where = "closed/store"
    code, said = typed(f"make-pairs --source faces --spec maug --store {where}")
    assert code == 5 and "cannot write" in said and "--store" in said, said


def test_too_few_people(typed):
    code, said = typed("quickstart faces --dry-run")
    found = re.search(r"lrfr (quickstart synthetic:\S+)\)", said)
    assert code == 3 and found, said
    assert typed(f"{found[1]} --dry-run")[0] == 0


def test_measuring_on_the_people_that_were_learned(typed):
    pairs(typed)
    assert (
        typed("train baseline --view mine --max-steps 1 --set batch_size=4 --set backbone=tiny-gap")[0] == 0
    )
    code, said = typed("eval runs/baseline --benchmark view --replicates 0")
    assert code == 0 and "trained on these very faces" in said


@pytest.mark.parametrize("line", ["{path}|{who}", "{path}:{who}"])
def test_a_separator_that_is_none(typed, tmp_path, line):
    rows = [(f"p{person}/{number}.png", f"p{person}") for person in range(4) for number in range(3)]
    lines = [line.format(path=path, who=who) for path, who in rows]
    mark = line[len("{path}")]
    (tmp_path / "who.txt").write_text("\n".join(lines))
    (tmp_path / "who.csv").write_text("\n".join([f"path{mark}identity", *lines]))
    (tmp_path / "marks.txt").write_text(
        "\n".join(f"{path}{mark}{mark.join('1234567890')}" for path, _ in rows)
    )
    for source in ("list:who.txt,root=faces", "csv:who.csv,root=faces", "faces --align marks.txt"):
        code, said = typed(f"make-pairs --source {source} --plan")
        assert code == 2 and f"'{mark}' separates no fields: write a tab, a comma" in said, said
    for separator in ("\t", ",", ";"):
        (tmp_path / "who.csv").write_text("\n".join([f"path{mark}identity", *lines]).replace(mark, separator))
        assert typed("make-pairs --source csv:who.csv,root=faces --plan")[0] == 0


def test_a_list_of_pairs_with_a_separator_that_is_none(typed, tmp_path):
    (tmp_path / "faces/pairs.tsv").write_text("p0/0.png|p0/1.png|1|1\n")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef embed(images): return np.ones((len(images), 2))\n"
    )
    code, said = typed("eval --benchmark pairs-tsv --data faces/pairs.tsv --embedder mine:embed")
    assert code == 3 and "pairs.tsv:1" in said and "'|' separates no fields" in said, said


def test_a_spec_for_faces_of_another_size(typed):
    code, said = typed("make-pairs --source faces --spec maug --size 64")
    found = re.search(r"\((--size 112), or (--set image.size=64)\)", said)
    assert code == 2 and found, said
    assert typed(f"make-pairs --source faces --spec maug {found[1]} --plan")[0] == 0
    assert typed(f"make-pairs --source faces --spec maug --size 64 {found[2]} --plan")[0] == 0


def test_a_store_without_the_view_that_is_meant(typed, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef embed(images): return np.ones((len(images), 2))\n"
    )
    pairs(typed, "--store other")
    line = "eval --embedder mine:embed --benchmark view --store other --dry-run"
    code, said = typed(line)
    found = re.search(r"no view 'default' \(known: (mine)\)", said)
    assert code == 2 and found, said
    assert typed(f"{line} --view {found[1]}")[0] == 0


def test_photographs_that_are_not_aligned(typed, tmp_path):
    for person in range(4):
        for number in range(2):
            path = tmp_path / f"photos/p{person}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(photograph(person, number, 0)[0]))
    code, said = typed("make-pairs --source photos --spec maug")
    assert code == 0 and said.count("W_UNALIGNED") == 1 and "--align detect" in said, said


@pytest.mark.parametrize(
    "line",
    [
        "make-pairs --source faces --spec maug",
        "align faces --out crops --landmarks marks.tsv",
        "degrade faces --spec maug --out low",
    ],
)
def test_a_disk_that_is_full(typed, tmp_path, line):
    points = "\t".join(f"{value:.2f}" for value in TEMPLATE.ravel())
    keys = [f"p{person}/{number}.png" for person in range(4) for number in range(3)]
    (tmp_path / "marks.tsv").write_text("".join(f"{key}\t{points}\n" for key in keys))
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, most[1]))  # no picture of a face is that small
    try:
        code, said = typed(line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        signal.signal(signal.SIGXFSZ, before)
    assert code == 5 and "make room and type the same command again" in said, said
    assert typed(line)[0] == 0


def test_a_store_among_its_own_faces(typed, tmp_path):
    for store in ("faces", "faces/store", "./faces/p0/../deep/store"):
        code, said = typed(f"make-pairs --source faces --spec maug --store {store} --plan")
        found = re.search(r"\((--store faces-store)\)", said)
        assert code == 2 and "among its own faces" in said and found, said
        code, said = typed(f"make-pairs --source folder:faces,identity=name --spec maug --store {store}")
        assert code == 2 and not (tmp_path / store / "views").exists(), said
    assert typed(f"make-pairs --source faces --spec maug {found[1]} --plan")[0] == 0


@pytest.mark.parametrize("name", ["../../x", "a/b", "/tmp/x", "..", ".hidden", "'a\\b'"])
def test_a_path_for_the_name_of_a_run(typed, tmp_path, name):
    code, said = typed(f"train baseline --name {name} --dry-run")
    assert code == 2 and "is no name for a run" in said and "--name mine" in said, said
    assert typed("train baseline --name mine --dry-run")[0] == 0


def test_a_dry_evaluation_reads_the_list(typed, tmp_path):
    (tmp_path / "mine.py").write_text("def embed(images): raise SystemExit('a model was run')\n")
    line = "eval --benchmark pairs-tsv --data faces/pairs.tsv --embedder mine:embed --dry-run"
    rows = [f"p{a}/0.png\tp{b}/1.png\t{int(a == b)}\t{a % 2}" for a in range(4) for b in range(4)]
    (tmp_path / "faces/pairs.tsv").write_text("\n".join(rows))
    assert typed(line)[0] == 0
    for fault, words in (("p0/0.png\tp1/7.png\t0\t0", "p1/7.png"), ("p0/0.png\tp1/0.png\t5\t0", ":17")):
        (tmp_path / "faces/pairs.tsv").write_text("\n".join([*rows, fault]))
        code, said = typed(line)
        assert code in (2, 3) and words in said, said
        assert not (tmp_path / "results").exists()


def test_one_picture_of_one_person(typed, tmp_path):
    (tmp_path / "one/ann").mkdir(parents=True)
    (tmp_path / "one/ann/1.png").write_bytes((tmp_path / "faces/p0/0.png").read_bytes())
    code, said = typed("quickstart one --dry-run")
    assert code == 3 and "1 picture of 1 person: there is nobody to tell apart" in said, said


def test_landmarks_of_heads_on_their_side_are_taken_back(typed, tmp_path):
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    marks = {f"p{p}/{n}.png": (TEMPLATE - 56) @ turn.T + 56 for p in range(4) for n in range(3)}
    table = table_bytes(LandmarkRow(key, tuple(points.reshape(-1))) for key, points in marks.items())
    (tmp_path / "own.tsv").write_bytes(table)
    (tmp_path / "other.txt").write_bytes(
        b"\n".join(line.rpartition(b"\t")[0] for line in table.splitlines()[1:])
    )
    code, said = typed("make-pairs --source faces --align other.txt --plan")
    assert code == 2 and "photographs lie on their side" in said, said
    assert typed("make-pairs --source faces --align own.tsv --plan")[0] == 0
    assert typed("align faces --landmarks own.tsv --out crops --dry-run")[0] == 0


# a line about other people's files, its exit code, what is said
ODD = {
    "a text as weights": ("import-weights notes.txt", 3, "a text, no file of weights"),
    "a text as a teacher": (
        "quickstart crops --teacher notes.txt --dry-run",
        3,
        "a text, no file of weights",
    ),
    "weights in place of a run": ("export tiny.pth --onnx", 3, "(lrfr import-weights tiny.pth)"),
    "whole numbers of nothing": ("export runs/t --quantize int8", 2, "(--onnx --quantize int8)"),
    "an unknown filter": (
        "eval --embedder mine:embed --interpolation bicubicc --dry-run",
        2,
        "expected one of box",
    ),
    "a folder for results": (
        "eval --embedder mine:embed --out faces --dry-run",
        2,
        "else than results lies here",
    ),
    "a picture for results": ("eval --embedder mine:embed --out faces/p0/0.png", 2, "(name another --out)"),
    "an input of a run of ours": ("eval runs/t --bgr --dry-run", 2, "go with a file such as x.onnx"),
    "one photograph to align": ("align faces/p0/0.png --out x", 2, "(lrfr align "),
    "photographs that are not there": ("align facs --out x", 2, "did you mean lrfr align faces"),
    "an empty folder to align": ("align void --out x", 2, "no image files here (.jpg .png"),
    "a misspelled option of a source": (
        "quickstart synthetic:id=9 --dry-run",
        2,
        "lrfr quickstart synthetic:",
    ),
    "a benchmark's file": (
        "eval --embedder mine:embed --benchmark lfw --data faces",
        3,
        "'lfw.bin' is missing",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_and_places(typed, tmp_path, name):
    (tmp_path / "notes.txt").write_text("what I did on Monday\n")
    (tmp_path / "tiny.pth").write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "void").mkdir()
    (tmp_path / "mine.py").write_text("def embed(images): raise SystemExit('a model was run')\n")
    line, expected, words = ODD[name]
    code, said = typed(line.replace("crops", "faces"))
    assert code == expected and words in said and len(said) < 900, said
    assert (tmp_path / "faces/p0/0.png").read_bytes()[:4] == b"\x89PNG"


def test_a_split_of_a_view_that_has_none(typed, tmp_path):
    pairs(typed)
    code, said = typed("make-list pairs mine --split test --out p.tsv")
    found = re.search(r"make-pairs (--holdout 0.2)", said)
    assert code == 2 and "no split 'test'" in said and found, said
    (tmp_path / "mine.py").write_text("def embed(images): raise SystemExit('a model was run')\n")
    code, said = typed("eval --embedder mine:embed --benchmark view --view mine --split test --dry-run")
    assert code == 2 and "--holdout 0.2" in said, said


@pytest.mark.parametrize("suffix", ["pth", "bin", "ckpt"])
def test_weights_of_any_form_teach_a_first_hour(typed, tmp_path, suffix):
    torch.save({"state_dict": build_backbone("tiny").state_dict()}, tmp_path / f"w.{suffix}")
    line = f"quickstart synthetic:ids=30,per_id=2 --teacher w.{suffix} --minutes 1 --dry-run --json"
    code, said = typed(line)  # the table cuts long lines
    found = re.search(r'"command": "([^"]*import-weights[^"]*)"', said)
    assert code == 0 and found and f"w.{suffix} --out runs/teacher" in found[1], said


@pytest.mark.parametrize(
    "line",
    [
        "fit faces --source faces --budget nan",
        "make-pairs --source faces --spec fskd --holdout nan",
        "make-pairs --source faces --spec fskd --max-bad nan",
        "quickstart --minutes nan",
    ],
)
def test_nan_lies_within_no_bounds(typed, line):
    code, said = typed(line)
    assert code == 2 and "'nan' is no number" in said
