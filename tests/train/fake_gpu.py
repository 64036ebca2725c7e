"""A device that computes nothing and, like a GPU, cannot be looked at for free: every step of every method on it.

torch lets Python stand in for a device (``privateuseone``). Its tensors are fake: they have shapes, types and a
device, no numbers, so an operation over two devices is refused as on a GPU, and so is whatever needs a number on the
host (``item``, ``bool``, a mask as index). Copies between host and device that a GPU would wait for are counted.

The device is the process's for good, so this runs in a process of its own: ``python -m tests.train.fake_gpu OUT``
writes ``{case: fault}``; an empty text is none.
"""

from __future__ import annotations

import json
import sys
import traceback
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from lrfr.degrade.style.generator import StyleGenerator
from lrfr.train.backbones.features import Features
from lrfr.train.engine.distributed import World
from lrfr.train.engine.method_run import Run
from lrfr.train.heads.margins import MARGINS, HeadSpec
from lrfr.train.heads.partial_fc import shard_head
from lrfr.train.losses.distances import DISTANCES
from lrfr.train.losses.draws import onto
from lrfr.train.methods import guided
from lrfr.train.settings import TrainSettings
from lrfr.train.style.discriminator import accuracy, least_squares
from lrfr.train.style.recognizer import Recognizer
from lrfr.train.style.trainer import Trainer
from tests.train import tiny_style
from tests.train.golden import batch, built
from tests.train.test_class_shards import CASES
from tests.train.tiny_style import with_mini_presets

KIND = "fakegpu"
DEVICE = f"{KIND}:0"
# what these change is computed beside the head: with shares of one they would be cases of above once more
BESIDE = {
    "maug joint, official": ("maug", {"bn": "joint", "reduction": "official"}),
    "waveresnet db2": ("waveresnet", {"wavelet": "db2"}),
    "fskd contrast": ("fskd", {"contrast_weight": 1.0, "contrast_queue": 64}),
    "qualnet step 2": ("qualnet", {"step": 2}),
    "catface features": ("catface", {"distill": "features", "distill_metric": "l2"}),
}
MORE = {
    **CASES,
    **BESIDE,
    "baseline both": ("baseline", {"side": "both"}),
    "baseline guided": ("baseline", {"guided.weights": "tiny"}),
    "catface guided": ("catface", {"guided.weights": "tiny"}),
}


class Backend(_DummyBackendModule):
    """What torch asks of a device besides tensors."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]


class Waits(TorchDispatchMode):
    """Count what makes the host wait for the device: copies to it, and copies from memory that is not let go."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if name.startswith("_fused_"):  # torch knows no fake of these; they work in place
            kinds = {tensor.device.type for part in args for tensor in part if torch.is_tensor(tensor)}
            assert kinds == {KIND}, kinds
            return None
        result = function(*args, **kwargs)
        if name in {"_to_copy", "copy_"} and isinstance(result, torch.Tensor):
            source = args[1] if name == "copy_" else args[0]
            there, here = source.device.type, (args[0] if name == "copy_" else result).device.type
            flag = kwargs.get("non_blocking", args[2] if name == "copy_" and len(args) > 2 else False)
            if there != here and (here == "cpu" or not flag):
                self.found.append(f"{name} from {there} to {here} at {_place()}")
        return result


def _place():
    own = [frame for frame in traceback.extract_stack() if "/lrfr/" in frame.filename]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"


@contextmanager
def fake():
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        yield waits


def _move(nets):
    """Put tensors of the device in the place of a module's; ``to`` would swap them, which fake ones refuse."""
    moved = {}

    def there(tensor):
        # not "like" it: torch works out what is like a tensor that it knows the number of
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=DEVICE)
        return moved.setdefault(id(tensor), (tensor, made))[1]

    nets.to = lambda *where, **how: nets
    for module in nets.modules():
        for name, one in module._parameters.items():
            if one is not None:
                setattr(module, name, torch.nn.Parameter(there(one), one.requires_grad))
        for name, one in module._buffers.items():
            module._buffers[name] = None if one is None else there(one)


own_generator = guided._generator


def a_step(case, **settings):
    """Take two steps of a method on the device; return what the second would have waited for."""
    guided._generator = own_generator
    name, changes = MORE[case]
    layout = guided._generator(guided.GuidedSpec("tiny")).layout if "guided" in case else None
    method, nets = built(name, changes)
    with fake() as waits:
        _move(nets)
        if layout is not None:
            generator = StyleGenerator(layout).eval().requires_grad_(False)
            _move(generator)
            guided._generator = lambda spec: generator
        one = replace(batch(), label_b=torch.tensor([0, -1, 2, 3, -1, -1]))
        options = {"ema_decay": 0.5, "clip_norm": 1.0, "batch_size": 6, **settings}
        run = Run(method, nets, TrainSettings(unit="step", length=2, **options), World(device=DEVICE))
        run.step(one, 0, 0.1)
        waits.found.clear()
        losses = run.step(run.prepare(one), 1, 0.1)
        assert all(value.device.type == KIND for value in losses.values()), losses
        return waits.found


def a_head(kind, shard, use):
    with fake() as waits:
        head = HeadSpec(kind, 16.0, 0.3).build(8, 7)
        _move(head)
        with torch.device(DEVICE):
            emb, labels = torch.randn(6, 8).requires_grad_(), torch.zeros(6, dtype=torch.int64)
        one = shard_head(head, 0, 1, 0.5 if use == "sampled" else 1.0) if shard else head
        found = one(emb, labels) if use in {"loss", "sampled"} else one.logits(emb, labels)
        found.sum().backward()
        return waits.found


def a_distance(name):
    def features():
        maps = tuple(torch.randn(3, 4, 8 >> i, 8 >> i).requires_grad_() for i in range(4))
        pair = (torch.rand(3, 4).requires_grad_(), torch.rand(3, 1, 4, 4).requires_grad_())
        embedding = torch.randn(3, 6).requires_grad_()
        return Features(embedding, maps, (pair, pair), torch.randn(3, 5).requires_grad_())

    with fake() as waits:
        with torch.device(DEVICE):
            student, teacher = features(), features()
        DISTANCES[name](student, teacher).backward()
        return waits.found


def a_style_step(preset):
    """Take what a step of each kind of a style generator computes on the device."""
    patch = with_mini_presets()
    trainer = Trainer(tiny_style.settings(preset=preset), Recognizer(lambda x: x.flatten(1), "recognizer"))
    with fake() as waits:
        _move(trainer.nets)
        with torch.device(DEVICE):
            faces = torch.randn(2, 3, 32, 32)
        waits.found.clear()
        for step in range(2):
            losses, styled = trainer._restyle(step, faces)
            losses["total"].backward()
            real, judged = trainer._scores(faces, styled.detach())
            (least_squares(real, 1.0) + least_squares(judged, 0.0)).backward()
            accuracy(real, judged)
            trainer.generator.subspace.retract()
    patch.undo()
    return waits.found


def a_draw():
    with fake() as waits:
        onto(torch.zeros(3), torch.device(DEVICE))
        return waits.found


def cases():
    """Yield every case's name and what runs it."""
    for case in MORE:
        yield f"method {case}", lambda case=case: a_step(case)
        if MORE[case][0] not in {"octuplet", "function-matching"} and case not in BESIDE:
            yield f"method {case}, sharded", lambda case=case: a_step(case, shard_classes=True)
    for name in ("baseline", "fskd"):
        yield f"method {name}, fp16", lambda name=name: a_step(name, amp="fp16")
        yield f"method {name}, parts", lambda name=name: a_step(name, accumulate=2)
        yield f"method {name}, adamw", lambda name=name: a_step(name, optimizer="adamw")
    for name in ("baseline", "fskd", "waveresnet"):
        yield (
            f"method {name}, sampled",
            lambda name=name: a_step(name, shard_classes=True, sample_rate=0.5),
        )
    for kind in MARGINS.names():
        for use in ("loss", "logits"):
            for shard in (False, True):
                yield f"head {kind} {use} {shard}", lambda a=(kind, shard, use): a_head(*a)
        yield f"head {kind} sampled", lambda kind=kind: a_head(kind, True, "sampled")
    for name in DISTANCES:
        yield f"distance {name}", lambda name=name: a_distance(name)
    for preset in ("mini", "published"):
        yield f"style {preset}", lambda preset=preset: a_style_step(preset)
    yield "draw", a_draw


def forbidden():
    """Yield what must be refused or counted: each way of a step to wait, or to mix devices."""
    with fake():
        x = torch.empty(3, device=DEVICE)

    def told(work):
        with fake() as waits:
            work()
            return waits.found

    ways = {
        "item": lambda: x.sum().item(),
        "bool": lambda: bool(x.sum() > 0),
        "cpu": lambda: x.cpu(),
        "list": lambda: x.tolist(),
        "nonzero": lambda: x.nonzero(),
        "mask": lambda: x[x > 0],
        "mix": lambda: x + torch.empty(3),
        "up": lambda: torch.empty(3).to(DEVICE),
        "tensor": lambda: x + torch.tensor([1.0, 2.0, 3.0], device="cpu").to(DEVICE),
    }
    for name, way in ways.items():
        yield f"must fail {name}", lambda way=way: told(way)


def fault_of(work):
    try:
        return "; ".join(work())
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "/lrfr/" in f.filename] or frames
        first = str(error).strip().split("\n")[0][:160]
        return f"{type(error).__name__}: {first} ({Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line})"


def main():
    _setup_privateuseone_for_python_backend(KIND, Backend())
    torch.set_num_threads(1)
    # autocast of the device casts nothing; what is seen under it is the scaler of fp16
    autocast = torch.library.Library("_", "IMPL")
    autocast.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    found = {name: fault_of(work) for name, work in (*cases(), *forbidden())}
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
