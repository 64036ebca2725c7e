"""What a run changes, as tensors by name: networks, optimizers, loss scaler and averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lrfr.core.errors import DataError
from lrfr.train import checkpoint
from lrfr.train.backbones.nets import Nets
from lrfr.train.engine.adapters import additions, plain, with_additions
from lrfr.train.engine.distributed import World
from lrfr.train.heads.partial_fc import ShardedHead

Amp = Literal["none", "bf16", "fp16"]
_ADDITIONS = {"value", "average"}
_AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class _Notes:
    """What a checkpoint must say so that a run goes on from it."""

    step: Annotated[int, Field(ge=0)]
    scaler: Mapping[str, int | float] = field(default_factory=dict)


class RunState:
    """The state of a run.

    Args:
        nets: networks in training, on their device.
        optimizers: of their parameters; each parameter has one at most.
        world: this process among its peers.
        amp: autocast; ``fp16`` scales losses.
        shards: parameter to the head that spreads it over the processes.

    Attributes:
        names: parameter by name, of those in training.
        averages: averaged tensor by name, where they are kept.

    """

    def __init__(
        self,
        nets: Nets,
        optimizers: Sequence[torch.optim.Optimizer],
        world: World,
        amp: Amp = "none",
        shards: Mapping[str, ShardedHead] | None = None,
    ) -> None:
        self.nets, self.optimizers, self.world, self.amp = nets, optimizers, world, amp
        self.shards = shards or {}
        self.names = {
            name: parameter for name, parameter in nets.named_parameters() if parameter.requires_grad
        }
        self.scaler = torch.amp.GradScaler(world.kind, enabled=amp == "fp16")
        self.averages: checkpoint.Tensors = {}
        self._fused = {
            parameter: bool(group.get("fused"))
            for optimizer in optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        self._states = {
            parameter: optimizer.state
            for optimizer in optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        return nullcontext() if self.amp == "none" else torch.autocast(self.world.kind, _AMP[self.amp])

    def keep_averages(self, prefix: str, into: Mapping[str, Tensor] | None = None) -> None:
        """Keep averages of the tensors whose names begin with ``prefix``, in tensors of their own or in
        those of ``into`` (named without the prefix).
        """
        now = checkpoint.model_tensors(self.nets)
        self.averages = {
            name: tensor.clone() if into is None else into[name.removeprefix(prefix)]
            for name, tensor in now.items()
            if name.startswith(prefix)
        }

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Let the averages follow: ``decay`` of themselves and the rest of what is now; counters are copied.

        Not :class:`torch.optim.swa_utils.AveragedModel`: it copies the first step instead of averaging it
        with the start, and would change what runs of before give.
        """
        if not self.averages:
            return
        now = checkpoint.model_tensors(self.nets)
        floats = [name for name, average in self.averages.items() if average.is_floating_point()]
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        follow([self.averages[name] for name in floats], [now[name] for name in floats], 0)
        counters = [name for name in self.averages if name not in set(floats)]
        if counters:
            torch._foreach_copy_([self.averages[name] for name in counters], [now[name] for name in counters])

    @contextmanager
    def averaged_in_place(self) -> Iterator[None]:
        """Put the averaged weights into the networks for a while, where they are kept."""
        if not self.averages:
            yield
            return
        now = {name: tensor.clone() for name, tensor in checkpoint.model_tensors(self.nets).items()}
        checkpoint.load_model(self.nets, now | self.averages, "averaged weights")
        try:
            yield
        finally:
            checkpoint.load_model(self.nets, now, "weights")

    @property
    def spread(self) -> frozenset[str]:
        """Parameters of which this process holds a part."""
        return frozenset(self.shards if self.world.size > 1 else ())

    def model(self, whole: bool = True) -> checkpoint.Tensors:
        """Return the tensors of the networks, what adapters learned added to its weights, and class shards
        joined (every process must call) or, not ``whole``, left out.
        """
        return self._gathered(plain(self.nets, checkpoint.model_tensors(self.nets)), whole)

    def averaged(self, whole: bool = True) -> checkpoint.Tensors:
        """Return the averaged tensors, additions added, class shards joined or left out."""
        return self._gathered(plain(self.nets, self.averages), whole)

    def _gathered(self, tensors: Mapping[str, Tensor], whole: bool) -> checkpoint.Tensors:
        return {
            name: self._join(name, tensor)
            for name, tensor in tensors.items()
            if whole or name not in self.spread
        }

    def optimizer_tensors(self, whole: bool = True) -> checkpoint.Tensors:
        """Return the optimizers' tensors as ``<parameter>/<key>``, class shards joined or left out; and what
        adapters learn, as ``<parameter>/value`` and ``<parameter>/average``, since the weights hold it only
        in sums.
        """
        result: checkpoint.Tensors = {}
        for key, tensors in (("value", checkpoint.model_tensors(self.nets)), ("average", self.averages)):
            result |= {f"{name}/{key}": tensor for name, tensor in additions(tensors).items()}
        for name, key, value in self._kept():
            if value.shape != self.names[name].shape:
                result[f"{name}/{key}"] = value
            elif whole or name not in self.spread:
                result[f"{name}/{key}"] = self._join(name, value)
        return result

    def _kept(self) -> Iterator[tuple[str, str, Tensor]]:
        for name, parameter in self.names.items():
            for key, value in self._states[parameter].get(parameter, {}).items():
                if isinstance(value, Tensor):
                    yield name, key, value

    def share(self, optimizer: bool = True) -> checkpoint.Tensors:
        """Return this process's rows of what is spread, see
        :func:`~lrfr.train.checkpoint.shared_save.save_together`.
        """
        now = checkpoint.model_tensors(self.nets)
        parts = [("model", now[name], name, name) for name in self.spread]
        parts += [("ema", self.averages[name], name, name) for name in self.spread & self.averages.keys()]
        if optimizer:
            parts += [
                ("state", value, name, f"{name}/{key}")
                for name, key, value in self._kept()
                if name in self.spread and value.shape == self.names[name].shape
            ]
        return {f"{part}/{label}": self.shards[name].real(tensor) for part, tensor, name, label in parts}

    def rows(self) -> dict[str, tuple[int, int]]:
        """Return the rows of each parameter that is spread: the first, and how many."""
        return {name: (head.first, head.share) for name, head in self.shards.items()}

    def load(self, saved: checkpoint.Checkpoint, place: str) -> int:
        """Take over a checkpoint's state, loaded with :meth:`rows`, bit for bit; return its step.

        Raises:
            DataError: it says no step, or its tensors do not fit.

        """
        notes = checkpoint.checked(_Notes, saved.state, Path(place) / "state.json")
        own = checkpoint.model_tensors(self.nets)
        if saved.ema.keys() != plain(self.nets, self.averages).keys():
            raise DataError("averaged weights do not fit", file=place)
        if any(f"{name}/value" not in saved.optimizer for name in additions(own)):
            raise DataError("what its adapters learned is not there", file=place)
        model = with_additions(own, saved.model, _of_kind(saved.optimizer, "value"))
        checkpoint.load_model(self.nets, model, place)
        averages = with_additions(self.averages, saved.ema, _of_kind(saved.optimizer, "average"))
        for name, value in averages.items():
            self.averages[name].copy_(value)
        for optimizer in self.optimizers:
            # what a fresh optimizer has gathered must not mix with what was saved
            optimizer.state.clear()
        for entry, value in saved.optimizer.items():
            name, _, key = entry.rpartition("/")
            if key in _ADDITIONS:
                continue
            parameter = self.names.get(name)
            fits = parameter is not None and (not value.ndim or value.shape == parameter.shape)
            if not (fits and value.is_floating_point()):
                raise DataError(f"what its optimizer gathered does not fit: {entry[:200]}", file=place)
            self._states[self.names[name]][self.names[name]][key] = self._placed(name, key, value)
        if self.scaler.is_enabled() and notes.scaler.keys() != self.scaler.state_dict().keys():
            raise DataError("it scales losses in another way", file=place)
        self.scaler.load_state_dict(dict(notes.scaler))  # style runs of before kept none
        return notes.step

    def _placed(self, name: str, key: str, value: Tensor) -> Tensor:
        """Return an optimizer's tensor where it lived: like its parameter in device and memory, or, as step
        counters are, on the CPU.
        """
        parameter = self.names[name]
        # PyTorch keeps step counters on the CPU, so that reading them makes no GPU wait; fused kernels read
        # them themselves
        if key == "step":
            return value.to(parameter.device) if self._fused[parameter] else value.cpu()
        if value.shape != parameter.shape:
            return value.to(parameter.device)
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)

    def _join(self, name: str, tensor: Tensor) -> Tensor:
        return self.shards[name].join(tensor) if name in self.shards else tensor


def _of_kind(tensors: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    return {
        name.removesuffix(f"/{key}"): value for name, value in tensors.items() if name.endswith(f"/{key}")
    }
