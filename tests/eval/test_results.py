"""Result files, comparisons of models, plug-ins and evaluators for training."""

from dataclasses import replace

import numpy as np
import pytest

from lrfr.core.errors import DataError
from lrfr.eval.monitor import embedded_evaluator, view_evaluator, view_pairs
from lrfr.eval.pairs import pair_list
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.report.compare import gain_rows, paired_rows
from lrfr.eval.report.provenance import chain
from lrfr.eval.result_files import read_results, write_results
from lrfr.eval.results import Model, metric, pack, unpack
from lrfr.eval.scoring.intervals import delong, mcnemar
from lrfr.eval.settings import Settings
from lrfr.pairs.reading.dataset import PairDataset
from tests.eval.world import color_embed, identity_picture


def toy_pairs(people=24):
    pairs, same = [], []
    for p in range(people):
        pairs += [
            (identity_picture(p, 0), identity_picture(p, 1)),
            (identity_picture(p, 2), identity_picture(p + 1, 3)),
        ]
        same += [True, False]
    return pair_list(pairs, same, folds=[row // 2 % 4 for row in range(2 * people)], name="toy")


def gray_embed(images):
    return color_embed(
        [np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2) for image in images]
    )


def toy_results(sizes=(24, 6)):
    settings = Settings(sizes=sizes, replicates=30)
    return [
        result
        for name, embed in (("color", color_embed), ("gray", gray_embed))
        for result in verify_pairs(
            embed, toy_pairs(), settings, Model(name, method="fskd" if name == "gray" else "baseline")
        )
    ]


def test_results_come_back_as_written(tmp_path):
    results = toy_results()
    write_results(results, tmp_path / "deep" / "r.json")
    assert read_results([tmp_path / "deep" / "r.json"]) == results
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["r.json"]


def test_a_result_never_holds_nan(tmp_path):
    results = toy_results((24,))
    results[0] = replace(results[0], metrics={"accuracy": metric(float("nan"), 3)})
    with pytest.raises(ValueError):
        write_results(results, tmp_path / "r.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a result file"),
        ("[1, 2]", "not a result file"),
        ("[" * 100_000, "not a result file"),
        ('{"format": "lrfr-result-1"}', "list of results"),
        ('{"format": "lrfr-result-1", "results": [{}]}', "lacks benchmark"),
        ('{"format": "lrfr-result-1", "results": [NaN]}', "NaN"),
        (
            '{"format": "lrfr-result-1", "results": [{"benchmark": "x", "protocol": "y", "metrics": {"a": '
            '{}}, "model": {"name": "m"}}]}',
            r"results\[0\].metrics.a.value: Field required",
        ),
        (
            '{"format": "lrfr-result-1", "results": [{"benchmark": "x", "protocol": "y", "metrics": {}, '
            '"model": {}}]}',
            r"results\[0\].model.name: Field required",
        ),
    ],
)
def test_files_that_are_not_results_are_refused(tmp_path, text, words):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_results([path])


def test_a_missing_file_says_who_writes_one(tmp_path):
    with pytest.raises(DataError, match="lrfr eval"):
        read_results([tmp_path / "none.json"])


def test_packed_arrays_come_back():
    values = np.array([0.25, -1.5], "<f4")
    assert unpack(pack(values), "<f4").tolist() == [0.25, -1.5]


def test_paired_rows_are_the_tests_on_the_same_pairs():
    results = toy_results()
    rows = paired_rows(results)
    assert [row[:4] for row in rows] == [
        ["toy", "24 & 24 px", "color", "gray"],
        ["toy", "24 & 6 px", "color", "gray"],
        ["toy", "6 & 6 px", "color", "gray"],
    ]
    a, b = results[0], results[3]
    decisions = mcnemar(*(unpack(r.per_pair["correct_u8"], "u1") == 1 for r in (a, b)))
    assert rows[0][4:6] == [str(decisions["only_a"]), str(decisions["only_b"])]
    areas = delong(*(unpack(r.per_pair["score_f32"], "<f4") for r in (a, b)), toy_pairs().same)
    assert rows[0][7] == f"{100 * areas['auc_a']:.2f}"
    assert areas["auc_a"] == pytest.approx(a.metrics["AUC"].value, abs=1e-6)


def test_models_on_different_lists_are_not_compared():
    results = toy_results((24,))
    results[1] = replace(results[1], protocol_digest="another list")
    assert paired_rows(results) == []


def test_gains_use_the_named_models():
    results = toy_results()
    rows = gain_rows(results, "color", "gray")
    assert {row[3] for row in rows} == {"color", "gray"}
    assert all(row[4] in {"+1.00", "-1.00", "-"} for row in rows if row[3] == "gray")
    assert gain_rows(results, "nobody", "gray") == []


def test_training_evaluator_puts_the_smallest_size_first():
    found = embedded_evaluator((112, 14), pairs=40)(color_embed)
    assert list(found) == ["accuracy 112 & 14 px", "accuracy 112 & 112 px"]
    assert all(0 <= value <= 1 for value in found.values())


class ToyView:
    """The part of a view that pairs are drawn from."""

    labels = np.repeat(np.arange(6), 3)
    num_classes = 6

    def batch(self, rows, epoch):
        import torch

        images = np.stack([identity_picture(int(self.labels[row]), int(row)) for row in rows])
        return type("Batch", (), {"hr_bchw": torch.from_numpy(images).permute(0, 3, 1, 2)})


def test_view_pairs_are_balanced_and_true_to_the_labels():
    pairs = view_pairs(ToyView(), count=50)
    people = pairs.identity
    assert ((people[pairs.left] == people[pairs.right]) == pairs.same).all()
    assert pairs.same.sum() == 25
    assert (pairs.left != pairs.right).all()
    assert view_pairs(ToyView(), count=50).digest == pairs.digest
    assert (
        verify_pairs(color_embed, pairs, Settings(sizes=(24,), replicates=0))[0].metrics["AUC"].value > 0.99
    )
    lonely = ToyView()
    lonely.labels, lonely.num_classes = np.arange(18), 18
    with pytest.raises(DataError, match="no pairs"):
        view_pairs(lonely)


def test_result_names_its_conditions():
    result = toy_results((24,))[0]
    for name in (
        "convention",
        "flip",
        "interpolation",
        "antialias",
        "alignment",
        "channel_order",
        "finetuned",
        "protocol_digest",
        "min_far",
    ):
        assert getattr(result, name)
    assert result.model.method == "baseline"


def test_provenance_reaches_the_base_of_the_models_view(lrfr, tmp_path):
    code, _, err = lrfr(
        "make-pairs", "--source", "synthetic:ids=3,per_id=2,seed=0", "--spec", "fskd", "--executor", "serial"
    )
    assert code == 0, err
    dataset = PairDataset(tmp_path / "store")
    model = Model("m", digest="d" * 64, view_digest=dataset.digest, parents={"teacher": "t" * 64})
    lines = "\n".join(chain(model, tmp_path / "store"))
    for word in (
        "digest " + "d" * 64,
        "teacher " + "t" * 64,
        dataset.digest,
        "spec fskd",
        "6 faces, 3 people",
        "kind=synthetic",
        "digests.npy sha256",
    ):
        assert word in lines
    assert "base" not in "\n".join(chain(model)), "without a store the chain ends at the view's digest"
    assert "base" not in "\n".join(chain(replace(model, view_digest="0" * 64), tmp_path / "store"))


def test_a_view_of_the_store_gives_an_evaluator(lrfr, tmp_path):
    assert (
        lrfr(
            "make-pairs", "--source", "synthetic:ids=4,per_id=3,seed=0", "--hr-only", "--executor", "serial"
        )[0]
        == 0
    )
    found = view_evaluator(PairDataset(tmp_path / "store"), (112, 14), pairs=20)(color_embed)
    assert list(found) == ["accuracy 112 & 14 px", "accuracy 112 & 112 px"]
