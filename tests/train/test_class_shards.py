"""The sharded head stands in for the whole one: in every method, on one process and on two."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from lrfr.train import checkpoint
from lrfr.train.checkpoint.shared_save import save_together
from lrfr.train.engine.distributed import World, join_world
from lrfr.train.engine.method_run import Run
from lrfr.train.heads.margins import MARGINS, HeadSpec
from lrfr.train.heads.partial_fc import shard_head
from lrfr.train.settings import TrainSettings
from tests.train.golden import VARIANTS, batch, built

LABELS = torch.tensor([0, -1, 2, 3, -1, -1])
CASES = {
    **VARIANTS,
    "fskd kl margin": ("fskd", {"distance": "kl"}),
    "fskd kl cosine": ("fskd", {"distance": "kl", "logits": "cosine"}),
    "waveresnet cosine": ("waveresnet", {"logits": "cosine"}),
    "baseline softmax": ("baseline", {"head.kind": "softmax", "head.scale": 1, "head.margin": 0}),
    "btnet-branch own classifiers": ("btnet-branch", {"bct": False}),
    "catface step 2, all": ("catface", {"step": 2, "train_backbone": True}),
    "catface hr": ("catface", {"cls_on": "hr"}),
}
# drop-out draws for each process, and triplets and contrasts are of the faces of one: only sharding changes nothing there
OWN_DRAWS = {"octuplet", "maug", "function-matching"}
NO_HEAD = {"octuplet", "function-matching"}
# styles are sought by the head's own gradient, face by face of each process
GUIDED = ("catface", {"guided.weights": "tiny", "guided.share": 0.5})


def steps(case, world, *, shard, labels):
    """Return the losses and gradient norms of two steps, on this process's part of one batch."""
    name, changes = CASES.get(case, GUIDED)
    # frozen statistics: those of batch norms are each process's own
    method, nets = built(name, {"batch_norm": "frozen", **changes})
    settings = TrainSettings(unit="step", length=2, shard_classes=shard, momentum=0.9)
    run = Run(method, nets, settings, world)
    rows = world.share(6)
    part = replace(batch(), label_b=torch.tensor(labels)).part(rows)
    found = [{key: float(value) for key, value in run.step(part, step, 1e-4).items()} for step in range(2)]
    frozen = "head" in run.nets and not run.nets["head"].weight.requires_grad
    return found, float(run.state.model()["head.weight"].double().sum()) if frozen else None


def every(world):
    """Return all cases' losses of one world size."""
    found = {}
    for case in CASES:
        for shard in (False, True):
            if not (shard and CASES[case][0] in NO_HEAD):
                found[f"{case}|{shard}"] = steps(case, world, shard=shard, labels=LABELS.tolist())
    return found


def guided(world):
    """Return the losses where the last of two processes has no labels at all."""
    labels = [0, 1, 2, -1, -1, -1]
    return [steps("guided", world, shard=shard, labels=labels)[0] for shard in (False, True)]


def overflow(world):
    """Let the last process's share of the classes overflow in the second of three steps under fp16; return
    the loss scale and how far networks and classes have moved after each, of every process.
    """
    method, nets = built("baseline", {"batch_norm": "frozen"})
    settings = TrainSettings(unit="step", length=3, shard_classes=True, amp="fp16")
    run = Run(method, nets, settings, world)
    run.state.scaler._init_scale = 1024.0
    weight, told, found = run.nets["head"].weight, [], []
    weight.register_hook(lambda grad: grad * (float("inf") if told and told[0] else 1.0))
    part = replace(batch(), label_b=LABELS).part(world.share(6))
    for step in range(3):
        told[:] = [step == 1 and world.rank == world.size - 1]
        before = {name: tensor.clone() for name, tensor in run.state.model().items()}
        run.step(part, step, 1e-3)
        moved = {
            name: float((t - before[name]).abs().max()) for name, t in run.state.model().items() if t.numel()
        }
        there = torch.tensor([moved["head.weight"], max(moved.values()), run.state.scaler.get_scale()])
        found.append(
            [world.mean({"": there * (world.rank == rank)})[""].tolist() for rank in range(world.size)]
        )
    return found


def in_a_world(out):
    """Write what one process of several finds, by the leader."""
    with join_world("cpu") as world:
        found = {"methods": every(world), "heads": heads(world), "overflow": overflow(world)}
        found["guided"] = guided(world)
        if world.leads:
            Path(out).write_text(json.dumps(found))


def heads(world):
    """Return, of every margin, plain and sharded: losses, and this process's gradients joined."""
    found = {}
    for kind in MARGINS.names():
        for shard in (False, True):
            for use in ("loss", "logits", "cosine"):
                found[f"{kind}|{shard}|{use}"] = _gradients(kind, shard, use, world)
    return found


def _gradients(kind, shard, use, world):
    torch.manual_seed(0)
    head = HeadSpec(kind, 16.0, 0.3).build(8, 7).double()
    emb = torch.randn(6, 8, dtype=torch.float64) * 3
    mine = emb[world.share(6)].clone().requires_grad_()
    labels = torch.tensor([0, -1, 6, 3, -1, -1])[world.share(6)]
    one = shard_head(head, world.rank, world.size) if shard else head
    for _ in range(2):  # the second sees the running statistics of the first
        one.weight.grad = mine.grad = None
        if use == "loss":
            loss = one(mine, labels)
        else:
            found = one.logits(mine, labels) if use == "logits" else one.cosine(mine)
            loss = F.cross_entropy(found / 4, torch.arange(6)[world.share(6)])
        loss.backward()
    mean, grad = world.mean({"loss": loss.detach()})["loss"], one.weight.grad
    if shard:
        grad = one.join(grad)
    else:
        grad = world.mean({"grad": grad})["grad"]  # what DDP does
    rows = torch.zeros(6, 8, dtype=torch.float64)
    rows[world.share(6)] = mine.grad
    rows = world.mean({"rows": rows})["rows"]  # a sum, and DDP's division
    return [float(mean), grad.flatten().tolist(), rows.flatten().tolist(), [float(b) for b in one.buffers()]]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory, warm_worlds):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("worlds") / "two.json"
    warm_worlds.check(in_a_world, str(out))
    alone = {"methods": every(World()), "heads": heads(World())}
    return json.loads(json.dumps(alone)), json.loads(out.read_text())


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_the_whole_head_on_any_number_of_processes(case, worlds):
    for world in worlds:
        first = world if CASES[case][0] in OWN_DRAWS else worlds[0]
        wanted, kept = first["methods"][f"{case}|False"]
        for shard in (False, True):
            if f"{case}|{shard}" in world["methods"]:
                found, still = world["methods"][f"{case}|{shard}"]
                for one, other in zip(wanted, found, strict=True):
                    assert other == pytest.approx(one, rel=2e-3, abs=2e-4), shard
                assert still == pytest.approx(kept)  # a frozen classifier has not moved


@pytest.mark.parametrize("kind", MARGINS.names())
@pytest.mark.parametrize("use", ["loss", "logits", "cosine"])
def test_heads_agree_to_the_last_digits_also_where_processes_have_other_numbers_of_labels(kind, use, worlds):
    wanted = worlds[0]["heads"][f"{kind}|False|{use}"]
    for world in worlds:
        for shard in (False, True):
            for one, other in zip(wanted, world["heads"][f"{kind}|{shard}|{use}"], strict=True):
                assert other == pytest.approx(one, rel=1e-6, abs=1e-8), shard


def test_styles_are_sought_in_step_also_where_a_process_has_no_labels(worlds):
    """A process that had none to restyle left the others waiting in the head, or adding up other numbers."""
    plain, spread = worlds[1]["guided"]
    for one, other in zip(plain, spread, strict=True):
        assert other == pytest.approx(one, rel=2e-3, abs=2e-4)
        assert all(np.isfinite(value) for value in one.values()) and one["margin"] > 1


def test_a_frozen_head_stays_frozen_when_it_is_sharded():
    head = HeadSpec("curricularface", 16.0, 0.3).build(8, 7).requires_grad_(False)
    assert not shard_head(head, 0, 1).weight.requires_grad


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_classes_that_no_step_looked_at_do_not_move(optimizer):
    method, nets = built("baseline", {})
    settings = TrainSettings(
        unit="step", length=9, shard_classes=True, sample_rate=0.25, optimizer=optimizer, weight_decay=0.1
    )
    nets["head"] = HeadSpec("cosface", 16.0, 0.3).build(nets["net"].emb_dim, 40)
    run = Run(method, nets, settings, World())
    head, moved = run.nets["head"], torch.zeros(40, dtype=torch.bool)
    part = replace(batch(), label_b=torch.tensor([0, 39, 3, 3, 1, -1]))
    for step in range(3):
        before, state = head.weight.detach().clone(), _rows(run, head)
        torch.manual_seed(step)
        run.step(part, step, 0.1)
        changed = (head.weight != before).any(1)
        assert changed[[0, 1, 3, 39]].all() and int(changed.sum()) < 25
        for key, tensor in _rows(run, head).items():
            assert key not in state or torch.equal(tensor[~changed], state[key][~changed])
        moved |= changed
        for tensor in _rows(run, head).values():
            assert not tensor[~moved].any()  # momentum of a class begins when it is seen


@pytest.mark.parametrize("case", ["waveresnet", "waveresnet cosine", "fskd kl cosine"])
def test_logits_and_cosines_of_all_classes_move_all_of_them_also_where_the_loss_samples(case):
    """The head of WaveResNet, whose margin is read off the logits, stayed where it had begun."""
    name, changes = CASES[case]
    method, nets = built(name, changes)
    settings = TrainSettings(unit="step", length=9, shard_classes=True, sample_rate=0.25, momentum=0)
    run = Run(method, nets, settings, World())
    whole = built(name, changes)[1]
    other = Run(method, whole, replace(settings, shard_classes=False, sample_rate=1.0), World())
    part = replace(batch(), label_b=torch.tensor([0, 0, 0, 0, 1, -1]))
    for one in (run, other):
        torch.manual_seed(0)
        one.step(part, 0, 0.1)
    moved, wanted = run.nets["head"].weight, other.nets["head"].weight
    before = built(name, changes)[1]["head"].weight
    assert (moved != before).any(1).all()
    if name == "waveresnet":  # nothing of its loss is sampled
        assert torch.allclose(moved, wanted, atol=1e-6)


def _rows(run, head):
    state = run.optimizer.state[head.weight]
    return {key: value.clone() for key, value in state.items() if value.shape == head.weight.shape}


def test_every_parameter_that_trains_gets_a_gradient_in_every_method():
    """What gets none keeps the processes of a training waiting for it."""
    for case, (name, changes) in CASES.items():
        method, nets = built(name, changes)
        run = Run(method, nets, TrainSettings(unit="step", length=1), World())
        method.losses(run.nets, run.prepare(batch()), 0)["total"].backward()
        without = [key for key, p in run.nets.named_parameters() if p.requires_grad and p.grad is None]
        assert not without, (case, without)


def test_a_share_that_overflows_stops_the_step_of_every_process(worlds):
    """fp16: the share of one process alone has an infinite gradient; no process may move, each halves its scale."""
    first, second, third = worlds[1]["overflow"]
    for classes, anything, _ in first + third:
        assert classes > 0 and anything > 0
    for classes, anything, _ in second:
        assert classes == anything == 0
    scales = [[round(2 * process[2]) for process in step] for step in (first, second, third)]
    assert scales == [[1024, 1024], [512, 512], [512, 512]]


PATIENT = """
import os, time
from datetime import timedelta
from functools import partial
import torch.distributed as dist
from lrfr.train.engine.distributed import join_world
dist.init_process_group = partial(dist.init_process_group, timeout=timedelta(seconds=1))
with join_world("cpu") as world:
    if world.leads:
        time.sleep(4)
    world.barrier()
    if world.leads:
        time.sleep(4)
    assert world.any(world.leads)
"""


@pytest.mark.soak
def test_soak_processes_wait_for_the_leader_longer_than_for_each_other(tmp_path):
    """While it keeps a teacher's embeddings, or measures; nccl gave up after ten minutes."""
    (tmp_path / "script.py").write_text(PATIENT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*launch, str(tmp_path / "script.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


ACROSS = """
import json, sys
from pathlib import Path
import torch
from lrfr.train.engine.distributed import join_world
from tests.train.test_class_shards import first_half, second_half
torch.set_num_threads(1)
with join_world("cpu") as world:
    first_half(world, Path(sys.argv[1], "two"))
    found = second_half(world, Path(sys.argv[1], "one"))
    if world.leads:
        Path(sys.argv[1], "two.json").write_text(json.dumps(found))
"""


def started(case, shard, world):
    """Return the run of a case, and its part of the batch."""
    name, changes = CASES[case]
    method, nets = built(name, {"batch_norm": "frozen", **changes})
    settings = TrainSettings(unit="step", length=2, shard_classes=shard, momentum=0.9)
    return Run(method, nets, settings, world), replace(batch(), label_b=LABELS).part(world.share(6))


def every_kind():
    return [
        (case, shard)
        for case in CASES
        for shard in (False, True)
        if not (shard and CASES[case][0] in NO_HEAD)
    ]


def first_half(world, folder):
    """Save every case, plain and sharded, after one step, as the loop does."""
    for case, shard in every_kind():
        run, part = started(case, shard, world)
        run.step(part, 0, 1e-4)
        state, place = run.state, folder / f"{case}-{shard}"
        spread = bool(state.spread)
        kept = {"step": 1, "scaler": state.scaler.state_dict()}
        saved = checkpoint.Checkpoint(
            {}, state.model(not spread), kept, state.optimizer_tensors(not spread), {}
        )
        if spread:
            save_together(place, saved, state.share(), dist.group.WORLD)
        elif world.leads:
            checkpoint.save(place, saved)
        world.barrier()


def second_half(world, folder):
    """Return the losses of the second step of what was saved."""
    found = {}
    for case, shard in every_kind():
        run, part = started(case, shard, world)
        place = folder / f"{case}-{shard}"
        run.state.load(checkpoint.load(place, rows=run.state.rows() if shard else None), str(place))
        found[f"{case}|{shard}"] = {key: float(value) for key, value in run.step(part, 1, 1e-4).items()}
    return found


@pytest.mark.soak
def test_soak_every_method_goes_on_with_another_number_of_processes(worlds, tmp_path):
    """Two processes go on where one stopped, and one where two did, with the losses of the uninterrupted run."""
    first_half(World(), tmp_path / "one")
    (tmp_path / "script.py").write_text(ACROSS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*launch, str(tmp_path / "script.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    two = json.loads((tmp_path / "two.json").read_text())
    for world, found in ((worlds[1], two), (worlds[0], second_half(World(), tmp_path / "two"))):
        for case, shard in every_kind():
            wanted = world["methods"][f"{case}|{shard}"][0][1]
            if CASES[case][0] in OWN_DRAWS:  # the first step was another one: sharding alone changes nothing
                wanted = found[f"{case}|False"]
                assert all(np.isfinite(value) for value in wanted.values())
            assert found[f"{case}|{shard}"] == pytest.approx(wanted, rel=2e-3, abs=2e-4), (case, shard)
