"""What a GPU would meet: one device, no wait in a step, and the same losses where no row may be chosen."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.machine import checked_device, cores_of_process, usable_cores
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train import checkpoint
from lrfr.train.checkpoint.share_files import cut
from lrfr.train.engine.background import Writer, on_host
from lrfr.train.engine.distributed import World
from lrfr.train.engine.journal import loss_trace
from lrfr.train.engine.method_run import Run
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.engine.run_record import RunRecord
from lrfr.train.heads import margins, partial_fc
from lrfr.train.heads.margins import MARGINS, HeadSpec
from lrfr.train.heads.partial_fc import shard_head
from lrfr.train.methods import guided
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, train
from lrfr.train.settings import TrainSettings
from tests.train.conftest import FAST
from tests.train.golden import VARIANTS, batch, built

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def on_a_device(tmp_path_factory):
    out = tmp_path_factory.mktemp("fake") / "out.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.train.fake_gpu", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def test_no_step_of_any_method_head_or_distance_mixes_devices_or_waits_for_one(on_a_device):
    faults = {
        name: fault for name, fault in on_a_device.items() if fault and not name.startswith("must fail")
    }
    assert len(on_a_device) > 90 and not faults, faults


def test_the_device_sees_what_it_should_see(on_a_device):
    """Each way to wait or to mix is told, or the test above could not fail."""
    told = {name: fault for name, fault in on_a_device.items() if name.startswith("must fail")}
    assert len(told) >= 7 and all(told.values()), told


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("kind", MARGINS.names())
@pytest.mark.parametrize("labels", [[0, 6, 3, 1], [0, -1, 6, -1], [-1, -1, 5, -1], [-1, -1, -1, -1]])
def test_heads_that_choose_no_rows_agree_with_those_that_do(kind, labels, shard, monkeypatch):
    found = []
    for chooses in (True, False):
        monkeypatch.setattr(margins, "rows_cost_nothing", lambda x, chooses=chooses: chooses)
        monkeypatch.setattr(partial_fc, "rows_cost_nothing", lambda x, chooses=chooses: chooses)
        torch.manual_seed(0)
        head = HeadSpec(kind, 16.0, 0.3).build(8, 7).double()
        one = shard_head(head, 0, 1) if shard else head
        emb = (torch.randn(4, 8, dtype=torch.float64) * 3).requires_grad_()
        told = torch.tensor(labels)
        for use in (one, one.logits):
            value = use(emb, told)
            value.square().sum().backward()
            found.append((chooses, [value.detach(), emb.grad.clone(), one.weight.grad.clone()]))
            found[-1][1].extend(buffer.clone() for buffer in one.buffers())
    half = len(found) // 2
    for (_, wanted), (_, other) in zip(found[:half], found[half:], strict=True):
        for a, b in zip(wanted, other, strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


def test_restyled_rows_are_those_with_labels_on_any_device(monkeypatch):
    spec = guided.GuidedSpec("tiny", share=0.5)
    labels = torch.tensor([0, -1, 2, -1, -1, -1])
    wanted = guided.chosen_rows(spec, labels, 3)
    monkeypatch.setattr(guided, "rows_cost_nothing", lambda x: False)
    found = guided.chosen_rows(spec, labels, 3)
    assert set(wanted.tolist()) < set(found.tolist()) and len(found) == 3


def plan(dataset, *overrides, method="baseline"):
    return Plan(load_recipe(method, "tiny", [*FAST, *overrides]), dataset.digest, {})


def test_what_was_not_asked_to_be_deterministic_says_so(dataset, tmp_path):
    for value in ("true", "false"):
        train(plan(dataset, f"deterministic={value}", "length=2"), dataset, tmp_path / value)
    assert RunRecord.read(tmp_path / "true").repeats == "bits"
    assert RunRecord.read(tmp_path / "false").repeats == "rounding"
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
    assert loss_trace(tmp_path / "true/journal.jsonl") == loss_trace(tmp_path / "false/journal.jsonl")
    assert load_recipe("fskd", "tiny").settings.deterministic
    assert not load_recipe("fskd", "paper").settings.deterministic


def test_compiled_losses_are_the_plain_ones(monkeypatch):
    compiled = torch.compile
    # the compiler's front and gradients; code for this CPU would take half a minute
    monkeypatch.setattr(torch, "compile", lambda what: compiled(what, backend="aot_eager"))
    found = {}
    for value in (False, True):
        method, nets = built("baseline", {})
        run = Run(method, nets, TrainSettings(unit="step", length=2, compile=value), World())
        found[value] = [float(run.step(batch(), step, 0.1)["total"]) for step in range(2)]
    assert found[True] == pytest.approx(found[False], rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_method_steps_in_mixed_precision(variant):
    """As the recipes of papers have it; here by the CPU's autocast."""
    found = {}
    for amp in ("none", "bf16"):
        method, nets = built(*VARIANTS[variant])
        run = Run(method, nets, TrainSettings(unit="step", length=1, amp=amp), World())
        torch.manual_seed(0)
        found[amp] = {name: float(value) for name, value in run.step(batch(), 0, 1e-3).items()}
    assert found["bf16"]["total"] == pytest.approx(found["none"]["total"], rel=0.1)
    assert 0 < found["bf16"]["grad_norm"] < float("inf")


def test_a_writer_is_in_order_and_tells_what_failed():
    writer, seen, go = Writer(), [], threading.Event()

    def slow():
        go.wait(30)
        seen.append(1)

    writer.submit(slow)
    assert not seen  # it does not hold up who asked
    go.set()
    writer.submit(lambda: seen.append(2))
    writer.wait()
    assert seen == [1, 2]

    def full():
        raise EnvironmentFault("the disk is full")

    writer.submit(full)
    with pytest.raises(EnvironmentFault, match="full"):
        writer.close()


def test_a_disk_that_fails_ends_the_run_and_what_was_written_stays(dataset, tmp_path, monkeypatch):
    save = checkpoint.save

    def failing(folder, snapshot):
        if folder.name == "step-00000004":
            raise EnvironmentFault("No space left on device", file=str(folder))
        return save(folder, snapshot)

    monkeypatch.setattr(checkpoint, "save", failing)
    with pytest.raises(EnvironmentFault, match="No space left"):
        train(plan(dataset), dataset, tmp_path / "run")
    monkeypatch.undo()
    assert train(plan(dataset), dataset, tmp_path / "run").started_at == 2


def test_what_is_saved_is_the_state_of_its_step(dataset, tmp_path, monkeypatch):
    """However late it is written: the weights have moved on by then."""
    train(plan(dataset), dataset, tmp_path / "prompt")
    save, waiting = checkpoint.save, []

    def late(folder, snapshot):
        waiting.append(folder)
        threading.Event().wait(0.3)
        return save(folder, snapshot)

    monkeypatch.setattr(checkpoint, "save", late)
    train(plan(dataset), dataset, tmp_path / "late")
    for folder in checkpoint.steps(tmp_path / "prompt"):
        names = sorted(path.name for path in folder.iterdir())
        assert names == sorted(path.name for path in (tmp_path / "late/checkpoints" / folder.name).iterdir())
        for name in names:
            twin = tmp_path / "late/checkpoints" / folder.name / name
            assert twin.read_bytes() == (folder / name).read_bytes(), name
    assert len(waiting) == 3


def test_minutes_save_beside_steps(dataset, tmp_path):
    changes = ("save_every=0", "save_minutes=1.0e-9", "keep=9")
    train(plan(dataset, *changes), dataset, tmp_path / "run")
    assert len(checkpoint.steps(tmp_path / "run")) == 6
    other = train(plan(dataset), dataset, tmp_path / "other")
    assert checkpoint.digest_of(tmp_path / "run") == other.digest  # how often is no part of a run
    with pytest.raises(SpecError, match="save_minutes must be 0 or more"):
        plan(dataset, "save_minutes=-1")


SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.checkpoint import shared_save
from lrfr.train.engine.distributed import join_world
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.heads.partial_fc import ShardedHead
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, train
store, overrides, most, killed, *outs = sys.argv[1:]
def refuse(self, local): raise AssertionError("the whole head was built")
ShardedHead.join = refuse
write = shared_save.save_tensors
def write_and_die(path, tensors):
    write(path, tensors)
    doomed = ".tmp-step-0000000" + killed  # of the last run
    if str(path).startswith(outs[-1]) and path.parent.name == doomed and path.name.startswith("share-00001"):
        os.kill(os.getpid(), 9)
shared_save.save_tensors = write_and_die
dataset = PairDataset(store, "default")
with join_world("cpu") as world:
    plan = Plan(load_recipe("baseline", "tiny", json.loads(overrides)), dataset.digest, {})
    for out in outs:
        train(plan, dataset, Path(out), FitOptions(world=world, max_steps=int(most)))
"""


SPREAD = [*FAST, "shard_classes=true", "ema_decay=0.5", "save_every=1", "keep=9", "flip=none"]


def _in_processes(tmp_path, store, outs, steps, killed=""):
    """Train one run after the other in two processes; the second dies when it has written its share of the
    step ``killed`` of the last run.
    """
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [
        str(tmp_path / "script.py"),
        str(store),
        json.dumps(SPREAD),
        str(steps),
        killed,
        *map(str, outs),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*launch, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode == 0) is not bool(killed), done.stderr[-3000:]


def test_shares_of_a_head_are_written_by_their_owners_and_read_by_any_number_of_them(store, tmp_path):
    one, out = tmp_path / "one", tmp_path / "run"
    _in_processes(tmp_path, store, [one, out], 4, killed="3")
    # the leader removes what it began, unless it is ended first
    begun = out / "checkpoints/.tmp-step-00000003"
    assert not (begun / "manifest.json").exists()
    begun.mkdir(exist_ok=True)
    left = sorted(path.name for path in begun.parent.iterdir())
    assert left == [begun.name, "step-00000001", "step-00000002"]
    last = checkpoint.steps(out)[-1]
    files = {path.name for path in last.iterdir()}
    assert {"share-00000-of-00002.safetensors", "share-00001-of-00002.safetensors"} < files
    whole = checkpoint.load(last)
    assert whole.model["head.weight"].shape[0] == 8 and whole.ema["head.weight"].shape[0] == 8
    momentum = whole.optimizer["head.weight/momentum_buffer"]
    for rows in ((0, 4), (3, 3), (6, 4), (8, 2)):
        part = checkpoint.load(last, rows={"head.weight": rows})
        assert torch.equal(part.model["head.weight"], cut(whole.model["head.weight"], rows))
        assert torch.equal(part.ema["head.weight"], cut(whole.ema["head.weight"], rows))
        assert torch.equal(part.optimizer["head.weight/momentum_buffer"], cut(momentum, rows))
        assert torch.equal(part.model["net.conv1.weight"], whole.model["net.conv1.weight"])
    shutil.copytree(out, tmp_path / "alone")
    _in_processes(tmp_path, store, [out], 4)
    assert loss_trace(out / "journal.jsonl") == loss_trace(one / "journal.jsonl")  # resumed to the bit
    dataset = PairDataset(store)
    alone = Plan(load_recipe("baseline", "tiny", SPREAD), dataset.digest, {})
    run = train(alone, dataset, tmp_path / "alone", FitOptions(world=World(), max_steps=4))
    assert run.started_at == 2 and not list((tmp_path / "alone/checkpoints").glob(".tmp-*"))
    assert "head.weight" in checkpoint.load(checkpoint.steps(tmp_path / "alone")[-1]).model
    assert not list(checkpoint.steps(tmp_path / "alone")[-1].glob("share-*"))  # one process holds it whole
    damaged = checkpoint.steps(out)[-1] / "share-00001-of-00002.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataError, match="missing or damaged"):
        checkpoint.load(damaged.parent)


def test_a_run_goes_on_with_the_kind_of_head_that_it_began_with(dataset, tmp_path):
    """The same losses to rounding, and not to the bit: another run, and named so."""
    plans = {
        spread: Plan(load_recipe("baseline", "tiny", [*FAST, f"shard_classes={spread}"]), dataset.digest, {})
        for spread in (False, True)
    }
    for spread, plan in plans.items():
        train(plan, dataset, tmp_path / str(spread), FitOptions(world=World(), max_steps=1))
        with pytest.raises(SpecError, match=f"train.shard_classes is {spread} there, {not spread} here"):
            train(plans[not spread], dataset, tmp_path / str(spread))
    with pytest.raises(SpecError, match="sample_rate below 1 is of a spread head: set"):
        TrainSettings(sample_rate=0.5)


def test_copies_on_the_host_do_not_follow():
    tensor = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)
    copy = on_host({"x": tensor})["x"]
    tensor.add_(1)
    assert not copy.any() and copy.is_contiguous(memory_format=torch.channels_last)


def test_processes_of_one_machine_share_its_cores(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cores_of_process() == max(1, usable_cores() // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert cores_of_process() == 1
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert cores_of_process() == usable_cores()


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    for there, wanted in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert checked_device("auto") == wanted


def test_batch_norms_over_processes_want_gpus():
    method, nets = built("baseline", {})
    with pytest.raises(SpecError, match="sync_bn needs GPUs"):
        Run(method, nets, TrainSettings(sync_bn=True), World())


def test_a_sampled_head_looks_at_a_number_of_classes_that_no_label_changes():
    head = shard_head(HeadSpec("cosface", 16.0, 0.3).build(8, 100), 0, 1, 0.1)
    torch.manual_seed(0)
    head(torch.randn(6, 8), torch.tensor([0, 99, 5, 5, 7, -1])).backward()
    seen = head.looked_at.nonzero().flatten().tolist()
    assert len(seen) == 10 and {0, 99, 5, 7} <= set(seen)
