"""Do a recipe's networks, its parents and the view's faces go together? Tried before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.backbones.nets import Backbone, Nets
from lrfr.train.backbones.table import build_backbone
from lrfr.train.backbones.teacher import teachers_of
from lrfr.train.checkpoint import read_manifest, resolve
from lrfr.train.engine.determinism import own_random_state
from lrfr.train.methods.base import Method
from lrfr.train.recipe import Recipe
from lrfr.train.weights.foreign.foreign_file import ForeignFile
from lrfr.train.weights.foreign.foreign_net import foreign_nets
from lrfr.train.weights.foreign.readings import FACES
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.parent_files import Parent
from lrfr.train.weights.trial.structure import misfits, structure_of

_LOADING = "loading state_dict"
_WRONG = (RuntimeError, KeyError, IndexError, ValueError, AssertionError)
_SIDES_PX = (7, 14, 16, 28, 32, 48, 56, 64, 96, 112, 128, 160, 224)


def check_networks(recipe: Recipe, given: Mapping[str, Parent], dataset: PairDataset) -> None:
    """Refuse what cannot work, before any of it is trained: the recipe's networks and its parents', with
    untrained weights, must get through the losses of two faces and embed one.

    Raises:
        SpecError: they cannot; the message names both sides.
        DataError: a given parent is no checkpoint, or damaged, or the view has too few faces or identities.

    """
    classes, names = dataset.num_classes, tuple(dataset.attribute_names)
    if classes == 1:
        raise DataError("the view has one identity: there is nothing to tell apart", hint="take two or more")
    method = recipe.make()
    if not classes and method.needs_identities:
        raise DataError(
            f"the view names no identities, and {recipe.method} needs them",
            hint="distillation alone does without: fskd --set margin_weight=0",
        )
    makers = {
        role: ModelIdentity(parent.method, parent.options, classes, names)
        for role, parent in recipe.parents.items()
        if role not in given
    }
    foreign = {role: parent for role, parent in given.items() if isinstance(parent, ForeignFile)}
    ours = {role: parent for role, parent in given.items() if not isinstance(parent, ForeignFile)}
    makers |= {role: ModelIdentity.read(read_manifest(resolve(path)), path) for role, path in ours.items()}
    with own_random_state(), torch.no_grad():
        parents = {
            role: maker.make().build(maker.num_classes, None, maker.attribute_names)
            for role, maker in makers.items()
        }
        parents |= {role: foreign_nets(ForeignEmbedder(parent)) for role, parent in foreign.items()}
        trial = _Trial(recipe, classes, parents, names, dataset)
        nets = Nets()
        sides = [
            _side(f"{role} {given.get(role, '')}".strip(), makers.get(role), parents[role])
            for role in parents
        ]
        used = [str(maker.options.get("backbone")) for maker in makers.values()]
        _check_structures(trial, makers, sides, used)
        try:
            trial.run(method, nets)
        except LrfrError:
            raise
        except _WRONG as error:
            _check_sides(method, recipe, nets, method.lr_px or dataset.size_px)
            if recipe.settings.batch_size == 1:
                raise SpecError(
                    f"{method.backbone} cannot be trained on one face at a time: {_reason(error)}",
                    hint="--set batch_size=2 or more, or --set batch_norm=frozen",
                ) from None
            raise _misfit(trial, sides, used, _reason(error), headless=isinstance(error, KeyError)) from None


@dataclass(frozen=True)
class _Trial:
    """What is tried: a recipe's method with untrained parents on two faces of the view."""

    recipe: Recipe
    classes: int
    parents: Mapping[str, Nets]
    names: tuple[str, ...]
    dataset: PairDataset

    def run(self, method: Method, nets: Nets) -> None:
        """Build the networks into ``nets``, and go through losses and an embedding."""
        dataset = self.dataset.with_lr_side(method.lr_px)
        nets.update(dict(method.build(self.classes, self.parents, self.names).items()))
        _without_maps(self.recipe, nets, self.parents)
        method.train_mode(nets)
        count = min(2, self.recipe.settings.batch_size, len(dataset))
        batch = dataset.batch(np.arange(count), 0)
        method.losses(nets, batch.as_float(), 0)
        method.embedder(nets)([batch.hr_bchw[0].permute(1, 2, 0).numpy()])

    def fitting(self, method: Method, used: Sequence[str]) -> list[str]:
        """Return the changes that would fit, each tried: a connector, the backbone of a parent."""
        changes = [("connector", kind) for kind in ("linear", "conv1x1") if hasattr(method, "connector")]
        changes += [("backbone", name) for name in dict.fromkeys(used) if name != method.backbone]
        found = []
        for key, value in changes:
            changed: dict[str, Any] = {key: value}
            try:
                self.run(replace(method, **changed), Nets())
            except (LrfrError, *_WRONG):
                continue
            found.append(f"--set {key}={value}")
        return found


def _check_sides(method: Method, recipe: Recipe, nets: Nets, faces_px: int) -> None:
    """Refuse faces, or an ``input.size_px``, of a side that the recognizer does not take."""
    net = nets["net"] if "net" in nets else None
    if not isinstance(net, Backbone):
        return
    fitting = [side for side in _SIDES_PX if _takes(net, side)]
    wanted = {"the faces of the view": faces_px, "input.size_px": method.input.size_px}
    for what, side in wanted.items():
        if fitting and side not in fitting and not _takes(net, side):
            sides = ", ".join(map(str, fitting))
            raise SpecError(
                f"{recipe.method}: backbone '{method.backbone}' takes {sides} px, {what}: {side} px",
                hint="make pairs of that size, or --set backbone= one that takes any, such as tiny-gap",
            )


def _takes(net: Backbone, side_px: int) -> bool:
    try:
        net.eval()(torch.zeros(1, 3, side_px, side_px))
    except _WRONG:
        return False
    return True


def _without_maps(recipe: Recipe, nets: Nets, parents: Mapping[str, Nets]) -> None:
    """Let teachers whose embeddings are to be kept refuse to give maps.

    Raises:
        SpecError: there is no such teacher.

    """
    if recipe.settings.cache_teacher != "always":
        return
    found = [
        one for role, parent in parents.items() if role != "init" for one in teachers_of(nets, parent["net"])
    ]
    if not found:
        raise SpecError(
            f"{recipe.method} has no frozen teacher whose embeddings could be kept",
            hint="leave cache_teacher=always out",
        )
    for teacher in found:
        teacher.column = "kept"


def foreign_lines(given: Mapping[str, Parent], dataset: PairDataset) -> list[str]:
    """Return what is to be said of foreign parents: their input, and what faces of the view say of it where
    it is a guess.
    """
    lines = []
    for role, parent in given.items():
        if not isinstance(parent, ForeignFile):
            continue
        embed = ForeignEmbedder(parent)
        line = f"{role}: {parent}, {embed.contract} ({embed.origin})"
        if embed.origin == "assumed":
            batch = dataset.batch(np.linspace(0, len(dataset) - 1, min(FACES, len(dataset))).astype(int), 0)
            line += f"; {embed.check(list(batch.hr_bchw.permute(0, 2, 3, 1).numpy()))}"
        lines.append(line)
    return lines


def _side(name: str, maker: ModelIdentity | None, nets: Nets) -> str:
    if maker is None:
        return f"{name} (a foreign file, {nets['net'].emb_dim} wide, no maps, no head)"
    head = f"{maker.num_classes} classes" if "head" in nets else "no head"
    return f"{name} ({maker.method}, {maker.options.get('backbone')}, {nets['net'].emb_dim} wide, {head})"


def _check_structures(
    trial: _Trial, makers: Mapping[str, ModelIdentity], sides: list[str], used: Sequence[str]
) -> None:
    """Refuse parents that are not what the method wants of them, before any network runs."""
    method = trial.recipe.make()
    own, told, sizes = structure_of(Nets({"net": build_backbone(method.backbone)})), [], []
    for role, wants in method.wants().items():
        maker, parent = makers.get(role), trial.parents.get(role)
        side_px = maker.make().input.size_px if maker else None
        found = structure_of(parent, side_px) if parent is not None else None
        if own is None or found is None:
            continue
        words, size_alone = misfits(own, found, wants, trial.classes, trial.dataset.size_px)
        told += words
        sizes += [side_px] if size_alone else []
    if sizes and len(told) == len(sizes):
        raise SpecError(
            f"{'; '.join(sides)} cannot teach here: {'; '.join(told)}",
            hint=f"lrfr make-pairs --size {sizes[0]}; or lrfr export it --onnx and name that file, which "
            "resizes what it sees",
        )
    if told:
        raise _misfit(trial, sides, used, "; ".join(told), headless="the parent has no head" in told)


def _misfit(trial: _Trial, sides: list[str], used: Sequence[str], reason: str, headless: bool) -> SpecError:
    method = trial.recipe.make()
    own = f"{trial.recipe.method} ({trial.recipe.name}, {method.backbone})"
    if not sides:
        return SpecError(f"{own} cannot work with this view: {reason}")
    fitting = trial.fitting(method, used)
    return SpecError(
        f"{'; '.join(sides)} cannot work with {own}: {reason}",
        hint=f"these fit: {' or '.join(fitting)}; or choose another --parent"
        if fitting
        else "choose another --parent" + (": one with a head" if headless else ""),
    )


def _reason(error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, KeyError):
        return f"there is no {reason.strip(chr(39))}"
    return "their layers are not the same" if _LOADING in reason else reason
