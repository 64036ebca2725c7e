"""The table of operators: a spec's ``op: name`` is looked up here, then among the entry points ``lrfr.ops``."""

from __future__ import annotations

from lrfr.degrade.ops.base import Op
from lrfr.degrade.ops.resize import Down, DownUp, Up

OPS: dict[str, type[Op]] = {
    "down": Down,
    "up": Up,
    "down_up": DownUp,
}
