"""The steps of an experiment in this process: as quick as calls, and a stand-in may take part."""

import contextlib
import functools
import hashlib
import io
import os

import numpy as np
import pytest

from lrfr.cli.main import run
from lrfr.core.errors import EnvironmentFault
from lrfr.experiment.first_hour.pace import pace_of
from lrfr.experiment.steps.launch import LocalLaunch
from lrfr.pairs.align.detectors.base import Detections
from lrfr.pairs.align.detectors.table import DETECTORS, open_detector
from lrfr.pairs.sources.synthetic_photos import SyntheticPhotosSource

# measures this machine once; every first hour does, for a second or more
PACE = functools.cache(pace_of)


def _launch(self, words, folder, log, environment):
    before, said = os.getcwd(), io.StringIO()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            code = run(list(words[words.index("lrfr") + 1 :]))
    finally:
        os.chdir(before)
    return code, said.getvalue().encode()


@pytest.fixture
def in_process(monkeypatch):
    """Run the command lines of steps in this process."""
    monkeypatch.setattr(LocalLaunch, "__call__", _launch)


class Knowing:
    """Stands in for a detector: knows where the faces of some synthetic photographs are."""

    name, revision, weights_sha256 = "knowing", 1, "ab"

    def __init__(self, source):
        self.places = {
            _name(source.read(face.place)): source.landmarks(face.place) for face in source.faces()
        }

    def detect(self, image):
        marks = self.places.get(_name(image))
        if marks is None:
            return Detections.none()
        box = np.concatenate([marks.min(0), marks.max(0)])
        return Detections(box[None], marks[None], np.ones(1))


def _name(image):
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


@pytest.fixture
def detector():
    """MTCNN where its weights are, else a stand-in that knows 40 synthetic photographs."""
    try:
        open_detector("mtcnn")
        yield
        return
    except EnvironmentFault:
        made, real = Knowing(SyntheticPhotosSource(10, 4)), DETECTORS["mtcnn"]
    for opener in (lambda weights: made, real):
        DETECTORS.unregister("mtcnn")
        DETECTORS.register("mtcnn", opener)
        open_detector.cache_clear()
        if opener is not real:
            yield
