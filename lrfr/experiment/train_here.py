"""What ``lrfr train`` does around a training: the processes of ``torchrun``, a view to start with, evaluation
while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import missing_extra
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.monitor import Evaluate, data_evaluator, embedded_evaluator
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.engine.distributed import join_world
from lrfr.train.engine.journal import ScalarWriter
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.parents import Run, check_roles, train_model
from lrfr.train.recipe import Recipe
from lrfr.train.weights.foreign.foreign_file import with_stated

DEFAULT_SPEC = "fskd"


@dataclass(frozen=True)
class Wishes:
    """What a person may ask for besides the recipe.

    Attributes:
        store: folder of the store.
        view: name of the view.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None takes a GPU where there is one.
        max_steps: stop at this step.
        evaluates: measure on embedded faces while training.
        eval_data: measure on these sets instead, see :func:`lrfr.eval.monitor.data_evaluator`.
        tensorboard: write event files too.
        verify: what is checked when pairs are read: ``always`` every file and record, ``records`` or
            ``never``.
        input_range, bgr, trust_code: of parents that are foreign files, see
            :class:`~lrfr.train.weights.foreign.foreign_file.ForeignFile`.

    """

    store: Path
    view: str = "default"
    device: str | None = None
    max_steps: int | None = None
    evaluates: bool = False
    eval_data: tuple[str, ...] = ()
    tensorboard: bool = False
    verify: str = "always"
    input_range: str | None = None
    bgr: bool | None = None
    trust_code: bool = False


def train_here(
    recipe: Recipe, run_dir: Path, wishes: Wishes, parents: Mapping[str, Path], hooks: Hooks = SILENT
) -> Run:
    """Train with all the processes that ``torchrun`` has started; the first one speaks and makes the view.

    Raises:
        SpecError, DataError, LockedError, NumericFault: see :func:`lrfr.train.parents.train_model`.
        EnvironmentFault: TensorBoard is missing.

    """
    with join_world(wishes.device) as world:
        hooks = hooks if world.leads else SILENT
        check_roles(recipe, parents)
        given = with_stated(parents, wishes.input_range, wishes.bgr, wishes.trust_code)
        if world.leads and wishes.view == "default" and not wishes.store.exists():
            make_default_view(wishes.store, str(recipe.data.get("spec") or DEFAULT_SPEC), hooks)
        world.barrier()
        options = FitOptions(
            world=world,
            max_steps=wishes.max_steps,
            evaluate=_evaluation(wishes),
            board=_board(run_dir) if wishes.tensorboard and world.leads else None,
        )
        dataset = PairDataset(wishes.store, wishes.view, verify=wishes.verify)
        return train_model(recipe, dataset, run_dir, parents=given, options=options, hooks=hooks)


def _evaluation(wishes: Wishes) -> Evaluate | None:
    if wishes.eval_data:
        return data_evaluator(wishes.eval_data)
    return evaluate_while_training() if wishes.evaluates else None


def make_default_view(store: Path, spec: str, hooks: Hooks = SILENT) -> None:
    """Make the view ``default`` of a new store from embedded (invented) faces."""
    hooks.note(f"there is no store '{store}': making one from embedded faces with the spec '{spec}'")
    make_pairs("synthetic", spec, store=store)


def evaluate_while_training(sizes_px: tuple[int, ...] = (112, 14)) -> Evaluate:
    """Return ``evaluate(embed) -> metrics``: accuracy on a few embedded faces across ``sizes_px``."""
    return embedded_evaluator(sizes_px, pairs=300)


def _board(folder: Path) -> ScalarWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_extra("tensorboard", "tensorboard") from None
    writer: ScalarWriter = SummaryWriter(str(folder / "tensorboard"))
    return writer
