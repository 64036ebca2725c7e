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
    "waveresnet": ("waveresnet", [], {"teacher": "baseline"}),
    "branch": ("btnet-branch", [], {"trunk": "trunk"}),
    "maug": ("maug", ["flip=independent"], {}),
    "catface": ("catface", [], {}),
    "catface2": ("catface", ["step=2"], {"step1": "catface"}),
    "octuplet": ("octuplet", ["images_per_id=4"], {"init": "baseline"}),
}
KILLS = 3


@pytest.fixture(scope="module")
def trainer(store):
    command = [sys.executable, str(Path(__file__).with_name("victim.py")), str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(case, folder, kills):
            method, overrides, parents = CASES[case]
            paths = {role: str(folder.parent / "whole" / name) for role, name in parents.items()}
            job = {
                "method": method,
                "overrides": FAST + overrides,
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
    for parent in CASES[case][2].values():
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


@pytest.mark.parametrize("case", CASES)
def test_thirty_kills_across_methods_change_nothing(case, trainer, folder):
    whole = whole_run(case, trainer, folder)
    assert len(loss_trace(whole / "journal.jsonl")) == 6
    kills, resumed = trainer(case, folder / "killed", KILLS)
    assert kills == KILLS
    check_equal(whole, resumed)


@pytest.mark.soak
@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("case", CASES)
def test_soak_three_hundred_kills(case, turn, trainer, folder):
    whole = whole_run(case, trainer, folder)
    _, resumed = trainer(case, folder / f"killed-{turn}", KILLS)
    check_equal(whole, resumed)
