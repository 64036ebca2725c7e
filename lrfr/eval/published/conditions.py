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

# whose method is whose; ``baseline`` is everybody's
_METHODS = {
    "fskd": {"fskd", "qualnet", "fitnet", "rkd", "a-skd", "norm-kd"},
    "waveresnet": {"waveresnet"},
    "btnet": {"btnet-trunk", "btnet-branch"},
    "maug": {"maug"},
    "catface": {"catface"},
}


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


def may_stand_below(table: Table, result: Result) -> bool:
    """Say whether a row of a result may stand below the table's own: not one of another paper's method, nor
    one that is fine-tuned where the table's are not, or the other way round.
    """
    paper, method = table.id.partition("-")[0], result.model.method
    if any(method in methods for name, methods in _METHODS.items() if name != paper):
        return False
    return table.finetuned is None or table.finetuned == (result.finetuned != "no")


def row_teacher(table: Table, row: list[str]) -> str:
    """Return the method of the teacher that a row names; ``baseline`` where it names no other."""
    if table.teacher_column is None:
        return "baseline"
    return table.teachers.get(row[table.columns.index(table.teacher_column)], "baseline")


def teacher_remarks(table: Table, results: Sequence[Result]) -> list[str]:
    """Return a remark that says who taught a row of our own, where the table's rows differ in that."""
    words = {method: word for word, method in table.teachers.items()}
    found = dict.fromkeys(result.model.parent_methods.get("teacher") for result in results)
    return [f"taught by {name} ({words.get(name, 'no decoder')})" for name in found if name and words]


def is_of_row(table: Table, row: list[str], result: Result) -> bool:
    """Say whether the row is about a network like the result's: its method and, of two, its role."""
    if table.method_column is None:
        return True
    wanted = table.methods.get(row[table.columns.index(table.method_column)])
    taught_by = row_teacher(table, row)
    if wanted == "baseline" and taught_by != "baseline":
        wanted = f"{taught_by}-step1"
    if wanted is None or (result.model.published or result.model.method) != wanted:
        return False
    if result.model.parent_methods.get("teacher", taught_by) != taught_by:
        return False
    if wanted != "baseline" or table.hr_size is None:
        return True
    # "Base" is the teacher at the largest size and the student without one below it
    return result.model.side == ("hr" if (result.sizes or (None,))[0] == table.hr_size else "lr")
