"""The papers' tables: complete, consistent with themselves, and set beside our numbers honestly."""

import json
from dataclasses import replace

import pytest

from lrfr.core.errors import SpecError
from lrfr.degrade.spec.model import load_spec
from lrfr.eval.published.eval_lines import eval_lines
from lrfr.eval.published.papers import (
    FAMILIES,
    Cell,
    find_table,
    lookup,
    number,
    own_lists,
    side_by_side,
    tables,
)
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


def test_no_other_benchmark_size_or_matching_stands_in_for_a_cell():
    cell = Cell("accuracy", "agedb-30", "same", [28, 28])
    other, right = (
        result("pairs-tsv", "accuracy", 0.6, (28, 28)),
        result("agedb-30", "accuracy", 0.8, (28, 28)),
    )
    assert lookup(cell, [other]) is None
    assert lookup(cell, [other, right]).value == 0.8
    assert lookup(cell, [result("agedb-30", "accuracy", 0.8, (14, 14))]) is None
    assert lookup(replace(cell, matching="cross"), [right]) is None
    part = replace(right, counts={"n_pos": 131, "n_neg": 131})
    assert lookup(cell, [part]) is None, "262 pairs called agedb-30 are not AgeDB-30"
    assert lookup(cell, [replace(right, counts={"n_pos": 3000, "n_neg": 3000})]).value == 0.8


def test_cells_without_sizes_take_images_as_they_are_distributed():
    cell = find_table("maug-3").cells["LFW"]
    for sizes, value in (((112, 112), 0.9), ((None, None), 0.9), ((14, 14), None), ((112, 14), None)):
        found = lookup(cell, [result("lfw", "accuracy", 0.9, sizes)])
        assert (found.value if found else None) == value
    assert lookup(cell, [result("lfw", "accuracy", 0.9, (112, 112), "cross")]) is None
    assert lookup(find_table("maug-2").cells["R-1"], [result("tinyface", "rank-1", 0.5, (112, 112))]) is None


def test_an_hr_teacher_does_not_stand_beside_a_student_s_row():
    def beside(**model):
        results = [result("agedb-30", "accuracy", 0.5 + size / 1000, (size, size)) for size in (112, 14)]
        results = [replace(one, model=Model("mine", **model)) for one in results]
        columns, rows, _ = side_by_side(find_table("fskd-1"), results)
        return {(row[0], row[1]) for row in rows if len(columns) == 5 and row[-1]}

    assert beside(method="baseline", side="hr") == {("(a) 112", "Base"), ("(b) 112", "Base")}  # not +Dec
    assert beside(method="baseline", side="lr") == {("14", "Base")}
    assert beside(method="baseline") == beside() == beside(method="octuplet") == set()
    assert beside(method="fskd") == {("14", "F-SKD")}


def test_two_results_for_one_cell_are_both_shown_and_never_one_of_them_silently():
    first, second = (result("lfw", "accuracy", value) for value in (0.9, 0.8))
    with pytest.raises(SpecError, match="2 different results of 'mine' on lfw"):
        lookup(find_table("maug-3").cells["LFW"], [first, second])
    rows = side_by_side(find_table("maug-3"), [first, second])[1][-2:]
    assert [row[:2] for row in rows] == [["ours: mine [run 1]", "90.00"], ["ours: mine [run 2]", "80.00"]]
    assert side_by_side(find_table("maug-3"), [first, first])[1][-1][:2] == ["ours: mine", "90.00"]
    by_letter = [replace(first, convention="A"), replace(second, convention="C")]
    names = [row[0] for row in side_by_side(find_table("maug-3"), by_letter)[1][-2:]]
    assert names == ["ours: mine [convention A]", "ours: mine [convention C]"]
    models = [
        replace(one, model=Model("mine", digest=mark * 64)) for one, mark in ((first, "a"), (second, "b"))
    ]
    names = [row[0] for row in side_by_side(find_table("maug-3"), models)[1][-2:]]
    assert names == ["ours: mine [model aaaaaaaa]", "ours: mine [model bbbbbbbb]"]


def test_means_are_over_all_of_the_papers_benchmarks_measured_in_one_way():
    cell = find_table("btnet-1").cells["14&14"]
    ours = [result(name, "accuracy", 0.5, (14, 14)) for name in cell.benchmarks]
    assert lookup(cell, ours).value == 0.5
    assert lookup(cell, ours[1:]) is None
    assert lookup(cell, [*ours[1:], result("pairs-tsv", "accuracy", 0.5, (14, 14))]) is None
    assert lookup(cell, [replace(ours[0], convention="A"), *ours[1:]]) is None
    lfw, xqlfw = result("lfw", "accuracy", 0.9), result("xqlfw", "accuracy", 0.7)
    assert side_by_side(find_table("maug-3"), [lfw, xqlfw])[1][-1][1:] == ["90.00", "70.00", "80.00"]
    mixed = side_by_side(find_table("maug-3"), [lfw, replace(xqlfw, convention="A")])[1][-1]
    assert mixed[1:] == ["90.00", "70.00", "-"]


def test_a_rate_that_a_list_cannot_show_is_no_number_in_a_papers_table():
    short = result("celeba-pairs", "TAR@FAR=0.0001", 0.9)
    short = replace(short, metrics={"TAR@FAR=0.0001": metric(0.9, 5000, resolvable=False)})
    assert side_by_side(find_table("catface-2"), [short])[1][-1][2] == "n/a"


def test_own_lists_have_a_table_of_their_own():
    ours = [
        replace(result("pairs-tsv", "accuracy", value), list_digest=name, data=f"lists/{name}.tsv")
        for name, value in (("one", 0.6), ("two", 0.7))
    ]
    columns, rows = own_lists([*ours, result("lfw", "accuracy", 0.9)])
    assert [row[1] for row in rows] == [
        "pairs-tsv: verification (one.tsv)",
        "pairs-tsv: verification (two.tsv)",
    ]
    assert [row[columns.index("value")] for row in rows] == ["60.00", "70.00"]


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
    tuned = [result("tinyface", "rank-1", 0.4567, (None, None), finetuned="ours")]
    assert side_by_side(find_table("maug-2"), tuned)[1][-1][:2] == ["ours: mine", "0.46"]
    assert side_by_side(find_table("fskd-3"), ours)[0][-1] != "ours: mine"  # wide: a row, not a column
    assert side_by_side(find_table("btnet-2"), ours)[1] == find_table("btnet-2").rows


def test_another_backbone_stands_beside_no_row_and_says_so():
    def beside(backbone, method="fskd", side=None):
        one = result("agedb-30", "accuracy", 0.5, (14, 14))
        one = replace(one, model=Model("mine", method=method, side=side, backbone=backbone))
        columns, rows, remarks = side_by_side(find_table("fskd-1"), [one])
        return {row[2] for row in rows if len(columns) == 5 and row[-1]}, " ".join(remarks)

    every = {"iResNet50", "iResNet50+Dec", "iResNet50+CBAM"}
    assert beside(None)[0] == every and "backbone" not in beside(None)[1]  # unknown: nothing is guessed
    rows, told = beside("iresnet50")
    assert rows == {"iResNet50", "iResNet50+Dec"}
    assert "mine: backbone iresnet50, the paper's is iResNet50+CBAM: stands beside no row of it" in told
    assert beside("iresnet50-cbam")[0] == {"iResNet50+CBAM"}
    rows, told = beside("iresnet18")
    assert rows == set()
    assert "backbone iresnet18, the paper's is iResNet50+CBAM" in told
    # a row that leaves the network open is about one of the table's
    assert beside("iresnet50", "baseline", "lr")[0] == {"-"}
    assert beside("iresnet18", "baseline", "lr")[0] == set()
    assert "backbone" not in beside("iresnet18", "octuplet")[1]


def test_a_row_of_our_own_says_where_its_backbone_is_another():
    for backbone, told in (("iresnet18", True), ("lrfr-resnet34", False), (None, False)):
        one = replace(result("lfw", "accuracy", 0.9), model=Model("mine", backbone=backbone))
        _, rows, remarks = side_by_side(find_table("maug-4"), [one])
        assert rows[-1][0] == "ours: mine"
        words = "mine: backbone iresnet18, the paper's is ResNet34: the row is not like for like"
        assert (words in remarks) == told


def test_networks_of_the_tables_are_backbones():
    from lrfr.train.backbones.table import BACKBONES

    named = [table for table in tables().values() if table.networks]
    assert len(named) >= 6
    for table in named:
        assert set(table.networks.values()) <= set(BACKBONES.names())
        if table.network_column is not None:
            words = {row[table.columns.index(table.network_column)] for row in table.rows}
            assert words - {"-"} <= set(table.networks)


def test_a_plain_teacher_and_one_with_a_decoder_have_rows_of_their_own():
    def beside(size=14, **model):
        one = replace(result("agedb-30", "accuracy", 0.5, (size, size)), model=Model("mine", **model))
        columns, rows, _ = side_by_side(find_table("fskd-1"), [one])
        return {tuple(row[:3]) for row in rows if len(columns) == 5 and row[-1]}

    def taught(method, teacher):
        return beside(method="fskd", published=method, parent_methods={"teacher": teacher})

    assert taught("fskd", "qualnet") == {("14", "F-SKD", "iResNet50+Dec")}
    assert taught("fskd", "baseline") == {("14", "F-SKD", "iResNet50"), ("14", "F-SKD", "iResNet50+CBAM")}
    assert taught("fitnet", "qualnet") == set() != taught("fitnet", "baseline")
    # step 1 is the HR network itself, step 2 QualNet-LM
    assert beside(112, method="qualnet", published="qualnet-step1") == {("112", "Base", "iResNet50+Dec")}
    assert beside(14, method="qualnet", published="qualnet-step1") == set()
    assert beside(14, method="qualnet") == {("14", "QualNet-LM", "iResNet50+Dec")}
    hr = beside(112, method="baseline", side="hr")
    assert hr == {("(a) 112", "Base", "iResNet50"), ("(b) 112", "Base", "iResNet50+CBAM")}


def test_a_wide_table_has_no_row_of_another_papers_method_or_another_condition():
    def below(
        table, method, finetuned="no", benchmark="tinyface", metric="rank-1", sizes=(None, None), **more
    ):
        one = result(benchmark, metric, 0.5, sizes, finetuned=finetuned)
        one = replace(one, model=Model("mine", method=method, **more))
        _, rows, remarks = side_by_side(find_table(table), [one])
        return [row[0] for row in rows if row not in find_table(table).rows], " ".join(remarks)

    assert below("maug-2", "fskd", "ours")[0] == below("maug-2", "maug")[0] == []
    assert below("maug-2", "maug", "ours")[0] == below("maug-2", "mine", "ours")[0] == ["ours: mine"]
    assert below("fskd-3", "maug")[0] == below("fskd-3", "fskd", "ours")[0] == []
    rows, told = below("fskd-3", "fskd", parent_methods={"teacher": "qualnet"})
    assert rows == ["ours: mine"] and "taught by qualnet (iResNet50+Dec)" in told
    assert "(no decoder)" in below("fskd-3", "fskd", parent_methods={"teacher": "baseline"})[1]
    lfw = {"benchmark": "lfw", "metric": "accuracy", "sizes": (112, 112)}
    assert below("maug-3", "catface", **lfw)[0] == [] != below("maug-3", "baseline", **lfw)[0]


def test_distorted_test_data_are_the_presets_and_stand_in_for_no_other():
    """CATFace Tables 4 and 6: rows and a column that no measurement could fill."""
    told = {}
    for sizes in ((None, None), ("catface", "catface"), ("turb", "turb"), ("catface", None)):
        one = replace(result("lfwa", "Male", 0.5, sizes), model=Model("mine", method="catface"))
        columns, rows, _ = side_by_side(find_table("catface-4"), [one])
        told[sizes[0]] = {row[0] for row in rows if len(columns) == 8 and row[-1]}
        if sizes == ("catface", None):
            assert not told[sizes[0]]
            continue
        pair = replace(result("celeba-pairs", "TAR@FAR=0.01", 0.5, sizes), model=one.model)
        below = side_by_side(find_table("catface-6"), [pair])[1]
        plain, distorted = below[-1][2:] if len(below) > 7 else ("-", "-")
        assert (plain == "50.00", distorted == "50.00") == (sizes[0] is None, sizes[0] == "catface")
        assert told[sizes[0]] == {None: {"LFWA"}, "catface": {"Distorted LFWA"}}.get(sizes[0], set())


LINEAR = "--interpolation linear --no-antialias"
LINES = [
    ("fskd-1", 8, f"agedb-30 --data DATA --sizes 112,56,28,14 --matching same --convention B {LINEAR}"),
    ("fskd-3", 0, "tinyface --data DATA"),
    (
        "fskd-5",
        0,
        "svhn --data DATA --sizes 32,8 --matching same --interpolation cubic --no-antialias",
    ),
    (
        "waveresnet-2",
        2,
        f"agedb-30 --data DATA --sizes 112,56,28,14 --matching same,cross --convention E {LINEAR}",
    ),
    ("btnet-2", 20, "survface --data DATA --set rule=near"),
    ("btnet-5", 0, f"ijbc --data DATA --sizes 112,28,14,7 --matching same,cross {LINEAR}"),
    ("maug-2", 7, "tinyface --data DATA"),
    ("catface-1", 12, "lfwa --data DATA"),
    ("catface-4", 4, "celeba --data DATA --sizes native,catface --matching same"),
    ("catface-4", 19, "lfwa --data DATA --sizes native,catface --matching same"),
    ("catface-6", 0, "celeba-pairs --data DATA --sizes native,catface --matching same"),
]


@pytest.mark.parametrize(("name", "row", "words"), LINES)
def test_a_model_is_measured_as_the_paper_measures(name, row, words):
    """Filter and convention are the paper's, or its code's: what the presets fskd-eval, ... say, too."""
    table = find_table(name)
    (line,) = eval_lines(table, table.rows[row], "m", ["rule=near"] if name == "btnet-2" else [])
    assert " ".join(line) == f"lrfr eval runs/m --benchmark {words}"


def test_lists_are_measured_by_the_papers_convention_and_filter():
    for name, convention in (("btnet-1", "A"), ("maug-4", "C"), ("waveresnet-1", "E"), ("catface-3", None)):
        for line in eval_lines(find_table(name), find_table(name).rows[0], "m"):
            listed = line[4] not in {"ijbb", "ijbc", "tinyface", "scface"}
            assert ("--convention" in line) == (listed and convention is not None)
            assert convention is None or not listed or line[line.index("--convention") + 1] == convention
            assert ("linear" in line) == (name in {"btnet-1", "waveresnet-1"})
    for name in ("fskd-eval", "btnet-eval", "waveresnet-eval"):
        shrink = json.loads(load_spec(name).canonical())["pipeline"][0]
        assert (shrink["filter"], shrink["antialias"]) == ("linear", False)
