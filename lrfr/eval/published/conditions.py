"""Under which conditions a number of ours is that of a printed cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrfr.eval.published.papers import Cell, Table
    from lrfr.eval.results import Result

# pairs of the lists as they are distributed: a part of one is another list
_DISTRIBUTED = dict.fromkeys(("lfw", "xqlfw", "calfw", "cplfw", "agedb-30"), 6000)
_DISTRIBUTED |= {"cfp-fp": 7000, "cfp-ff": 7000, "celeba-pairs": 10_000}
# their images are 112 px, so that this size leaves them as they are
_ALIGNED = {*_DISTRIBUTED, "ijbb", "ijbc"}


def fits(cell: Cell, benchmark: str, result: Result) -> bool:
    """Say whether a result is of the cell's metric and sizes on this benchmark, whole as distributed."""
    if result.benchmark != benchmark or cell.metric not in result.metrics:
        return False
    pairs = result.counts.get("n_pos", 0) + result.counts.get("n_neg", 0)
    if pairs and pairs != _DISTRIBUTED.get(benchmark, pairs):
        return False
    if cell.sizes is not None:
        return list(result.sizes or ()) == cell.sizes and result.matching == (cell.matching or "same")
    return result.matching in {None, "same"} and (
        result.sizes in {None, (None, None)} or (benchmark in _ALIGNED and result.sizes == (112, 112))
    )


def other_conditions(result: Result) -> tuple[str, ...]:
    """Say how ours was made, since every paper differs in these."""
    words = [f"convention {result.convention}"] if result.convention else []
    words.append(f"flip {result.flip or 'none'}")
    if result.interpolation:
        words.append(f"{result.interpolation}, {'antialiased' if result.antialias else 'not antialiased'}")
    words.append(f"fine-tuned: {result.finetuned}")
    return ("; ".join(words),)


def stated_networks(table: Table, row: list[str] | None = None) -> frozenset[str]:
    """Return the backbones that a row can be about, those of the table where it leaves that open; none where
    the paper says nothing.
    """
    if row is not None and table.network_column is not None:
        word = row[table.columns.index(table.network_column)]
        if word in table.networks:
            return frozenset({table.networks[word]})
    return frozenset(table.networks.values())


def is_other_network(table: Table, row: list[str] | None, result: Result) -> bool:
    """Say whether both the paper and the result name a network, and not the same."""
    stated = stated_networks(table, row)
    return bool(stated) and result.model.backbone is not None and result.model.backbone not in stated


def network_remarks(table: Table, row: list[str] | None, results: Sequence[Result]) -> list[str]:
    """Return a remark for each other network than the row's, or than any of the table's."""
    stated = stated_networks(table, row)
    words = " or ".join(dict.fromkeys(word for word, name in table.networks.items() if name in stated))
    found = dict.fromkeys(result.model.backbone for result in results if is_other_network(table, row, result))
    told = "stands beside no row of it" if row else "the row is not like for like"
    return [f"backbone {name}, the paper's is {words}: {told}" for name in found]
