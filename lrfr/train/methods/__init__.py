"""One file per published method, and the table of them."""

from __future__ import annotations

from lrfr.errors import SpecError
from lrfr.train.methods.base import Method
from lrfr.train.methods.baseline import Baseline
from lrfr.train.methods.fskd import Fskd
from lrfr.yamlspec import did_you_mean

METHODS: dict[str, type[Method]] = {
    "baseline": Baseline,
    "fskd": Fskd,
}


def find_method(name: str) -> type[Method]:
    """Return a method's class: from the table, else from the entry points ``lrfr.methods`` of installed packages.

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
