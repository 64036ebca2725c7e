"""Generator and critics in training: the two kinds of generator step, and the critics' step.

Source: Liu, Kim, Jain, Liu, "Controllable and Guided Face Synthesis for Unconstrained Face Recognition", ECCV
2022, section 3.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from lrfr.degrade.style.generator import StyleGenerator
from lrfr.train.backbones.nets import Nets
from lrfr.train.engine.distributed import Objective, World, data_parallel
from lrfr.train.engine.state import RunState
from lrfr.train.losses.draws import normals, onto, styles
from lrfr.train.methods.base import Losses
from lrfr.train.style.discriminator import Discriminator, accuracy, least_squares
from lrfr.train.style.recognizer import Recognizer, identity_distance
from lrfr.train.style.settings import CfsmSettings

_BETAS = (0.5, 0.999)


class Trainer:
    """Everything that a step changes.

    Args:
        settings: the run's settings.
        recognizer: the frozen identity network.
        world: this process among its peers.

    """

    def __init__(self, settings: CfsmSettings, recognizer: Recognizer, world: World | None = None) -> None:
        self.settings, self.recognizer = settings, recognizer
        self.world = world = world or World()
        self.generator = StyleGenerator(settings.layout)
        self.critics = Discriminator(settings.size_px, settings.critic_dim)
        self.nets = Nets({"generator": self.generator, "critics": self.critics}).to(world.device)
        self.nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.generator).eval().requires_grad_(False)
        rates = {"generator": settings.lr, "critics": settings.critics_lr or settings.lr}
        self.optimizers = {
            name: torch.optim.Adam(self.nets[name].parameters(), rate, _BETAS, foreach=True)
            for name, rate in rates.items()
        }
        self.state = RunState(self.nets, list(self.optimizers.values()), world, settings.amp)
        self.state.keep_averages("generator.", self.averaged.state_dict())
        # each objective holds the network that its loss trains, and no other
        self._generate = data_parallel(Objective(self.generator, self._restyle), world)
        self._judge = data_parallel(Objective(self.critics, self._scores), world)

    def step(self, step: int, source_bchw: Tensor, target_bchw: Tensor) -> Losses:
        """Take one step of the generator and one of the critics; return the losses that were computed,
        detached.

        Args:
            step: number of the step, from 0; odd ones train the reconstruction, where the layout needs it,
                the others the style.
            source_bchw: float32 clean faces in [-1, 1].
            target_bchw: float32 faces of the target set in [-1, 1].

        """
        losses, fake = self._generator_step(step, source_bchw)
        with self.state.autocast():
            real_maps, fake_maps = self._judge(target_bchw, fake.detach())
        losses["critics"] = least_squares(real_maps, 1.0) + least_squares(fake_maps, 0.0)
        self._update("critics", losses["critics"])
        self.state.scaler.update()
        if "adversarial" in losses:
            losses["critics_accuracy"] = accuracy(real_maps, fake_maps)
        return self.world.mean({name: value.detach().float() for name, value in losses.items()})

    def _generator_step(self, step: int, source_bchw: Tensor) -> tuple[Losses, Tensor]:
        with self.state.autocast():
            losses, fake = self._generate(step, source_bchw)
        self._update("generator", losses["total"])
        self._average(step)
        return losses, fake

    def _restyle(self, step: int, x_bchw: Tensor) -> tuple[Losses, Tensor]:
        anchors = step % 2 == 1 and not self.settings.layout.residual
        return self.anchor(x_bchw) if anchors else self.style(step, x_bchw)

    def _scores(self, real_bchw: Tensor, fake_bchw: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return self.critics(real_bchw), self.critics(fake_bchw)

    def style(self, step: int, x_bchw: Tensor) -> tuple[Losses, Tensor]:
        """Return the losses of styled fakes, and these: deceive the critics at the identity distance that the
        magnitude asks for.
        """
        z_bk, noise_bnhw = self._draw(step, x_bchw)
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

    def _draw(self, step: int, x_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return style coordinates and noise of this process's faces: its share of the global batch's."""
        seed, count = self.settings.seed, len(x_bchw) * self.world.size
        z_bk = styles(seed, step, count, self.settings.layout.n_basis)
        noise_bnhw = normals(seed, f"noise-{step}", (count, *self.generator.noise_shape(*x_bchw.shape[2:])))
        part = self.world.share(count)
        return onto(z_bk[part], x_bchw.device), onto(noise_bnhw[part], x_bchw.device)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Put U back on the orthonormal frames and let the averaged generator follow (faster in the first
        steps).
        """
        self.generator.subspace.retract()
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step)) if self.settings.ema_decay else 0.0
        self.state.average(decay)
        self.averaged.subspace.retract()

    def _update(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        self.state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.state.scaler.step(self.optimizers[name])
