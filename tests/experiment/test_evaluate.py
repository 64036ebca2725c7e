"""``evaluate`` and ``Experiment`` as a library, and benchmarks of other packages."""

import json
import sys

import pytest

import lrfr
from lrfr.core.errors import EnvironmentFault, SpecError
from lrfr.core.progress import Hooks
from lrfr.eval.pairs import synthetic_pairs
from lrfr.eval.protocols.table import BENCHMARKS, Benchmark
from lrfr.eval.protocols.verification import verify
from lrfr.eval.result_files import read_results
from lrfr.experiment.evaluate import evaluate
from tests.eval.world import color_embed


def small(data, task):
    return verify(task, synthetic_pairs(identities=10, per_identity=2, count=40))


SMALL = Benchmark("forty pairs", small, needs_data=False, revision=3)


def test_results_are_a_table_a_file_and_a_page(tmp_path):
    told = []
    hooks = Hooks(lambda done, total, **info: told.append((done, total)))
    found = evaluate(color_embed, SMALL, sizes=(112, 14), replicates=0, convention="B", hooks=hooks)
    assert [result.sizes for result in found] == [(112, 112), (112, 14), (14, 14)] and told[-1][0] == told[
        -1
    ][1]
    assert found[0].convention == "B" and found[0].revision == 3 and found[0].model.name == "color_embed"
    text = repr(found)
    assert "112 & 14 px" in text and f"{100 * found[1].metrics['accuracy'].value:.2f}" in text
    assert read_results([found.save(tmp_path / "r.json")]) == list(found)
    assert found.report(tmp_path / "page.html").read_text().startswith("<!")
    assert len(found[:2]) == 2 and found[:2][1] == found[1]


def test_a_frame_has_a_row_for_each_metric(monkeypatch):
    found = evaluate(color_embed, SMALL, sizes=(14,), replicates=0)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EnvironmentFault, match="pandas"):
        found.to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = found.to_pandas()
    assert set(frame["metric"]) == set(found[0].metrics) and len(frame) == len(found[0].metrics)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"benchmark": "lwf"}, "did you mean 'lfw'"),
        ({"benchmark": "ls"}, "--list"),
        ({"benchmark": "tinyface"}, "needs --data"),
        ({"benchmark": "tinyface", "data": "nowhere"}, "no such file"),
        ({"size": (14,)}, "did you mean 'sizes'"),
        ({"replicates": "many"}, "replicates"),
    ],
)
def test_a_wrong_word_is_one_typed_error(arguments, words):
    with pytest.raises(SpecError, match=words):
        evaluate(color_embed, **{"benchmark": SMALL, **arguments})


class Point:
    """An entry point of an installed package."""

    dist = None

    def __init__(self, name, value):
        self.name, self.value = name, f"somewhere:{name}"
        self._value = value

    def load(self):
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


def test_benchmarks_of_other_packages_are_listed_and_run(lrfr, monkeypatch):
    points = [Point("small", SMALL), Point("broken", ImportError("no such thing")), Point("number", 3)]
    monkeypatch.setattr(
        "lrfr.core.registry.entry_points", lambda group: points if group == "lrfr.benchmarks" else []
    )
    assert BENCHMARKS.is_plugin("small")
    code, out, _ = lrfr("eval", "--list")
    assert code == 0 and "small: forty pairs (from an installed package)" in out
    assert "no such thing" in out and "names a int" in out
    assert lrfr("eval", "ls")[1] == out
    assert evaluate(color_embed, "small", sizes=(14,), replicates=0)[0].revision == 3
    with pytest.raises(EnvironmentFault, match="number"):
        evaluate(color_embed, "number")


DECLARATION = """
version: 1
name: tiny
views: {faces: {flags: {source: "synthetic:ids=2,per_id=2,seed=0", executor: serial, hr-only: true}}}
trainings: {}
evaluations: {}
"""


def test_an_experiment_plans_and_runs_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(DECLARATION)
    experiment = lrfr.Experiment.load("tiny.yaml")
    plan = experiment.plan()
    assert [(step.step, step.state) for step in plan.steps] == [("pairs-faces", "to do")]
    assert plan.without_estimate == 1 and not (tmp_path / "tiny").exists()
    notes = []
    done = experiment.run(hooks=Hooks(on_note=notes.append))
    assert done.states == {"pairs-faces": "done"} and done.report is None and done.savings is None
    assert notes[-1] == "1 steps, 0 of them done before"
    assert experiment.plan().ahead == [] and experiment.run().states == {"pairs-faces": "kept"}
    record = json.loads((tmp_path / "tiny/steps/pairs-faces.json").read_text())
    assert record["code"] == 0 and record["argv"][0] == "make-pairs"


def test_a_stop_leaves_the_rest_for_later(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(DECLARATION)
    with pytest.raises(lrfr.Stopped):
        lrfr.Experiment.load("tiny.yaml").run(hooks=Hooks(should_stop=lambda: True))
    assert lrfr.Experiment.load("tiny.yaml").plan().ahead
