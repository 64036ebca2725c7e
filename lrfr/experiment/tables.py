"""All tables of lrfr in one place, for ``lrfr.registry``: each is loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from lrfr.core.registry import Registry

if TYPE_CHECKING:
    from lrfr.degrade.ops.base import Op
    from lrfr.eval.protocols.table import Benchmark
    from lrfr.pairs.align.detectors.table import DetectorOpener
    from lrfr.pairs.sources.table import Opener
    from lrfr.train.backbones.nets import Backbone
    from lrfr.train.heads.margins import Margin
    from lrfr.train.losses.distances import Compare
    from lrfr.train.methods.base import Method


class Tables:
    """The tables that can be added to, each a :class:`~lrfr.core.registry.Registry`.

    ``lrfr.registry.ops["jpeg"]``, ``.names()``, ``.help(name)`` and ``.register(name, entry)``; installed
    packages add to every table by entry points. There is one of these: ``lrfr.registry``.
    """

    def __repr__(self) -> str:
        tables = [name for name, found in vars(type(self)).items() if isinstance(found, property)]
        return f"lrfr.registry ({', '.join(tables)})"

    @property
    def ops(self) -> Registry[type[Op]]:
        """Steps of a degradation spec (entry points ``lrfr.ops``)."""
        from lrfr.degrade.ops.table import OPS

        return OPS

    @property
    def sources(self) -> Registry[Opener]:
        """Where faces come from (entry points ``lrfr.sources``)."""
        from lrfr.pairs.sources.table import SOURCES

        return SOURCES

    @property
    def detectors(self) -> Registry[DetectorOpener]:
        """What finds faces in photographs (entry points ``lrfr.detectors``)."""
        from lrfr.pairs.align.detectors.table import DETECTORS

        return DETECTORS

    @property
    def backbones(self) -> Registry[Callable[..., Backbone]]:
        """Recognizers (entry points ``lrfr.backbones``)."""
        from lrfr.train.backbones.table import BACKBONES

        return BACKBONES

    @property
    def heads(self) -> Registry[type[Margin]]:
        """Margins of the classification head (entry points ``lrfr.heads``)."""
        from lrfr.train.heads.margins import MARGINS

        return MARGINS

    @property
    def losses(self) -> Registry[Compare]:
        """Distances between the features of two networks (entry points ``lrfr.losses``)."""
        from lrfr.train.losses.distances import DISTANCES

        return DISTANCES

    @property
    def methods(self) -> Registry[type[Method]]:
        """Training methods (entry points ``lrfr.methods``)."""
        from lrfr.train.methods.table import METHODS

        return METHODS

    @property
    def benchmarks(self) -> Registry[Benchmark]:
        """Evaluation protocols (entry points ``lrfr.benchmarks``)."""
        from lrfr.eval.protocols.table import BENCHMARKS

        return BENCHMARKS

    def shadowed(self) -> list[str]:
        """Return one sentence for each plug-in that cannot be reached because its name is taken.

        Only tables that installed packages add to are loaded.
        """
        added = entry_points().groups
        names = [name for name, value in vars(Tables).items() if isinstance(value, property)]
        return [line for name in names if f"lrfr.{name}" in added for line in getattr(self, name).shadowed()]


registry = Tables()
