"""lrfr: a degradation engine, pair store, trainers and evaluator for low-resolution face recognition.

Each name below loads its room when it is first used; ``import lrfr`` itself loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lrfr.core.errors import (
        DataError,
        EnvironmentFault,
        LockedError,
        LrfrError,
        NumericFault,
        SpecError,
    )
    from lrfr.core.progress import Hooks, Stopped
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import Spec, load_spec
    from lrfr.degrade.transforms import Degrade, degrade_images, presets
    from lrfr.experiment.evaluate import Results, evaluate
    from lrfr.experiment.experiment import Experiment
    from lrfr.experiment.first_hour.quickstart import quickstart
    from lrfr.experiment.steps.fitting.fit_here import FitWishes, check_camera, fit_camera
    from lrfr.experiment.tables import registry
    from lrfr.pairs.align.aligner import align_images
    from lrfr.pairs.build.make import make_pairs
    from lrfr.pairs.format.pair_batch import Batch, collate
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.reading.loader import PairLoader
    from lrfr.pairs.store import Store
    from lrfr.train.parents import train_model
    from lrfr.train.recipe import load_recipe
    from lrfr.train.weights.load_model import load_model

_HOME = {
    "Batch": "lrfr.pairs.format.pair_batch",
    "DataError": "lrfr.core.errors",
    "Degrade": "lrfr.degrade.transforms",
    "EnvironmentFault": "lrfr.core.errors",
    "Experiment": "lrfr.experiment.experiment",
    "FitWishes": "lrfr.experiment.steps.fitting.fit_here",
    "Hooks": "lrfr.core.progress",
    "LockedError": "lrfr.core.errors",
    "LrfrError": "lrfr.core.errors",
    "NumericFault": "lrfr.core.errors",
    "PairDataset": "lrfr.pairs.reading.dataset",
    "PairLoader": "lrfr.pairs.reading.loader",
    "Pipeline": "lrfr.degrade.pipeline",
    "Results": "lrfr.experiment.evaluate",
    "Spec": "lrfr.degrade.spec.model",
    "SpecError": "lrfr.core.errors",
    "Stopped": "lrfr.core.progress",
    "Store": "lrfr.pairs.store",
    "align_images": "lrfr.pairs.align.aligner",
    "check_camera": "lrfr.experiment.steps.fitting.fit_here",
    "collate": "lrfr.pairs.format.pair_batch",
    "degrade_images": "lrfr.degrade.transforms",
    "evaluate": "lrfr.experiment.evaluate",
    "fit_camera": "lrfr.experiment.steps.fitting.fit_here",
    "load_model": "lrfr.train.weights.load_model",
    "load_recipe": "lrfr.train.recipe",
    "load_spec": "lrfr.degrade.spec.model",
    "make_pairs": "lrfr.pairs.build.make",
    "presets": "lrfr.degrade.transforms",
    "quickstart": "lrfr.experiment.first_hour.quickstart",
    "registry": "lrfr.experiment.tables",
    "train_model": "lrfr.train.parents",
}

# spelled out, because type checkers and documentation read it without running anything
__all__ = [
    "Batch",
    "DataError",
    "Degrade",
    "EnvironmentFault",
    "Experiment",
    "FitWishes",
    "Hooks",
    "LockedError",
    "LrfrError",
    "NumericFault",
    "PairDataset",
    "PairLoader",
    "Pipeline",
    "Results",
    "Spec",
    "SpecError",
    "Stopped",
    "Store",
    "__version__",
    "align_images",
    "check_camera",
    "collate",
    "degrade_images",
    "evaluate",
    "fit_camera",
    "load_model",
    "load_recipe",
    "load_spec",
    "make_pairs",
    "presets",
    "quickstart",
    "registry",
    "train_model",
]


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562)."""
    if name not in _HOME:
        from lrfr.core.errors import did_you_mean

        raise AttributeError(f"module 'lrfr' has no attribute '{name}' ({did_you_mean(name, __all__)})")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
