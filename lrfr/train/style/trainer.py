"""Generator, critics and their optimizers: the two kinds of generator step, the critics' step, and the state
as tensors.

Source: Liu, Kim, Jain, Liu, "Controllable and Guided Face Synthesis for Unconstrained Face Recognition", ECCV
2022, section 3.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from lrfr.degrade.style.generator import StyleGenerator
from lrfr.train import checkpoint
from lrfr.train.backbones.nets import Nets
from lrfr.train.methods.base import Losses
from lrfr.train.methods.draws import normals, styles
from lrfr.train.style.discriminator import Discriminator, accuracy, least_squares
from lrfr.train.style.recognizer import Recognizer, identity_distance
from lrfr.train.style.settings import CfsmSettings

_BETAS = (0.5, 0.999)


class Trainer:
    """Everything that a step changes.

    Args:
        settings: the run's settings.
        recognizer: the frozen identity network.

    """

    def __init__(self, settings: CfsmSettings, recognizer: Recognizer) -> None:
        self.settings, self.recognizer = settings, recognizer
        self.generator = StyleGenerator(settings.layout)
        self.critics = Discriminator(settings.size_px, settings.critic_dim)
        self.nets = Nets({"generator": self.generator, "critics": self.critics})
        self.nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.generator).eval().requires_grad_(False)
        rates = {"generator": settings.lr, "critics": settings.critics_lr or settings.lr}
        self.optimizers = {
            name: torch.optim.Adam(self.nets[name].parameters(), rate, _BETAS, foreach=True)
            for name, rate in rates.items()
        }

    def step(self, step: int, source_bchw: Tensor, target_bchw: Tensor) -> Losses:
        """Take one step of the generator and one of the critics; return the losses that were computed,
        detached.

        Args:
            step: number of the step, from 0; odd ones train the reconstruction, where the layout needs it,
                the others the style.
            source_bchw: float32 clean faces in [-1, 1].
            target_bchw: float32 faces of the target set in [-1, 1].

        """
        anchors = step % 2 == 1 and not self.settings.layout.residual
        with self._autocast():
            losses, fake = self.anchor(source_bchw) if anchors else self.style(step, source_bchw)
        self._update("generator", losses["total"])
        self._average(step)
        with self._autocast():
            real_maps, fake_maps = self.critics(target_bchw), self.critics(fake.detach())
        critic_loss = least_squares(real_maps, 1.0) + least_squares(fake_maps, 0.0)
        self._update("critics", critic_loss)
        losses["critics"] = critic_loss
        if not anchors:
            losses["critics_accuracy"] = accuracy(real_maps, fake_maps)
        return {name: value.detach() for name, value in losses.items()}

    def style(self, step: int, x_bchw: Tensor) -> tuple[Losses, Tensor]:
        """Return the losses of styled fakes, and these: deceive the critics at the identity distance that the
        magnitude asks for.
        """
        z_bk = styles(self.settings.seed, step, len(x_bchw), self.settings.layout.n_basis)
        noise_bnhw = normals(
            self.settings.seed, f"noise-{step}", (len(x_bchw), *self.generator.noise_shape(*x_bchw.shape[2:]))
        )
        fake = self.generator(x_bchw, z_bk, noise_bnhw)
        self.critics.requires_grad_(False)
        adversarial = least_squares(self.critics(fake), 1.0)
        self.critics.requires_grad_(True)
        with torch.no_grad():
            clean_bd = self.recognizer.embed(x_bchw)
        distance_b = identity_distance(clean_bd, self.recognizer.embed(fake))
        identity = (distance_b - self.settings.identity_range.target(z_bk.norm(dim=1))).square().mean()
        total = adversarial + self.settings.identity_weight(step) * identity
        return {"total": total, "adversarial": adversarial, "identity": identity}, fake

    def anchor(self, x_bchw: Tensor) -> tuple[Losses, Tensor]:
        """Return the loss mean|x - G(x, 0)| of the reconstructions, and these."""
        fake = self.generator(x_bchw, x_bchw.new_zeros(len(x_bchw), self.settings.layout.n_basis))
        anchor = (x_bchw - fake).abs().mean()
        return {"total": anchor, "anchor": anchor}, fake

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.settings.amp == "bf16")

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Put U back on the orthonormal frames and let the averaged generator follow (faster in the first
        steps).
        """
        self.generator.subspace.retract()
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step)) if self.settings.ema_decay else 0.0
        for average, now in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(now, 1 - decay)
        self.averaged.subspace.retract()

    def _update(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[name].step()

    def optimizer_tensors(self) -> checkpoint.Tensors:
        """Return the state of both optimizers as ``<parameter>/<key>``."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.nets.named_parameters()
            for key, value in self._state_of(name).get(parameter, {}).items()
        }

    def averaged_tensors(self) -> checkpoint.Tensors:
        """Return the averaged generator under the names of the trained one."""
        return {f"generator.{name}": value for name, value in self.averaged.state_dict().items()}

    def load(self, saved: checkpoint.Checkpoint, place: str) -> None:
        """Take over a checkpoint's networks and optimizers, bit for bit.

        Raises:
            DataError: they do not fit.

        """
        checkpoint.load_model(self.nets, saved.model, place)
        checkpoint.load_model(Nets({"generator": self.averaged}), saved.ema, place)
        parameters = dict(self.nets.named_parameters())
        for entry, value in saved.optimizer.items():
            name, key = entry.rsplit("/", 1)
            memory = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            self._state_of(name)[parameters[name]][key] = value.contiguous(memory_format=memory)

    def _state_of(self, parameter: str) -> dict[Tensor, dict[str, Tensor]]:
        return self.optimizers[parameter.split(".", 1)[0]].state
