"""The papers' tables: complete, consistent with themselves, and set beside our numbers honestly."""

from dataclasses import replace

import pytest

from lrfr.core.errors import SpecError
from lrfr.eval.published.papers import FAMILIES, Cell, find_table, lookup, number, side_by_side, tables
from lrfr.eval.report.gains import relative_gain
from lrfr.eval.results import Model, Result, metric

ROWS = {  # rows of each table as printed in the papers
    "fskd-agedb-single": 30,
    "fskd-agedb-multi": 8,
    "fskd-tinyface": 6,
    "fskd-components": 4,
    "fskd-svhn": 12,
    "waveresnet-union": 5,
    "waveresnet-agedb": 3,
    "btnet-verify": 6,
    "btnet-survface": 24,
    "btnet-training": 5,
    "btnet-loss": 3,
    "btnet-ijbc-11": 4,
    "btnet-ijbc-1n": 4,
    "maug-scface": 11,
    "maug-tinyface": 9,
    "maug-xqlfw": 10,
    "maug-ablation": 10,
    "maug-lambda": 6,
    "maug-ratio": 9,
    "catface-attr": 13,
    "catface-fusion": 10,
    "catface-sota": 12,
    "catface-sb-ablation": 20,
    "catface-scface": 11,
    "catface-fr-ablation": 7,
    "catface-catf-ablation": 4,
}


def test_every_table_is_there_with_all_its_rows():
    assert {name: len(table.rows) for name, table in tables().items()} == ROWS
    for family, last in zip(FAMILIES, (5, 2, 8, 6, 8), strict=True):
        for place in range(1, last + 1):
            assert find_table(f"{family}-{place}").id.startswith(family)
    with pytest.raises(SpecError, match="did you mean 'fskd-2'"):
        find_table("fskd2")


@pytest.mark.parametrize("name", list(ROWS))
def test_rows_fit_their_columns_and_cells_name_them(name):
    table = tables()[name]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert set(table.cells) <= set(table.columns[table.labels :])
    for row in table.rows:
        for cell in row[table.labels :]:
            assert number(cell) is not None or cell in {"", "-"} or cell.endswith("M"), cell
    for cell in table.cells.values():
        assert cell.benchmark or cell.benchmark_from or cell.mean_of
        for other in cell.mean_of:
            assert other in table.columns


def column(table, name):
    return [number(row[table.columns.index(name)]) for row in table.rows]


@pytest.mark.parametrize(
    ("name", "slack"),
    [("fskd-agedb-multi", 0.011), ("waveresnet-union", 0.011), ("maug-xqlfw", 0.011), ("maug-scface", 0.051)],
)
def test_printed_averages_recompute_from_their_cells(name, slack):
    table = tables()[name]
    target = next(key for key, cell in table.cells.items() if cell.mean_of)
    parts = [column(table, part) for part in table.cells[target].mean_of]
    for printed, *values in zip(column(table, target), *parts, strict=True):
        if None not in values and printed is not None:
            assert printed == pytest.approx(sum(values) / len(values), abs=slack)


@pytest.mark.parametrize("name", ["btnet-verify", "btnet-ijbc-11", "btnet-ijbc-1n"])
def test_all_printed_gains_recompute_from_their_accuracies(name):
    table, checked = tables()[name], 0
    values = {row[0]: row for row in table.rows}
    for place, heading in enumerate(table.columns[1:], 1):
        first, second = heading.split("&")
        reference = "mm" if first == second else "mr"
        for row in table.rows:
            printed = row[place].partition("(")[2].rstrip(")")
            if printed in {"", "-"}:
                continue
            gain = relative_gain(
                number(row[place]), number(values["hr"][place]), number(values[reference][place])
            )
            if gain is None:
                assert printed == "+0.00"  # the print's zero denominator
            else:
                assert gain == pytest.approx(float(printed), abs=0.0051)
                checked += 1
    assert checked >= 15


def result(benchmark, name, value, sizes=(112, 112), matching="same", **fields):
    model = Model("mine", method=fields.pop("method", None))
    return Result(
        benchmark,
        "verification",
        model,
        {name: metric(value, 100)},
        sizes=sizes,
        matching=matching,
        convention="F",
        flip="none",
        interpolation="bicubic",
        antialias=True,
        **fields,
    )


def test_a_wide_table_gains_a_row_with_our_values_and_their_mean():
    ours = [
        result("agedb-30", "accuracy", value, (size, size))
        for size, value in ((112, 0.9), (56, 0.8), (28, 0.7), (14, 0.6))
    ]
    columns, rows, remarks = side_by_side(find_table("fskd-2"), ours)
    assert rows[-1] == ["ours: mine", "", "", "90.00", "80.00", "70.00", "60.00", "75.00"]
    assert columns == find_table("fskd-2").columns
    assert remarks == ["mine: convention F; flip none; bicubic, antialiased; fine-tuned: no"]


def test_a_long_table_gains_a_column_at_the_rows_of_our_method():
    ours = [result("agedb-30", "accuracy", 0.777, (28, 28), method="fskd")]
    columns, rows, _ = side_by_side(find_table("fskd-1"), ours)
    assert columns[-1] == "ours: mine"
    filled = [row for row in rows if row[-1]]
    assert filled and all(row[0] == "28" and row[1] == "F-SKD" and row[-1] == "77.70" for row in filled)


def test_a_stand_in_says_what_differs_and_the_right_benchmark_goes_first():
    cell = Cell("accuracy", "agedb-30", "same", [28, 28])
    other, right = (
        result("pairs-tsv", "accuracy", 0.6, (28, 28)),
        result("agedb-30", "accuracy", 0.8, (28, 28)),
    )
    assert lookup(cell, [other]).differs[0] == "measured on pairs-tsv, the paper's is agedb-30"
    assert lookup(cell, [other, right]).value == 0.8
    assert lookup(cell, [result("agedb-30", "accuracy", 0.8, (14, 14))]) is None
    assert lookup(replace(cell, matching="cross"), [right]) is None


def test_a_union_is_the_mean_of_its_benchmarks():
    names = ("lfw", "agedb-30", "cplfw", "calfw")
    ours = [
        result(name, "accuracy", value, (112, 14), "cross")
        for name, value in zip(names, (0.9, 0.8, 0.7, 0.6), strict=True)
    ]
    cell = find_table("waveresnet-1").cells["14"]
    assert lookup(cell, ours).value == pytest.approx(0.75)


def test_identification_and_fractions():
    ours = [result("tinyface", "rank-1", 0.4567, (None, None))]
    assert side_by_side(find_table("maug-2"), ours)[1][-1][:2] == ["ours: mine", "0.46"]
    assert side_by_side(find_table("fskd-3"), ours)[0][-1] != "ours: mine"  # wide: a row, not a column
    assert side_by_side(find_table("btnet-2"), ours)[1] == find_table("btnet-2").rows
