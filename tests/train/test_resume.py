"""Killed at random steps and started again, every method gives the losses and weights of a run that was left
alone, bit for bit.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lrfr.train import checkpoint
from lrfr.train.engine.journal import loss_trace
from lrfr.train.style.style_task import WEIGHTS

FAST = [
    "train.unit=step",
    "train.length=6",
    "train.milestones=[3]",
    "train.batch_size=8",
    "train.threads=1",
    "train.save_every=1",
]
# name: (method, overrides, parents by role)
CASES = {
    "baseline": ("baseline", [], {}),
    "trunk": ("btnet-trunk", [], {}),
    "fskd": ("fskd", [], {"teacher": "baseline"}),
    "fskd-all": (
        "fskd",
        [
            "amp=bf16",
            "accumulate=2",
            "ema_decay=0.9",
            "head.kind=adaface",
            "contrast_weight=0.5",
            "contrast_queue=12",
            "optimizer=adamw",
            "lr=0.001",
            "save_every=2",
        ],
        {"teacher": "baseline"},
    ),
    "narrow": ("baseline", ["backbone=tiny-mobilefacenet"], {}),
    "fskd-connected": (
        "fskd",
        ["connector=conv1x1", "contrast_weight=0.5", "contrast_queue=12"],
        {"teacher": "narrow"},
    ),
    "waveresnet": ("waveresnet", [], {"teacher": "baseline"}),
    "waveresnet-connected": ("waveresnet", ["connector=conv1x1"], {"teacher": "narrow"}),
    "branch": ("btnet-branch", [], {"trunk": "trunk"}),
    "maug": ("maug", ["flip=independent"], {}),
    "catface": ("catface", [], {}),
    "catface2": ("catface", ["step=2"], {"step1": "catface"}),
    "function-matching": (
        "function-matching",
        ["contrast_queue=12", "progressive_steps=4", "norm_power=0.5", "ema_decay=0.9"],
        {"teacher": "baseline"},
    ),
    "octuplet": ("octuplet", ["images_per_id=4"], {"init": "baseline"}),
}
STYLE = {"steps": 6, "save_every": 1}
# name: overrides of the style generator's settings
STYLES = {
    "style": STYLE,
    "style-bf16": {**STYLE, "amp": "bf16"},
    "style-published": {**STYLE, "preset": "published", "ema_decay": 0.0, "save_every": 2},
}
# cases that two processes train
PAIRED = {"baseline-bf16": ("baseline", ["amp=bf16", "ema_decay=0.5"], {})}
CASES |= PAIRED
PAIRS = ["baseline", *PAIRED, *STYLES]
KILLS = 3


@pytest.fixture(scope="module")
def trainer(store):
    command = [sys.executable, str(Path(__file__).with_name("victim.py")), str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(case, folder, kills, world=1):
            method, overrides, parents = CASES.get(case) or ("style", STYLES[case], {})
            paths = {role: str(folder.parent / "whole" / name) for role, name in parents.items()}
            job = {
                "method": method,
                "overrides": overrides if case in STYLES else FAST + overrides,
                "world": world,
                "parents": paths,
                "run": str(folder / case),
                "kills": kills,
            }
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, "the training failed, see stderr"
            return json.loads(answer)["kills"], folder / case

        yield run
        process.stdin.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("resume")


def whole_run(case, trainer, folder):
    """Return the uninterrupted run of a case; its parents' come first."""
    for parent in CASES[case][2].values() if case in CASES else ():
        whole_run(parent, trainer, folder)
    path = folder / "whole" / case
    return path if path.exists() else trainer(case, folder / "whole", 0)[1]


def check_equal(whole, resumed):
    assert loss_trace(resumed / "journal.jsonl") == loss_trace(whole / "journal.jsonl")
    one, other = (checkpoint.load(checkpoint.resolve(path)) for path in (whole, resumed))
    for kind in ("model", "optimizer", "ema"):
        first, second = getattr(one, kind), getattr(other, kind)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), kind
    assert one.state == other.state


@pytest.mark.parametrize("case", [*CASES, *STYLES])
def test_kills_change_nothing(case, trainer, folder):
    whole = whole_run(case, trainer, folder)
    assert len(loss_trace(whole / "journal.jsonl")) == 6
    kills, resumed = trainer(case, folder / "killed", KILLS)
    assert kills == KILLS
    check_equal(whole, resumed)
    if case in STYLES:
        assert (resumed / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


@pytest.mark.parametrize("case", PAIRS)
def test_two_processes_are_killed_and_go_on_and_compute_what_one_does(case, trainer, folder):
    alone = whole_run(case, trainer, folder)
    _, whole = trainer(case, folder / "whole-2", 0, world=2)
    kills, resumed = trainer(case, folder / "killed-2", 1, world=2)
    assert kills == 1
    check_equal(whole, resumed)
    first, second = (loss_trace(path / "journal.jsonl")[0][1] for path in (alone, whole))
    loose = "bf16" in case
    for name in first.keys() - {"grad_norm", "critics_accuracy"}:
        # a recognizer's batch norm sees half of the batch in each process
        wide = 0.2 if case.startswith("baseline") else 0.03 if loose else 1e-4
        assert second[name] == pytest.approx(first[name], rel=wide, abs=1e-3), name


@pytest.mark.soak
@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("case", CASES)
def test_soak_three_hundred_kills(case, turn, trainer, folder):
    whole = whole_run(case, trainer, folder)
    _, resumed = trainer(case, folder / f"killed-{turn}", KILLS)
    check_equal(whole, resumed)
