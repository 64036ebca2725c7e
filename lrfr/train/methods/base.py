"""What every method has: a recognizer, a head and an input contract, and three functions.

A method is a frozen dataclass of its hyper-parameters; the defaults are the paper's. It knows no optimizer,
device, rank, file or log. ``build`` makes the networks, ``losses`` the named losses of one batch with
``"total"``, ``embedder`` the product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.net_embedder import Embedder, InputSpec, single
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.parts.input_shift import adopt_shifts
from lrfr.train.backbones.table import BACKBONES, build_backbone
from lrfr.train.backbones.teacher import FrozenTeacher
from lrfr.train.heads.margins import MARGINS, HeadSpec

Losses = dict[str, Tensor]
Parents = Mapping[str, Nets]


@dataclass(frozen=True, kw_only=True)
class Wants:
    """What of a parent's recognizer must agree with the one that is trained.

    Attributes:
        layers: every layer.
        maps: channels of so many maps, from the first stage on.
        embedding: the size of its embedding.
        head: it must have a head.
        classes: its head must have the classes of the view.
        size: it sees the faces of the view as they are, and must have been trained on that size.

    """

    layers: bool = False
    maps: int = 0
    embedding: bool = False
    head: bool = False
    classes: bool = False
    size: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """The fields and functions that methods share.

    Attributes:
        revision: raised by hand when the losses of a method move for the same options; it is in every run's
            identity.
        backbone: a name of :data:`~lrfr.train.backbones.table.BACKBONES`.
        head: margin and its constants.
        input: resizing of the embedder, recorded in the checkpoint.
        batch_norm: ``frozen`` keeps the statistics that the networks start with, for fine-tuning strong
            weights.
        at_test: options that choose how trained networks are used, so that a checkpoint may be measured with
            others (``lrfr eval --set``).
        unstated: field to what its source says about it, printed at the start of a run.

    """

    __pydantic_config__: ClassVar = {"allow_inf_nan": False}

    revision: ClassVar[int] = 1
    at_test: ClassVar[frozenset[str]] = frozenset()
    unstated: ClassVar[Mapping[str, str]] = {}

    backbone: str = "iresnet50"
    head: HeadSpec = field(default_factory=HeadSpec)
    input: InputSpec = field(default_factory=InputSpec)
    batch_norm: Literal["train", "frozen"] = "train"

    def needs(self) -> Mapping[str, str]:
        """Return role to method: the finished runs whose networks ``build`` is handed."""
        return {}

    def wants(self) -> Mapping[str, Wants]:
        """Return role to what of that parent must agree; roles that are not here are only tried."""
        return {"init": Wants(layers=True)}

    @property
    def width_of(self) -> str:
        """The role whose embedding size the recognizer takes where its backbone's name states none; "" for
        none.
        """
        return ""

    @property
    def needs_identities(self) -> bool:
        """Whether the losses need labels; a view without any is then refused before anything is trained."""
        return True

    @property
    def lr_px(self) -> int:
        """The side at which the losses want the LR faces; 0 for that of the HR faces."""
        return 0

    @property
    def published(self) -> str | None:
        """The name that the papers' tables have for these options, where it is not the method's own."""
        return None

    def revisions(self) -> Mapping[str, int]:
        """Return part to revision of everything besides the options that decides the numbers of a run."""
        return {
            "method": self.revision,
            "backbone": revision_of(BACKBONES[self.backbone]),
            "head": revision_of(MARGINS[self.head.kind]),
        }

    def files(self) -> Mapping[str, str]:
        """Return part to digest of the files, besides parents, that decide the numbers of a run."""
        return {}

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return the networks; without ``parents`` those that need no other run (enough for an embedder).

        Args:
            num_classes: identities of the training view; 0 makes no head (imported weights).
            parents: networks of finished runs by role; the role ``init`` starts the recognizer (and the head,
                where the number of classes agrees) from another run.
            attribute_names: names of the view's soft-biometric attributes.

        """
        net = build_backbone(self.backbone)
        nets = Nets({"net": net})
        if num_classes:
            nets["head"] = self.head.build(net.emb_dim, num_classes)
        start_from(nets, (parents or {}).get("init"))
        return nets

    def train_mode(self, nets: Nets) -> None:
        """Put the networks into training mode, once, before the first step."""
        nets.train()
        if self.batch_norm == "frozen":
            for module in nets.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return named scalar losses of one float batch, ``"total"`` among them."""
        raise NotImplementedError

    def embedder(self, nets: Nets) -> Embedder:
        """Return ``embed(images)`` of the recognizer."""
        return single(nets["net"], self.input)

    def class_predictor(self, nets: Nets) -> Embedder:
        """Return ``predict(images) -> scores [N, C]`` of the head's classes (digits)."""
        return single(nets, self.input, partial(_class_cosines, nets))


def _class_cosines(nets: Nets, x_bchw: Tensor) -> Tensor:
    scores: Tensor = nets["head"].cosine(nets["net"](x_bchw))
    return scores


def revision_of(part: object) -> int:
    """Return the ``revision`` of a table's entry; one that does not state any is of revision 1."""
    return int(getattr(part, "revision", 1))


def freeze_teacher(nets: Nets, teacher: Nets | None) -> None:
    """Add another run's recognizer and head as ``teacher`` and ``teacher_head``, frozen."""
    if teacher is not None:
        nets["teacher"] = FrozenTeacher(teacher["net"])
        if "head" in teacher:
            nets["teacher_head"] = FrozenTeacher(teacher["head"])


def start_from(nets: Nets, init: Nets | None) -> None:
    """Copy the recognizer's weights of another run, and its head's where the shape agrees."""
    if init is None:
        return
    state = init["net"].state_dict()
    adopt_shifts(nets["net"], state)
    fitted = getattr(nets["net"], "fitted", dict)  # networks of branches have none
    nets["net"].load_state_dict(fitted(state))
    if "head" in init and "head" in nets and init["head"].weight.shape == nets["head"].weight.shape:
        nets["head"].load_state_dict(init["head"].state_dict(), strict=False)
