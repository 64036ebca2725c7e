"""The loop: numeric faults, interrupts, locks, other settings, damaged checkpoints, evaluation, several
processes.
"""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, LockedError, NumericFault, SpecError
from lrfr.core.lock import store_lock
from lrfr.core.progress import Hooks
from lrfr.train import checkpoint
from lrfr.train.backbones.teacher import FrozenTeacher
from lrfr.train.engine.distributed import World
from lrfr.train.engine.journal import loss_trace, read
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.heads.margins import HeadSpec
from lrfr.train.heads.partial_fc import shard_head
from lrfr.train.methods.baseline import Baseline
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, finished, train
from lrfr.train.weights.load_nets import load_embedder

FAST = [
    "train.unit=step",
    "train.length=4",
    "train.milestones=[]",
    "train.batch_size=8",
    "train.threads=1",
    "train.save_every=2",
]


def plan(dataset, method="baseline", overrides=(), parents=None):
    return Plan(load_recipe(method, "tiny", [*FAST, *overrides]), dataset.digest, parents or {})


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "baseline"
    torch.set_num_threads(1)
    train(plan(dataset), dataset, folder)
    return folder


def test_finished_run_is_recognized_and_left_alone(dataset, run):
    before = {
        path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"
    }
    result = train(plan(dataset), dataset, run)
    assert finished(run) and result.started_at == result.total == 4
    assert before == {
        path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"
    }


def test_other_settings_in_the_same_folder_are_refused(dataset, run):
    with pytest.raises(SpecError, match=r"train.lr is 0.1 there, 0.2 here"):
        train(plan(dataset, overrides=["lr=0.2"]), dataset, run)
    train(
        plan(dataset, overrides=["log_every=3", "keep=1"]), dataset, run
    )  # how a run is watched is not what it is


def test_two_trainings_in_one_folder(dataset, run):
    with store_lock(run), pytest.raises(LockedError, match="trains here: pid"):
        train(plan(dataset), dataset, run)


@pytest.mark.parametrize("place", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    dataset, tmp_path, monkeypatch, place
):
    plain = Baseline.losses

    def poisoned(self, nets, batch, step):
        losses = plain(self, nets, batch, step)
        if step == 3:
            bad = float("nan") if place == "loss" else 0.0
            extra = torch.sqrt(nets["head"].weight.sum() * 0) if place == "gradient" else bad
            losses["total"] = losses["total"] + extra
        return losses

    monkeypatch.setattr(Baseline, "losses", poisoned)
    with pytest.raises(NumericFault, match=r"not finite at step 4"):
        train(plan(dataset), dataset, tmp_path / "run")
    last = checkpoint.load(checkpoint.resolve(tmp_path / "run"))
    assert last.state["step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in last.model.values() if tensor.is_floating_point())
    monkeypatch.undo()
    assert train(plan(dataset), dataset, tmp_path / "run").started_at == 2


def test_a_learning_rate_beyond_reason_is_refused_or_a_numeric_fault(dataset, tmp_path):
    with pytest.raises(SpecError, match=r"train.lr is inf"):
        plan(dataset, overrides=["lr=.inf"])
    with pytest.raises(SpecError, match=r"train.lr must be"):
        train(plan(dataset, overrides=["lr=1e37"]), dataset, tmp_path / "run")
    with pytest.raises(NumericFault):
        train(plan(dataset, overrides=["lr=1e6"]), dataset, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_command_goes_on(dataset, tmp_path, run, number):
    class Terminated(BaseException):
        pass

    def on_term(signum, frame):
        raise Terminated

    before = signal.signal(signal.SIGTERM, on_term)
    before_int = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores it
    sent = []

    def interrupt(done, total, **info):
        if not sent:
            sent.append(os.kill(os.getpid(), number))

    try:
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Terminated):
            train(plan(dataset), dataset, tmp_path / "run", hooks=Hooks(interrupt))
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, before_int)
    assert checkpoint.load(checkpoint.resolve(tmp_path / "run")).state["step"] < 4
    result = train(plan(dataset), dataset, tmp_path / "run")
    assert result.digest == checkpoint.digest_of(run)
    assert loss_trace(tmp_path / "run/journal.jsonl") == loss_trace(run / "journal.jsonl")


def test_max_steps_stops_early_on_the_whole_schedule(dataset, tmp_path, run):
    short = train(plan(dataset), dataset, tmp_path / "run", options=FitOptions(max_steps=3))
    assert (short.steps, short.total) == (3, 4) and not finished(tmp_path / "run")
    assert train(plan(dataset), dataset, tmp_path / "run").digest == checkpoint.digest_of(run)


def test_every_flipped_byte_and_truncation_of_a_checkpoint_is_seen(run, tmp_path):
    import shutil

    folder = tmp_path / "step"
    shutil.copytree(checkpoint.resolve(run), folder)
    draw = random.Random(0)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for turn in range(12):
            damaged = bytearray(whole)
            if turn % 3 == 2:
                damaged = damaged[: draw.randrange(len(damaged))]
            else:
                damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
            file.write_bytes(damaged)
            with pytest.raises(DataError):
                checkpoint.load(folder)
        file.write_bytes(whole)
    checkpoint.load(folder)


def test_a_damaged_last_checkpoint_is_passed_over_with_a_word(dataset, tmp_path, run):
    notes = []
    train(plan(dataset), dataset, tmp_path / "run")
    last = checkpoint.steps(tmp_path / "run")[-1] / "model.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    result = train(plan(dataset), dataset, tmp_path / "run", hooks=Hooks(on_note=notes.append))
    assert result.started_at == 2 and "damaged checkpoint" in notes[0]
    assert result.digest == checkpoint.digest_of(run)


def test_not_a_checkpoint(tmp_path):
    with pytest.raises(DataError, match="neither a checkpoint nor a run"):
        load_embedder(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": 1}')
    with pytest.raises(DataError, match="manifest is damaged"):
        load_embedder(tmp_path)


def test_evaluation_chooses_best_and_uses_averaged_weights(dataset, tmp_path):
    seen, values = [], iter([0.5, 0.9, 0.7, 0.6])

    def evaluate(embed):
        seen.append(embed([np.zeros((112, 112, 3), np.uint8)]))
        return {"accuracy": next(values)}

    result = train(
        plan(dataset, overrides=["eval_every=1", "ema_decay=0.5"]),
        dataset,
        tmp_path / "run",
        FitOptions(evaluate=evaluate),
    )
    assert result.metrics == {"accuracy": 0.6}
    assert checkpoint.load(tmp_path / "run" / "best").state["step"] == 2
    assert np.allclose(
        load_embedder(tmp_path / "run" / "best")([np.zeros((112, 112, 3), np.uint8)]), seen[1], atol=1e-5
    )
    assert [line["eval"]["accuracy"] for line in read(tmp_path / "run/journal.jsonl") if "eval" in line] == [
        0.5,
        0.9,
        0.7,
        0.6,
    ]


def test_training_reads_the_store_and_writes_nothing_there(dataset, store, tmp_path):
    before = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in store.rglob("*")}
    train(plan(dataset), dataset, tmp_path / "a")
    train(plan(dataset, "maug"), dataset, tmp_path / "b")
    assert before == {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in store.rglob("*")}


def test_teacher_never_moves():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5))
    teacher = torch.nn.ModuleDict({"t": FrozenTeacher(net)}).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    outs = [teacher["t"](torch.ones(2, 3, 8, 8)) for _ in range(10)]
    assert all(torch.equal(out, outs[0]) and not out.requires_grad for out in outs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_threads_and_random_state_of_the_caller_are_put_back(dataset, tmp_path):
    torch.manual_seed(5)
    state, names = torch.get_rng_state(), {t.name for t in threading.enumerate()}
    train(plan(dataset, overrides=["length=1"]), dataset, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "lrfr-prefetch" not in {t.name for t in threading.enumerate()} - names


@pytest.mark.parametrize("kind", ["cosface", "arcface", "adaface", "curricularface"])
def test_sharded_head_alone_equals_the_plain_head(kind):
    torch.manual_seed(0)
    plain = HeadSpec(kind, 16.0, 0.3).build(6, 7)
    sharded = shard_head(HeadSpec(kind, 16.0, 0.3).build(6, 7), 0, 1)
    sharded.weight.data.copy_(plain.weight)
    emb, labels = torch.randn(5, 6), torch.tensor([0, 6, 3, 3, 1])
    one, two = emb.clone().requires_grad_(), emb.clone().requires_grad_()
    a, b = plain(one, labels), sharded(two, labels)
    a.backward(), b.backward()
    assert a.item() == pytest.approx(b.item(), rel=1e-5)
    assert torch.allclose(one.grad, two.grad, atol=1e-5) and torch.allclose(
        plain.weight.grad, sharded.weight.grad, atol=1e-5
    )


def test_a_sampled_head_is_the_plain_head_over_its_targets_and_some_others():
    torch.manual_seed(0)
    head = HeadSpec("cosface", 16.0, 0.3).build(6, 40)
    sampled = shard_head(head, 0, 1, 0.25)
    emb, labels = torch.randn(5, 6), torch.tensor([0, 39, 3, 3, 1])
    loss = sampled(emb, labels)
    loss.backward()
    seen = sampled.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert {0, 1, 3, 39} < set(seen) and len(seen) < 25  # 4 targets and about 9 of the 36 others
    alone = HeadSpec("cosface", 16.0, 0.3).build(6, len(seen))
    alone.weight.data.copy_(head.weight[seen])
    wanted = alone(emb, torch.tensor([seen.index(label) for label in labels.tolist()]))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.engine.distributed import join_world
from lrfr.train.engine.loaders import make_loader
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, train
store, out = sys.argv[1:3]
dataset = PairDataset(store, "default")
with join_world("cpu") as world:
    for name, extra in (("plain", []), ("sharded", ["shard_classes=true"])):
        recipe = load_recipe("baseline", "tiny", json.loads(sys.argv[3]) + extra)
        rows = [batch.row_b.tolist() for batch in make_loader(dataset, recipe.settings, world).iterate(0)]
        Path(out, f"rows-{world.size}-{world.rank}.json").write_text(json.dumps(rows))
        train(Plan(recipe, dataset.digest, {}), dataset, Path(out, f"{name}-{world.size}"), FitOptions(world=world))
"""


def test_two_processes_see_the_same_global_batches_and_shards_change_nothing(store, tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = [str(tmp_path / "script.py"), str(store), str(tmp_path), json.dumps(FAST)]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(arguments[0])
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *arguments,
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    whole, *parts = (
        json.loads(Path(tmp_path, f"rows-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")
    )
    assert whole == [a + b for a, b in zip(*parts, strict=True)]
    plain, sharded = (loss_trace(tmp_path / name / "journal.jsonl") for name in ("plain-2", "sharded-2"))
    for (_, a), (_, b) in zip(plain[:2], sharded[:2], strict=True):
        assert a["total"] == pytest.approx(b["total"], rel=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    saved = [
        checkpoint.load(checkpoint.resolve(tmp_path / name)).model["head.weight"]
        for name in ("plain-2", "sharded-2")
    ]
    assert saved[0].shape == saved[1].shape
    assert World().leads
