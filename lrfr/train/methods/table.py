"""One file per published method, and the table of them."""

from __future__ import annotations

from lrfr.core.errors import SpecError
from lrfr.core.strict_yaml import did_you_mean
from lrfr.train.methods.base import Method
from lrfr.train.methods.baseline import Baseline
from lrfr.train.methods.btnet import BtnetBranch, BtnetTrunk
from lrfr.train.methods.catface import CatFace
from lrfr.train.methods.fskd import Fskd
from lrfr.train.methods.maug import Maug
from lrfr.train.methods.octuplet import Octuplet
from lrfr.train.methods.waveresnet import WaveResNet

METHODS: dict[str, type[Method]] = {
    "baseline": Baseline,
    "fskd": Fskd,
    "waveresnet": WaveResNet,
    "btnet-trunk": BtnetTrunk,
    "btnet-branch": BtnetBranch,
    "maug": Maug,
    "catface": CatFace,
    "octuplet": Octuplet,
}


def find_method(name: str) -> type[Method]:
    """Return a method's class: from the table, else from the entry points ``lrfr.methods`` of installed
    packages.

    Raises:
        SpecError: no such method.

    """
    if name in METHODS:
        return METHODS[name]
    from importlib.metadata import entry_points

    found = entry_points(group="lrfr.methods", name=name)
    if not found:
        raise SpecError(f"unknown method '{name}'", hint=did_you_mean(name, METHODS))
    plugin: type[Method] = next(iter(found)).load()
    return plugin
