"""How a view grows: which rows of a source the store holds already, and which must be written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.pairs.build.plan import BasePlan
from lrfr.pairs.format.manifests import BaseManifest
from lrfr.pairs.format.rows import Rows, StoredRows
from lrfr.pairs.format.shard import is_whole
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import View
from lrfr.pairs.views import Made, check_together

NAMED_KEYS = 3
_COMPARED = 1 << 14


@dataclass(frozen=True)
class RowCounts:
    """What becomes of rows; ``new + kept + replaced`` are those of the view before its filter.

    Attributes:
        new: were not in the store.
        kept: are in the store already.
        replaced: the view showed other bytes or labels under their keys.
        gone: the view showed them and does so no longer.

    """

    new: int = 0
    kept: int = 0
    replaced: int = 0
    gone: int = 0

    def as_json(self) -> dict[str, int]:
        """Return them as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Held:
    """Rows of a base that is there already; ``shown`` is bool ``[rows]``."""

    base: BaseManifest
    shown: NDArray[np.bool_]
    table: StoredRows | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Growth:
    """What a view is made of: rows that are there, and a base still to be written (or found whole)."""

    held: tuple[Held, ...]
    fresh: BasePlan | None
    counts: RowCounts


@dataclass(frozen=True)
class GrowthRule:
    """How a source meets what is there.

    Attributes:
        before: the view that is written anew or extended; None where there is none of this make.
        extend: whether the view keeps its rows, or shows the source's alone.
        replace: whether a key of an extended view may come back with other bytes.
        is_free: whether nothing has to be written to show rows of a base.

    """

    before: View | None = None
    extend: bool = False
    replace: bool = False
    is_free: Callable[[BaseManifest], bool] = field(default=lambda base: True)


def grow(store: StoreFiles, plan: BasePlan, rule: GrowthRule) -> Growth:
    """Find the rows of a plan in the store; what is left becomes one new part.

    The same plan over the same finished bases gives the same parts, so a killed run goes on where it was.

    Raises:
        DataError: a key of the view that is extended comes back with other bytes or labels.

    """
    count = len(plan.rows)
    before = list(_parts_before(store, plan, rule))
    there = [_shown_under(part) for part in before]
    replaced = np.zeros(count, bool)
    for met in there:
        replaced[met.other] = True
    if not rule.extend and (store.base(plan.base_id) / "manifest.json").exists():
        others = int(replaced.sum())
        return Growth((), plan, RowCounts(0, count - others, others, _gone(before, there)))
    if rule.extend and replaced.any() and not rule.replace:
        raise _other_bytes(plan, np.flatnonzero(replaced))
    left, held = np.ones(count, bool), []
    for part, met in zip(before, there, strict=True) if rule.extend else ():
        left[met.same] = False
        shown = part.shown.copy()
        shown[met.at[~met.equal]] = False  # the plan replaces them
        held.append(replace(part, shown=shown))
    used = _borrow(store, plan, left, (held, before), rule)
    fresh = plan.part(np.flatnonzero(left)) if left.any() else None
    written = int((left & ~replaced).sum())
    kept, gone = count - int(replaced.sum()) - written, _gone(before, there)
    if rule.extend:
        kept += sum(int(part.shown.sum()) for part in before) - int(replaced.sum())
        kept, gone = kept - sum(len(met.same) for met in there), 0
    used = [part for part in used if part.shown.any()]
    return Growth(tuple(used), fresh, RowCounts(written, kept, int(replaced.sum()), gone))


def _gone(before: Sequence[_Part], there: Sequence[Met]) -> int:
    """Return how many shown rows the plan does not have."""
    return sum(int(part.shown.sum()) for part in before) - sum(len(met.rows) for met in there)


def _other_bytes(plan: BasePlan, rows: NDArray[np.int64]) -> DataError:
    keys = sorted(plan.faces[row].key for row in rows.tolist())
    named = ", ".join(map(repr, keys[:NAMED_KEYS]))
    return DataError(
        f"{len(rows)} keys of the view come back with other bytes or labels: {named}"
        f"{', ...' if len(rows) > NAMED_KEYS else ''}",
        hint="--replace shows the new ones instead",
    )


def _fits(plan: BasePlan, base: BaseManifest) -> bool:
    """Return whether a base is made as the plan is: its rows may then stand for the plan's."""
    made = (base.crop, base.permutation_seed, base.block_rows)
    return made == (plan.crop, plan.options.seed, plan.block_rows)


def _parts_before(store: StoreFiles, plan: BasePlan, rule: GrowthRule) -> Iterator[_Part]:
    """Yield the parts of the view that was there, with the rows they show."""
    for part in rule.before.parts if rule.before else ():
        try:
            base = store.base_manifest(part.base)
            if rule.extend:
                check_together([Made.of(base), Made(plan.base_id, plan.crop, plan.options.seed)])
            elif not _fits(plan, base):
                continue
            shown, table = store.shown(part, base), store.rows_of(base)
            shown = np.ones(base.rows, bool) if shown is None else shown
            yield _Part(base, shown, meet(plan.rows, table), table=table)
        except DataError:
            if rule.extend:
                raise  # else the view is about to be written anew, whatever it was


@dataclass(frozen=True)
class Met:
    """Rows of a plan whose keys a table has, the rows ``at`` which it has them, and whether all else is
    equal ``[m]``: of all tables of a view these are no more than the plan's.
    """

    rows: NDArray[np.int64]
    at: NDArray[np.int64]
    equal: NDArray[np.bool_]

    @property
    def same(self) -> NDArray[np.int64]:
        """The rows of the plan that are as in the table."""
        return self.rows[self.equal]

    @property
    def other(self) -> NDArray[np.int64]:
        """The rows of the plan that differ from the table's."""
        return self.rows[~self.equal]

    def only(self, some: NDArray[np.bool_]) -> Met:
        """Return some of them."""
        return Met(self.rows[some], self.at[some], self.equal[some])


@dataclass(frozen=True)
class _Part(Held):
    """Rows of a base, and those of all its rows that meet the plan's."""

    met: Met


def _shown_under(part: _Part) -> Met:
    """Return what rows of the plan meet of those that a part shows."""
    return part.met.only(part.shown[part.met.at])


def _borrow(
    store: StoreFiles,
    plan: BasePlan,
    left: NDArray[np.bool_],
    before: tuple[Sequence[_Part], Sequence[_Part]],
    rule: GrowthRule,
) -> list[_Part]:
    """Take rows that are left from bases that are there: the view's own first, then those with most of them.

    A base lends when the view shows at least half of it, or nothing has to be written for it: else its
    degraded variants, which are made for whole bases, would cost more than they save. ``before`` has the
    parts that keep rows, and those of the view that was there.
    """
    parts = {part.base.id: part for part in before[0]}
    own = {part.base for part in rule.before.parts} if rule.before else set()
    known = {part.base.id: part.met for part in before[1]}
    common = list(_common(store, plan, known)) if left.any() else []
    common.sort(key=lambda found: (found[0].id not in own, -len(found[1].same), found[0].id))
    for base, found in common:
        part = parts.get(base.id) or _Part(base, np.zeros(base.rows, bool), found)
        lent = found.equal & left[found.rows]
        shown = part.shown.copy()
        shown[found.at[lent]] = True
        if lent.any() and (2 * int(shown.sum()) >= base.rows or rule.is_free(base)):
            parts[base.id] = replace(part, shown=shown)
            left[found.rows[lent]] = False
    return sorted(parts.values(), key=lambda part: part.base.id)


def _common(
    store: StoreFiles, plan: BasePlan, known: Mapping[str, Met]
) -> Iterator[tuple[BaseManifest, Met]]:
    """Yield the whole bases that are made as the plan is, each with what the plan's rows meet there."""
    for key in store.bases():
        try:
            base = store.base_manifest(key)
            if _fits(plan, base) and is_whole(store.base(key), base.shards):
                yield base, known.get(key) or meet(plan.rows, store.rows_of(base))
        except DataError:
            continue  # damaged: nothing is borrowed from it, and verify names it


def meet(rows: Rows, table: StoredRows) -> Met:
    """Find the rows of a plan in a table by their keys, and compare source bytes, cut, label, split and
    attributes.
    """
    at = find_hashes(rows.order, table.order)
    mine = np.flatnonzero(at >= 0)
    row = at[mine]
    equal = _equal_digests(rows.digests, mine, table.digests, row)
    equal &= _equal_crops(rows.crops[mine], table.crops[row])
    for numbers, names in (("labels", "label_names"), ("splits", "split_names")):
        place = {name: number for number, name in enumerate(getattr(rows, names))}
        translated = np.array([*(place.get(name, -2) for name in getattr(table, names)), -1])
        equal &= getattr(rows, numbers)[mine] == translated[getattr(table, numbers)[row]]
    for name in {*rows.attribute_names, *table.attribute_names}:
        equal &= _attribute(rows, name, mine) == _attribute(table, name, row)
    return Met(mine, row, equal)


def _equal_digests(
    left: NDArray[np.uint8], mine: NDArray[np.int64], right: NDArray[np.uint8], row: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Compare digests pair by pair, of which few are copied at a time."""
    equal = np.empty(len(mine), bool)
    for start in range(0, len(mine), _COMPARED):
        some = slice(start, start + _COMPARED)
        equal[some] = (left[mine[some]] == right[row[some]]).all(1)
    return equal


def _equal_crops(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (left == right).all(1) if left.shape == right.shape else np.zeros(len(left), bool)


def _attribute(rows: Rows | StoredRows, name: str, at: NDArray[np.int64]) -> NDArray[np.int8]:
    if name not in rows.attribute_names:
        return np.full(len(at), -1, np.int8)
    return np.asarray(rows.attributes[at, rows.attribute_names.index(name)])


def find_hashes(wanted: NDArray[np.uint64], order: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the place of every wanted hash in a sorted table of them, -1 where it is not."""
    high = np.ascontiguousarray(order[:, 0])
    at = np.searchsorted(high, wanted[:, 0]).astype(np.int64)
    result = np.full(len(wanted), -1, np.int64)
    open_ = np.arange(len(wanted))
    while len(open_):
        # of hashes whose high words are equal, one after another is tried
        open_ = open_[at[open_] < len(high)]
        open_ = open_[high[at[open_]] == wanted[open_, 0]]
        hit = order[at[open_], 1] == wanted[open_, 1]
        result[open_[hit]] = at[open_[hit]]
        open_ = open_[~hit]
        at[open_] += 1
    return result


def shown_by(held: Iterable[Held], whole: BaseManifest | None) -> dict[str, Held]:
    """Return the parts of a view by the id of their base, sorted: the rows that are there, and a new base."""
    parts = {part.base.id: part for part in held}
    if whole is not None:
        parts[whole.id] = Held(whole, np.ones(whole.rows, bool))
    return dict(sorted(parts.items()))
