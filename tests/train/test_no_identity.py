"""One rule for faces without an identity (label -1): they have no classification term and are never a class."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lrfr.core.errors import SpecError
from lrfr.train.engine.distributed import World
from lrfr.train.engine.method_run import Run
from lrfr.train.heads.margins import MARGINS, HeadSpec
from lrfr.train.heads.partial_fc import shard_head
from lrfr.train.methods.octuplet import batch_hard
from lrfr.train.settings import TrainSettings
from tests.train.golden import VARIANTS, batch, built

KL = {f"fskd kl {logits}": ("fskd", {"distance": "kl", "logits": logits}) for logits in ("margin", "cosine")}
LABELS = torch.tensor([0, -1, 6, 3, -1, 3])


@pytest.mark.parametrize("kind", MARGINS.names())
@pytest.mark.parametrize("sharded", [False, True])
def test_the_margin_loss_is_that_of_the_others(kind, sharded):
    def head():
        torch.manual_seed(0)
        plain = HeadSpec(kind, 16.0, 0.3).build(8, 7)
        return shard_head(plain, 0, 1) if sharded else plain

    torch.manual_seed(1)
    emb = torch.randn(6, 8) * 3
    one, two, known = emb.clone().requires_grad_(), emb.clone().requires_grad_(), LABELS >= 0
    some, others = head(), head()
    a, b = some(one, LABELS), others(two[known], LABELS[known])
    a.backward(), b.backward()
    assert torch.equal(a, b) and torch.equal(some.weight.grad, others.weight.grad)
    assert torch.equal(one.grad, two.grad) and not one.grad[~known].any()
    for (name, left), right in zip(some.named_buffers(), others.buffers(), strict=True):
        assert torch.equal(left, right), name  # running statistics do not see them either
    before = [value.clone() for value in some.buffers()]
    nothing = some(one, torch.full((6,), -1))
    nothing.backward()
    assert float(nothing.detach()) == 0.0 and some.weight.grad is not None
    assert all(map(torch.equal, before, some.buffers()))


@pytest.mark.parametrize("kind", MARGINS.names())
def test_logits_have_a_margin_on_rows_with_an_identity_alone(kind):
    head = HeadSpec(kind, 16.0, 0.3).build(8, 7).eval()
    emb, known = torch.randn(6, 8) * 3, LABELS >= 0
    found = head.logits(emb, LABELS)
    assert torch.allclose(found[known], head.logits(emb[known], LABELS[known]), atol=1e-5)
    plain = head.margin.scale * head.cosine(emb)
    assert torch.equal(found[~known], plain[~known])
    assert torch.equal(head.logits(emb, torch.full((6,), -1)), plain)


def test_a_triplet_counts_each_as_a_person_of_its_own():
    emb = F.normalize(torch.randn(6, 4))
    distance = torch.cdist(emb, emb)
    alone = torch.tensor([0, 1, 6, 3, 2, 3])
    assert torch.equal(batch_hard(distance, LABELS, 0.5), batch_hard(distance, alone, 0.5))
    assert float(batch_hard(distance, torch.full((6,), -1), 0.5)) == 0.0


@pytest.mark.parametrize("label", [*VARIANTS, *KL])
@pytest.mark.parametrize("labels", [[0, -1, 2, -1, 0, 1], [-1] * 6], ids=["some", "none"])
@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_every_method_takes_a_step(label, labels, shard):
    name, changes = {**VARIANTS, **KL}[label]
    method, nets = built(name, changes)
    settings = TrainSettings(unit="step", length=1, shard_classes=shard, clip_norm=1.0)
    try:
        run = Run(method, nets, settings, World())
        losses = run.step(replace(batch(), label_b=torch.tensor(labels)), 0, 1e-3)
    except SpecError as error:
        assert shard and name in {"octuplet", "function-matching"} and "this method has none" in str(error)
        return
    assert all(torch.isfinite(value) for value in losses.values()), losses
    if max(labels) < 0:
        assert all(float(value) == 0 for key, value in losses.items() if key.startswith("margin"))
