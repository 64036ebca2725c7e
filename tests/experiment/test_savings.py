"""What a shared store has saved, on a real store with runs whose journals are written by hand."""

import json

from click.testing import CliRunner

from lrfr.cli.pairs.make_pairs import make_pairs_command
from lrfr.experiment.declare import load_declaration
from lrfr.experiment.steps.savings import measure

DECLARATION = """
version: 1
name: x
views: {a: {}, b: {}}
trainings:
  one: {method: baseline, view: a, seeds: [0, 1]}
  two: {method: fskd, view: b}
  never: {method: maug, view: b}
evaluations: {}
"""


def test_images_and_bytes_are_counted_once_and_per_training(tmp_path):
    (tmp_path / "x.yaml").write_text(DECLARATION)
    experiment = load_declaration(tmp_path / "x.yaml")
    assert measure(experiment, tmp_path) is None
    shared = [
        "--source",
        "synthetic:ids=4,per_id=5,seed=0",
        "--store",
        str(tmp_path / "store"),
        "--spec",
        "maug",
        "--executor",
        "serial",
    ]
    for view, options in (("a", []), ("b", ["--variants", "2", "--set", "pipeline.d1.size=14"])):
        answer = CliRunner().invoke(make_pairs_command, [*shared, "--view", view, *options])
        assert answer.exit_code == 0, answer.output
    assert measure(experiment, tmp_path) is None
    for name, steps in (("one-s0", 3), ("one-s1", 7), ("two-s0", 10)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(
            json.dumps({"recipe": {"train": {"batch_size": 8}}})
        )
        (tmp_path / "runs" / name / "journal.jsonl").write_text(
            json.dumps({"step": 1}) + "\n" + json.dumps({"step": steps}) + "\n"
        )
    saved = measure(experiment, tmp_path)
    assert saved.trainings == 3
    assert saved.images_degraded == 20 + 2 * 20
    assert saved.images_read == 2 * 8 * (3 + 7 + 10)
    assert saved.copies_per_written > 2 and saved.MB_private_copies > saved.MB_written
