"""The steps of a pipeline: ops and the containers ``one_of``, ``some_of``, ``shuffle`` and ``steps`` (with
``repeat``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.strict_yaml import Place, format_place
from lrfr.degrade.ops.base import Op
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec.resolve import Sheet
from lrfr.degrade.values.distributions import Law, Value, value_json
from lrfr.degrade.values.params import Real, Whole, shown, weights_of

# container key -> the keys that may stand beside it
CONTAINERS: dict[str, tuple[str, ...]] = {
    "one_of": ("weights",),
    "some_of": ("n",),
    "shuffle": ("in_order",),
    "steps": ("repeat",),
}
COMMON = ("op", "id", "p")
MAX_STEPS = 1000
MAX_REPEAT = 16
MAX_RUNS = 4000
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Step:
    """One node of the pipeline.

    Attributes:
        kind: ``op`` or the key of a container.
        id: name of the step's random stream: its own id, or ``parent/op#occurrence``.
        own_id: the id written in the spec, if any.
        label: the op's name; for a container the word after ``op:`` or its kind.
        p: probability that the step fires.
        op: the validated operator (ops only).
        children: steps inside a container.
        weights: relative probabilities of the children (``one_of`` only).
        count: how many children are picked (``some_of``) or how often they run (``steps``).
        in_order: indices of children that keep their order in a ``shuffle``.
        where: ``file:line`` of the step, for errors found later.

    """

    kind: str
    id: str
    own_id: str | None
    label: str
    p: float
    op: Op | None = None
    children: tuple[Step, ...] = ()
    weights: tuple[float, ...] = ()
    count: Value = 1
    in_order: tuple[int, ...] = ()
    where: tuple[str | None, int | None] = (None, None)

    def as_json(self) -> Mapping[str, object]:
        """Return the step as it stands in a resolved spec."""
        head = {**self._names(), "p": self.p}
        if self.op is not None:
            return {**head, **self.op.as_json()}
        even = {"weights": list(self.weights)} if self.kind == "one_of" else {}
        return {**head, self.kind: [child.as_json() for child in self.children], **even, **self._beside()}

    def identity(self) -> Mapping[str, object]:
        """Return what decides the step's pixels: as :meth:`as_json`, without defaults, with revisions."""
        head = {**self._names(), **({} if self.p == 1.0 else {"p": self.p})}
        if self.op is not None:
            return {**head, **self.op.identity()}
        return {**head, self.kind: [child.identity() for child in self.children], **self._beside()}

    def _names(self) -> Mapping[str, object]:
        head: dict[str, Any] = {"op": self.label} if self.label != self.kind else {}
        return {**head, "id": self.own_id} if self.own_id is not None else head

    def _beside(self) -> Mapping[str, object]:
        """Return the container's keys that differ from their defaults."""
        if self.kind == "one_of":
            return {"weights": list(self.weights)} if set(self.weights) != {1.0} else {}
        if self.kind == "some_of":
            return {"n": value_json(self.count)}
        if self.kind == "steps":
            return {"repeat": value_json(self.count)} if self.count != 1 else {}
        in_order = [self.children[index].own_id for index in self.in_order]
        return {"in_order": in_order} if in_order else {}


class StepReader:
    """Reads raw steps into :class:`Step` and gathers every error on the way."""

    def __init__(self, sheet: Sheet, transfer: str) -> None:
        self.sheet = sheet
        self.transfer = transfer
        self.errors: list[SpecError] = []
        self._ids: set[str] = set()
        self._count = 0

    def read_list(self, raw: Any, place: Place, parent: str = "") -> tuple[Step, ...]:
        """Read a list of steps; ``parent`` is the stream name that implicit names start with."""
        if not isinstance(raw, list) or not raw:
            self._fault(f"expected a list of steps, got {shown(raw)}", place)
            return ()
        seen: Counter[str] = Counter()
        steps = []
        for index, item in enumerate(raw):
            label = _label(item)
            step = self._read(item, (*place, index), f"{parent}{label}#{seen[label]}")
            seen[label] += 1
            if step is not None:
                steps.append(step)
        return tuple(steps)

    def _fault(self, message: str, place: Place, hint: str | None = None) -> None:
        self.errors.append(self.sheet.error(message, place, hint))

    def _read(self, raw: Any, place: Place, implicit_id: str) -> Step | None:
        self._count += 1
        if self._count > MAX_STEPS:
            raise self.sheet.error(f"more than {MAX_STEPS} steps", place)
        if not isinstance(raw, dict):
            self._fault(f"expected a step such as {{op: jpeg, quality: 50}}, got {shown(raw)}", place)
            return None
        kinds = [key for key in CONTAINERS if key in raw]
        if len(kinds) > 1:
            self._fault(f"'{kinds[0]}' and '{kinds[1]}' in one step", place, "nest one inside the other")
            return None
        own_id = self._own_id(raw, place)
        p = self._checked(Real(0, 1), raw.get("p", 1.0), (*place, "p"))
        if isinstance(p, dict) or not isinstance(p, float):
            self._fault("expected a plain probability", (*place, "p"))
            p = 1.0
        where = self.sheet.error("", place)
        head = {
            "id": own_id or implicit_id,
            "own_id": own_id,
            "label": _label(raw),
            "p": p,
            "where": (where.file, where.line),
        }
        return self._container(kinds[0], raw, place, head) if kinds else self._op(raw, place, head)

    def _own_id(self, raw: Mapping[str, Any], place: Place) -> str | None:
        own_id = raw.get("id")
        if own_id is None:
            return None
        if not isinstance(own_id, str) or not _ID.fullmatch(own_id):
            self._fault(f"expected an id of letters, digits, _ and -, got {shown(own_id)}", (*place, "id"))
            return None
        if own_id in self._ids:
            self._fault(f"the id '{own_id}' is used twice", (*place, "id"))
        self._ids.add(own_id)
        return own_id

    def _checked(self, field: Real, raw: Any, place: Place) -> Any:
        try:
            return field.check(raw)
        except ValueError as error:
            self._fault(str(error), place)
            return 1

    def _op(self, raw: Mapping[str, Any], place: Place, head: Mapping[str, Any]) -> Step | None:
        name = raw.get("op")
        kind = OPS[name] if isinstance(name, str) and name in OPS else None
        if kind is None:
            if name is None:
                hint = did_you_mean(next((str(key) for key in raw if key not in COMMON), ""), CONTAINERS)
                self._fault("a step needs 'op' or a container", place, hint)
            else:
                self._fault(
                    f"unknown op {shown(name)}",
                    (*place, "op"),
                    did_you_mean(shown(name).strip("'"), OPS.names()),
                )
            return None
        fields = {key: value for key, value in raw.items() if key not in COMMON}
        if "transfer" in kind.model_fields:
            fields.setdefault("transfer", self.transfer)
        try:
            return Step("op", op=kind.model_validate(fields), **head)
        except ValidationError as error:
            self.errors += explain(error, self.sheet, place, {(): [*kind.model_fields, *COMMON]}, str(name))
            return None

    def _container(self, kind: str, raw: Mapping[str, Any], place: Place, head: Mapping[str, Any]) -> Step:
        beside = CONTAINERS[kind]
        for key in raw:
            if key not in (*COMMON, kind, *beside):
                self._fault(
                    f"unknown key '{key}' beside '{kind}'",
                    (*place, key),
                    did_you_mean(key, [*COMMON, *beside]),
                )
        if not isinstance(raw.get("op", ""), str):
            self._fault("expected a word as the container's label", (*place, "op"))
        children = self.read_list(raw[kind], (*place, kind), f"{head['id']}/")
        extra: dict[str, Any] = {}
        if kind == "one_of":
            extra["weights"] = self._weights(raw, place, len(raw[kind]) if isinstance(raw[kind], list) else 0)
        elif kind == "some_of":
            extra["count"] = self._checked(Whole(0, max(1, len(children))), raw.get("n"), (*place, "n"))
        elif kind == "steps":
            extra["count"] = self._checked(Whole(1, MAX_REPEAT), raw.get("repeat", 1), (*place, "repeat"))
        elif "in_order" in raw:
            extra["in_order"] = self._in_order(raw["in_order"], children, (*place, "in_order"))
        return Step(kind, children=children, **head, **extra)

    def _weights(self, raw: Mapping[str, Any], place: Place, count: int) -> tuple[float, ...]:
        try:
            return weights_of(raw.get("weights"), count)
        except ValueError as error:
            self._fault(str(error), (*place, "weights"))
            return (1.0,) * count

    def _in_order(self, raw: Any, children: tuple[Step, ...], place: Place) -> tuple[int, ...]:
        ids = [child.own_id for child in children]
        if not isinstance(raw, list) or len(raw) < 2 or len({str(word) for word in raw}) < len(raw):
            self._fault(
                f"expected a list of two or more ids of steps in this shuffle, got {shown(raw)}", place
            )
            return ()
        missing = [word for word in raw if word not in ids]
        if missing:
            self._fault(f"no step in this shuffle has the id {shown(missing[0])}", place)
            return ()
        return tuple(ids.index(word) for word in raw)


def most_runs(steps: Sequence[Step]) -> int:
    """Return how many ops one image may meet at most, repetitions included."""
    total = 0
    for step in steps:
        times = 1
        if step.kind == "steps":
            times = int(step.count.extent()[1]) if isinstance(step.count, Law) else int(step.count)
        total += 1 if step.kind == "op" else times * most_runs(step.children)
    return total


def _label(raw: Any) -> str:
    """Return the op's name, or a container's label."""
    if not isinstance(raw, dict):
        return "?"
    return str(raw.get("op", next((key for key in CONTAINERS if key in raw), "?")))


def explain(
    error: ValidationError, sheet: Sheet, place: Place, known: dict[Place, list[str]], owner: str
) -> list[SpecError]:
    """Turn pydantic's findings into located errors with what was expected and the nearest known name.

    Args:
        error: what pydantic found.
        sheet: the spec, for the locations.
        place: where the validated mapping stands in it.
        known: the names that a mapping takes, by its place inside the validated one.
        owner: what the validated mapping is called in messages.

    """
    found = []
    for item in error.errors(include_url=False, include_context=False):
        here = (*place, *item["loc"])
        name = str(item["loc"][-1]) if item["loc"] else ""
        if item["type"] == "extra_forbidden":
            parent = item["loc"][:-1]
            whose = format_place(parent) or owner
            found.append(
                sheet.error(f"unknown key '{name}' of {whose}", here, did_you_mean(name, known[parent]))
            )
        elif item["type"] == "missing":
            hint = (
                "there is no default on purpose: true is Pillow's operator, false is OpenCV's"
                if name == "antialias"
                else None
            )
            found.append(sheet.error(f"{owner} needs '{name}'", here, hint))
        else:
            message, _, hint = item["msg"].removeprefix("Value error, ").partition("; ")
            got = "" if item["type"] == "value_error" else f", got {shown(item['input'])}"
            found.append(sheet.error(f"{message}{got}", here, hint or None))
    # an unknown key is the usual reason for a missing one, so it comes first
    return sorted(found, key=lambda fault: "needs '" in fault.message)
