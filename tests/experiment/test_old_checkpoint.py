"""A checkpoint of the first edition evaluates as it did: ``tests/data/first-edition-checkpoint.tar.gz`` holds a run
and the results that the first edition gave for it.
"""

import json
import tarfile
from pathlib import Path

import pytest

from lrfr.experiment.evaluate import evaluate

ARCHIVE = Path(__file__).parents[1] / "data" / "first-edition-checkpoint.tar.gz"


def test_a_checkpoint_of_the_first_edition_gives_the_numbers_of_then(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    then = json.loads((tmp_path / "old-checkpoint" / "results.json").read_text())
    today = evaluate(tmp_path / "old-checkpoint" / "run", "synthetic", sizes=(112, 14), replicates=0)
    assert [list(result.sizes) for result in today] == [result["sizes"] for result in then]
    for result, before in zip(today, then, strict=True):
        for name in ("accuracy", "EER", "AUC"):
            # a few of 1,200 pairs may tip where another processor rounds otherwise
            assert result.metrics[name].value == pytest.approx(before["metrics"][name], abs=0.003), name
