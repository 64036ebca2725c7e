"""What a person may ask besides crops and faces: a recognizer, an executor, a budget, turbulence."""

from dataclasses import replace

import numpy as np
import pytest

from lrfr.fit.camera_fit import CameraFit, FitSettings
from lrfr.fit.infer.prior_space import variables_of
from lrfr.fit.judge.comparison import FaceSet, Judge
from lrfr.fit.judge.same_people import same_people
from lrfr.fit.judge.two_sample import Ruler
from lrfr.fit.look.clean_faces import CleanFaces
from lrfr.fit.look.container_marks import Container
from lrfr.fit.look.crop_files import Crops
from lrfr.fit.look.face_statistics import NAMES, Gaze, face_statistics
from lrfr.fit.prior_shape import SHIPPED, given_prior, shaped_prior
from lrfr.fit.structure_scan import Structure
from lrfr.pairs.executors.dispatch import Runner
from tests.fit.cameras import bank_of, people_file, person

TURBULENT = """
version: 1
pipeline:
  - {op: turbulence, id: t1, D_over_r0: {uniform: [0.25, 6.0]}}
  - {op: down, id: size, size: 64, filter: box, antialias: true}
"""


def known(table):
    """Return a recognizer that gives the row of a table that a picture's first pixel names, with what it saw."""
    seen = []

    def embed(images):
        seen.extend(images)
        return np.array([table[image[0, 0, 0]] for image in images], np.float32)

    return embed, seen


def marked(first, count, side=16):
    return [np.full((side, side, 3), first + k, np.uint8) for k in range(count)]


OURS = np.array([(3, 4), (3, -4), (-3, 4), (-3, -4)], np.float64)


@pytest.mark.parametrize(
    "theirs, norms, embeddings",
    [
        (OURS, 0, 0),
        # norms of 10 against 5; (2 - 1)^2 of all the variance, n - 1 of n of which the unit has
        (2 * OURS, 1, 4 / 3),
        # means (3, 4) apart, 25 squared, and mean squares of 9 + 16; norms 10, 6, 8, 0 against 5
        (OURS + np.array([3, 4]), 14 / 20, 1),
    ],
)
def test_a_teachers_distances_are_those_by_hand(theirs, norms, embeddings):
    """On crops as they come: the recognizer owns what is done to small ones."""
    # the fifth picture of the other set is one too many: all is measured at one n
    embed, seen = known([*OURS, *theirs, (900, 900)])
    ours, others = marked(0, 4), marked(4, 5)
    stats = face_statistics(ours, Gaze(112))
    real, other = (FaceSet("x", crops, [str(k) for k in range(5)][: len(crops)]) for crops in (ours, others))
    row = Judge(Ruler.of(stats, stats), Gaze(112), real, 0, embed).row(other)
    assert row.n == 4 and row.as_json()["embeddings"] == row.embeddings
    assert (row.norms, row.embeddings) == pytest.approx((norms, embeddings), abs=1e-3)
    assert len(seen) == 8 and {image.shape for image in seen} == {(16, 16, 3)}


def directions(people, pictures, seed, spread=0.6):
    """Return invented embeddings of people about directions of their own, picture by picture."""
    own = np.random.default_rng(0).standard_normal((200, 64))[np.array(people)]
    return np.repeat(own, pictures, axis=0) + spread * np.random.default_rng(seed).standard_normal(
        (len(people) * pictures, 64)
    )


@pytest.mark.parametrize(
    "first, shift, told",
    [(0, 0, 60), (100, 0, 0), (52, 0, 8), (0, 3, 60), (58, 0, 0)],
)
def test_other_pictures_of_the_sources_people_are_told_by_a_recognizer(first, shift, told):
    """All of them, none, 8 of 60; in spite of what a camera does to all embeddings alike. Two of 60 may be
    chance.
    """
    people = np.repeat(np.arange(60), 2)
    table = np.concatenate([directions(range(60), 2, 1), directions(range(first, first + 60), 1, 2) + shift])
    words = same_people(known(table)[0], marked(120, 60, 1), marked(0, 120, 1), [str(k) for k in people])
    assert bool(words) == bool(told)
    if told:
        assert abs(int(words[0].split()[0]) - told) <= 1 and "of 60 crops" in words[0]
    # people who stand in the source twice without a label: what is near cannot be told, and nothing is said
    assert (
        same_people(known(table)[0], marked(120, 60, 1), marked(0, 120, 1), list(map(str, range(120)))) == []
    )


def camera_fit(tmp_path, pictures, embed=None, **asked):
    crops = Crops(tuple(map(str, range(len(pictures)))), tuple(pictures), Container("lossless"), 112, (), {})
    parts = {"fit": tuple(range(8)), "validation": (8, 9), "test": (10, 11)}
    faces = people_file(tmp_path, 12)
    clean = CleanFaces(faces, tuple(map(str, range(12))), parts, ())
    return CameraFit(crops, clean, tmp_path, FitSettings(**asked), Runner("serial"), embed=embed)


def test_a_fit_asks_its_teacher_who_is_pictured(tmp_path):
    crops = [person(500 + k) for k in range(12)]

    def embed(images):
        """Return the same for the first crop as for the first face, and so on: nobody is near anybody else."""
        return np.random.default_rng(0).standard_normal((12, 64))[: len(images)]

    warned = [note for note in camera_fit(tmp_path, crops, embed).notes if "same people" in note]
    assert len(warned) == 1 and "10 of 12 crops" in warned[0]
    assert not any("same people" in note for note in camera_fit(tmp_path, crops).notes)


@pytest.mark.parametrize(
    "minutes, sizes, words",
    [
        (None, (6000, 2, 2500), ""),
        (2.5, (6000, 2, 2500), ""),
        (5, (12000, 2, 5000), ""),
        (0.5, (1200, 2, 500), ""),
        (0.1, (1200, 0, 500), "a budget of 0.1 minutes leaves one bank of 1200 simulated faces and no round"),
        (60, (48000, 2, 20000), "a budget of 60 minutes is more than a fit uses: banks are as for 20"),
    ],
)
def test_a_budget_sets_banks_and_what_it_leaves_out_is_said(tmp_path, minutes, sizes, words):
    fit = camera_fit(tmp_path, [person(500 + k % 12) for k in range(90)], budget_minutes=minutes)
    asked = fit.settings
    assert (asked.bank, asked.rounds, asked.round_faces) == sizes
    said = [note for note in fit.notes if "budget" in note]
    assert len(said) == bool(words) and all(note.startswith(words) for note in said)


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_write_the_bytes_of_one(tmp_path, monkeypatch, workers):
    monkeypatch.setattr("lrfr.fit.infer.bank.CHUNK", 4)
    faces = people_file(tmp_path, 3)
    _, alone = bank_of(tmp_path / "alone", Runner("serial"), "sensor", faces)
    _, found = bank_of(tmp_path / "many", Runner("process", workers, start="fork"), "sensor", faces)
    files = [{p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("alone", "many")]
    assert files[0] == files[1] and len(files[0]) == 3
    assert len(np.unique(found.stats, axis=0)) == 10 and np.array_equal(found.stats, alone.stats)


def test_turbulence_of_a_prior_is_a_variable_and_its_faces_are_blurred_by_it(tmp_path):
    """The shipped prior has none but by its name, and is else the same."""
    prior, bank = bank_of(tmp_path, Runner("serial"), TURBULENT, people_file(tmp_path, 1), 24, (0,))
    names = [variable.name for variable in variables_of(prior)]
    assert names == ["t1.D_over_r0"]
    strength = bank.values[:, 0]
    assert 0.25 <= strength.min() < 1.5 and 4.5 < strength.max() <= 6
    assert len(np.unique(bank.classes[:, 0])) > 6
    # one face, so what differs is the air: the more of it the less is left of fine detail
    weak, strong = (bank.stats[np.argsort(strength)[part]] for part in (slice(0, 8), slice(16, 24)))
    luma = [k for k, name in enumerate(NAMES) if name.startswith("spectrum: luma")]
    # logarithms of energy, of 8 faces each
    assert (weak[:, luma[4:16]].mean(axis=0) > strong[:, luma[4:16]].mean(axis=0) + 1).all()
    plain = Structure(((24, 1.0),), "files", "box", True, None, Container("lossless"))
    known = {
        name: {
            variable.name: replace(variable, place=()) for variable in variables_of(shaped_prior(name, plain))
        }
        for name in SHIPPED
    }
    blur = {"blur?", "blur:", "soft.sigma", "motion.length", "motion.angle"}
    assert set(known["camera"]) - set(known["camera-air"]) == blur
    assert set(known["camera-air"]) - set(known["camera"]) == {"air?", "air.D_over_r0"}
    assert all(known["camera"][name] == one for name, one in known["camera-air"].items() if "air" not in name)
    assert shaped_prior(None, plain).digest == shaped_prior("camera", plain).digest
    assert variables_of(given_prior("camera-air"))
