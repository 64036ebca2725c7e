"""The contact sheet: every face beside its variants, each with what was drawn for it as its caption; what is
the same for all stands once at the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from lrfr.core.image import ImageU8
from lrfr.degrade.inspect.picture_grid import TEXT_PX, Cell, picture_grid, wrapped
from lrfr.degrade.ops.base import Op, Params
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.pipeline import Applied, Degraded, Trace
from lrfr.degrade.spec.model import Spec, UpSpec
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import is_law

CELL_PX = 170  # so wide that most captions need no second line
COLUMNS = 8
GALLERY_PX = 112
_QUIET = {"transfer": "srgb", "gray": False}


Fixed = Mapping[str, Params]  # step id, repetitions left out -> the parameters that are the same for all


def fixed_params(traces: Sequence[Trace], spec: Spec) -> Fixed:
    """Return for every step that was applied the parameters that the spec fixes, and those that follow from
    them and never differ.
    """
    seen: dict[str, list[Params]] = {}
    for step in (step for trace in traces for step in trace.steps):
        seen.setdefault(_base(step), []).append(step.params)
    ops = {step.id: step.op for step in _walk(spec.steps) if step.op is not None}
    return {
        name: {
            key: value
            for key, value in found[0].items()
            if not _is_drawn(ops.get(name), key, len(found)) and all(p.get(key) == value for p in found)
        }
        for name, found in seen.items()
    }


def _is_drawn(op: Op | None, name: str, count: int) -> bool:
    if op is None or name not in type(op).model_fields:
        # what an op adds to its record follows from the rest; of a single record nobody can tell
        return count < 2
    by_severity = name in op.severity_range and op.severity is not None
    return is_law(op.severity if by_severity else getattr(op, name))


def _walk(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _walk(step.children)


def _base(step: Applied) -> str:
    return step.id.partition("@")[0]


def caption(trace: Trace, fixed: Fixed | None = None) -> list[str]:
    """Return one line for each applied op, for example ``jpeg: quality 43``, without what is ``fixed``."""
    fixed = fixed or {}
    lines = []
    for step in trace.steps:
        same = fixed.get(_base(step), {})
        lines.append(_line(step.op, {name: p for name, p in step.params.items() if name not in same}))
    return lines or ["(nothing applied)"]


def _heads(traces: Sequence[Trace], fixed: Fixed) -> list[str]:
    """Return one line for each op about its fixed parameters; with the step's id where its uses differ."""
    by_op: dict[str, dict[str, list[str]]] = {}
    for name, op in dict((_base(step), step.op) for trace in traces for step in trace.steps).items():
        by_op.setdefault(op, {}).setdefault(_line(op, fixed[name]), []).append(name)
    heads = []
    for op, lines in by_op.items():
        for line, names in lines.items():
            which = f"{op} ({', '.join(sorted(names))})" if len(lines) > 1 else op
            heads += [line.replace(op, which, 1)] if line != op else []
    return heads


def _line(op: str, params: Params) -> str:
    shown = [
        _named(name, value)
        for name, value in params.items()
        if value not in (None, _QUIET.get(name)) and name != "sha256"
    ]
    return f"{op}: {', '.join(shown)}" if shown else op


def _named(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value[:4])}{', ...' if len(value) > 4 else ''}]"
    return str(value)


def enlarge(image: ImageU8, up: UpSpec) -> ImageU8:
    """Return an LR image as the network sees it: brought up by the spec's ``store.up``."""
    return np.asarray(resize_batch(image[None], up.size_px, up.filter, up.antialias)[0], np.uint8)


class SheetRow(NamedTuple):
    """A row of a sheet: the face's (or recipe's) name, its HR picture and its variants."""

    name: str
    hr: ImageU8
    variants: Sequence[Degraded]


def contact_sheet(rows: Sequence[SheetRow], spec: Spec, title: str = "") -> ImageU8:
    """Draw the sheet, faces side by side where they have few variants.

    Args:
        rows: a face each.
        spec: what degraded them; its ``store.up`` enlarges the LR images.
        title: headline.

    Returns:
        uint8 [H, W, 3].

    """
    from PIL import ImageFont

    font = ImageFont.load_default(TEXT_PX)
    traces = [variant.trace for row in rows for variant in row.variants]
    fixed = fixed_params(traces, spec)
    cells = [_cells(row, spec.store.up, font, fixed) for row in rows]
    abreast = max(1, COLUMNS // max(len(row) for row in cells))
    grid = [list(chain(*cells[start : start + abreast])) for start in range(0, len(cells), abreast)]
    return picture_grid(grid, title=title, notes=_heads(traces, fixed), cell_px=CELL_PX)


def gallery(rows: Sequence[tuple[SheetRow, UpSpec]]) -> ImageU8:
    """Draw one row a recipe: its name, an HR face and faces that it degraded, enlarged by its ``store.up``,
    with their sizes.
    """
    grid = []
    for row, up in rows:
        hr = Cell(_shown(row.hr), (f"HR {row.hr.shape[1]} px",), row.name)
        grid.append([hr])
        for item in row.variants:
            grid[-1].append(Cell(_shown(enlarge(item.image, up)), (f"{item.image.shape[1]} px",)))
    return picture_grid(grid)


def _shown(image: ImageU8) -> ImageU8:
    """Return a picture at the gallery's one size, by pixel repetition."""
    return np.asarray(resize_batch(image[None], GALLERY_PX, "nearest", False)[0], np.uint8)


def _cells(row: SheetRow, up: UpSpec, font: Any, fixed: Fixed) -> list[Cell]:
    cells = [Cell(row.hr, wrapped([f"HR {row.hr.shape[1]} px", row.name], font, CELL_PX))]
    for index, variant in enumerate(row.variants):
        lines = [f"v{index}: {variant.image.shape[1]} px", *caption(variant.trace, fixed)]
        cells.append(Cell(enlarge(variant.image, up), wrapped(lines, font, CELL_PX)))
    return cells
