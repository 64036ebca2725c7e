"""A style generator that trains in a blink: a mini layout, noise for faces, a projection for a recognizer."""

import numpy as np
import pytest
import torch

from lrfr.degrade.style.generator_card import PRESETS, Layout
from lrfr.train.style.image_sets import in_memory
from lrfr.train.style.recognizer import Recognizer
from lrfr.train.style.settings import CfsmSettings
from lrfr.train.style.style_task import CfsmData

MATRIX = torch.randn(3 * 32 * 32, 16, generator=torch.Generator().manual_seed(3))
_PRESETS = {
    **PRESETS,
    "mini": Layout(dim=4, n_res=1, n_basis=10, latent=16, residual=True),
    "published": Layout(dim=4, n_res=1, n_basis=3, latent=8),
}


def with_mini_presets():
    """Return a context in which the presets ``mini`` and ``published`` (its layout, small) are known."""
    patch = pytest.MonkeyPatch()
    patch.setattr("lrfr.train.style.settings.PRESETS", _PRESETS)
    return patch


def settings(**changes):
    small = {"preset": "mini", "size_px": 32, "steps": 4, "batch_size": 2, "discriminator_dim": 4}
    return CfsmSettings(**{**small, "threads": 1, "save_every": 2, "grid_every": 4, **changes})


def data(seed=0):
    rng = np.random.default_rng(seed)
    source = in_memory(rng.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8), f"source-{seed}")
    target = in_memory(rng.integers(60, 120, (50, 32, 32, 3), dtype=np.uint8), "target")
    return CfsmData(source, target, Recognizer(lambda x: x.flatten(1) @ MATRIX, "recognizer"))
