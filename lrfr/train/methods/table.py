"""The table of methods: one file a published method; installed packages add more (``lrfr.methods``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrfr.core.registry import Registry

if TYPE_CHECKING:
    from lrfr.train.methods.base import Method

# by name only, so that help and listings import no torch
METHODS: Registry[type[Method]] = Registry(
    "method",
    "lrfr.methods",
    {
        "baseline": "lrfr.train.methods.baseline:Baseline",
        "fskd": "lrfr.train.methods.fskd:Fskd",
        "waveresnet": "lrfr.train.methods.waveresnet:WaveResNet",
        "btnet-trunk": "lrfr.train.methods.btnet:BtnetTrunk",
        "btnet-branch": "lrfr.train.methods.btnet:BtnetBranch",
        "maug": "lrfr.train.methods.maug:Maug",
        "catface": "lrfr.train.methods.catface:CatFace",
        "octuplet": "lrfr.train.methods.octuplet:Octuplet",
    },
)
