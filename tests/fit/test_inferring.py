"""Variables of a prior, populations by matching, simple laws, the spec that comes out."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from lrfr.core.files import sha256_hex
from lrfr.core.progress import Hooks
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec
from lrfr.fit.infer.bank import Bank, BankMaker
from lrfr.fit.infer.camera_laws import Words, _one_closed, camera_spec
from lrfr.fit.infer.clusters import clusters
from lrfr.fit.infer.evidence import Evidence, size_law
from lrfr.fit.infer.fitted_spec import histogram_literals, literal_of, read_back, with_literals
from lrfr.fit.infer.matching import Matcher, Population
from lrfr.fit.infer.prior_space import classes_of, variables_of
from lrfr.fit.infer.simple_laws import simplest
from lrfr.fit.infer.summaries import prior_histograms
from lrfr.fit.look.clean_faces import Faces
from lrfr.fit.look.container_marks import Container
from lrfr.fit.look.enlargement import WayUp
from lrfr.fit.look.face_statistics import Gaze
from lrfr.fit.prior_shape import shaped_prior
from lrfr.fit.structure_scan import Structure
from lrfr.pairs.executors.dispatch import Runner
from tests.fit.cameras import people_file, person

PRIOR = load_spec("""
version: 1
pipeline:
  - {op: gaussian_blur, id: soft, p: 0.5, sigma: {uniform: [0, 4]}}
  - {id: grain, one_of: [{op: poisson_noise, id: shot, photons: {log_uniform: [16, 1024]}}, {op: identity, id: none}]}
  - {op: down, id: size, size: {randint: [10, 40]}, filter: box, antialias: true}
  - {op: jpeg, id: codec, quality: {randint: [10, 90]}, times: {choice: [1, 2]}}
""")


def drawn(spec, count=600):
    faces = [np.zeros((16, 16, 3), np.uint8)] * count
    names = [b"%d" % k for k in range(count)]
    return classes_of(variables_of(PRIOR), Pipeline(spec).run_faces(names, faces, 0, fit=False)[1], spec)


def test_every_gate_choice_and_law_of_a_prior_is_a_variable():
    names = [variable.name for variable in variables_of(PRIOR)]
    assert set(names) == {
        "soft?",
        "soft.sigma",
        "grain:",
        "shot.photons",
        "size.size",
        "codec.quality",
        "codec.times",
    }


def test_damaged_simulations_are_told_and_made_again(tmp_path):
    stack, told = np.stack([person(k) for k in range(3)]), []
    np.save(tmp_path / "faces.npy", stack)
    faces = Faces(tmp_path / "faces.npy", "digest", 3)
    maker = BankMaker(tmp_path, faces, Gaze(112), PRIOR, Runner("serial", hooks=Hooks(on_note=told.append)))
    before = maker.make(PRIOR, 3, (0, 1, 2), "bank")
    (file,) = tmp_path.glob("bank-*.faces")
    data = file.read_bytes()
    file.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    again = maker.make(PRIOR, 3, (0, 1, 2), "bank")
    assert file.read_bytes() == data and np.array_equal(again.stats, before.stats)
    assert told == ["bank: 1 damaged files of simulated faces, made again"]


@pytest.mark.parametrize(
    "change",
    [
        {"stats": lambda stats: stats[:, :-1]},
        {"stats": lambda stats: np.full_like(stats, np.nan)},
        {"classes": lambda classes: classes[:, :-1], "values": lambda values: values[:, :-1]},
        {"rows": lambda rows: rows[:-1]},
        {"classes": lambda classes: classes.astype(np.int32)},
    ],
)
def test_a_whole_file_of_other_tables_is_made_again(tmp_path, change):
    """Its checksum agrees: somebody else's, or of another time."""
    maker = BankMaker(tmp_path, people_file(tmp_path, 2), Gaze(112), PRIOR, Runner("serial"))
    before = maker.make(PRIOR, 2, (0, 1), "bank")
    (file,) = tmp_path.glob("bank-*.faces")
    data, buffer = file.read_bytes(), io.BytesIO()
    np.savez(buffer, **{name: change.get(name, np.asarray)(table) for name, table in vars(before).items()})
    file.write_bytes(sha256_hex(buffer.getvalue()).encode() + buffer.getvalue())
    again = maker.make(PRIOR, 2, (0, 1), "bank")
    assert file.read_bytes() == data and np.array_equal(again.stats, before.stats)


def test_a_spec_made_of_histograms_draws_by_them():
    variables = variables_of(PRIOR)
    random = np.random.default_rng(0)
    classes, _ = drawn(PRIOR)
    bank = Bank(
        np.zeros((600, 1), np.float32), classes, np.zeros((600, 7), np.float32), np.zeros(600, np.int64)
    )
    histograms = tuple(random.dirichlet(np.ones(len(h))) for h in prior_histograms(bank, variables))
    spec = read_back(with_literals(PRIOR, histogram_literals(histograms, variables), variables))
    found, values = drawn(spec)
    for k, (variable, histogram) in enumerate(zip(variables, histograms, strict=True)):
        own = found[:, k] if variable.kind == "gate" else found[:, k][found[:, k] > 0] - 1
        share = np.bincount(own, minlength=len(histogram)) / len(own)
        # five standard errors of a share
        assert np.abs(share - histogram).max() < 5 * np.sqrt(0.25 / len(own)), variable.name
    sigma = [v.name for v in variables].index("soft.sigma")
    off = found[:, [v.name for v in variables].index("soft?")] == 0
    assert np.isnan(values[off, sigma]).all() and (found[off, sigma] == 0).all()


class Plain:
    """Summaries that are the statistics themselves."""

    def __call__(self, stats):
        return np.asarray(stats, np.float64)


def seen_only(stats):
    """Return evidence of nothing but statistics."""
    return Evidence(stats, np.zeros(len(stats), np.int64), np.zeros((len(stats), 0)), False)


def test_matching_finds_a_population_although_single_faces_hardly_tell():
    """Statistics are a drawn value and its square in noise as wide as the prior: the mean of posteriors would
    stay near the prior, the matched histogram has the population's mean and spread.
    """
    variables = [v for v in variables_of(PRIOR) if v.name == "size.size"]
    random = np.random.default_rng(1)

    def faces(low, high, count):
        size = random.integers(low, high + 1, count)
        z = (size - 25) / 8 + random.standard_normal(count)
        classes = np.array([[variables[0].class_of(int(s))] for s in size], np.int16)
        stats = np.stack([z, z * z], axis=1).astype(np.float32)
        return Bank(stats, classes, size[:, None].astype(np.float32), np.zeros(count, np.int64))

    bank = faces(10, 39, 6000)
    matcher = Matcher([bank], [prior_histograms(bank, variables)], variables, Plain(), 0)
    target = faces(24, 38, 3000).stats
    found = matcher.fit(seen_only(target)).groups[0][0]
    centers = variables[0].centers()
    mean = found @ centers
    spread = np.sqrt(found @ (centers - mean) ** 2)
    assert abs(mean - 31) < 1.2 and 3 < spread < 6
    again = matcher.with_another(matcher.target(target), matcher.fit(seen_only(target)), 0, 0)
    assert again(found) == pytest.approx(matcher.misfit(matcher.target(target), [(found,)], [1.0]))
    law = simplest(variables[0], found, lambda m: matcher.misfit(matcher.target(target), [(m,)], [1.0]))
    low, high = law.literal["randint"]
    assert abs(low - 24) <= 4 and abs(high - 38) <= 4


@pytest.mark.parametrize(
    "sizes, law",
    [
        ([24] * 99 + [90], 24),
        ([24] * 40 + [32] * 40 + [64] * 20, {"choice": [24, 32, 64], "weights": [0.4, 0.4, 0.2]}),
        (list(range(14, 45)) * 10, {"randint": [14, 44]}),
        ([0] * 10 + [20] * 90, 20),
    ],
)
def test_sizes_that_were_seen_one_by_one_get_the_simplest_law(sizes, law):
    assert size_law(np.array(sizes)) == law


def test_groups_become_one_of_with_shares_and_steps_that_never_fire_are_left_out():
    variables = variables_of(PRIOR)
    first = {"soft?": 0.0, "grain:": [1.0, 0.0], "size.size": 12}
    second = {"soft?": 1.0, "grain:": [0.5, 0.5], "size.size": 40}
    spec = camera_spec(PRIOR, [first, second], [0.7, 0.3], 0, "two")
    far, near = spec.steps[0].children
    assert spec.steps[0].weights == (0.7, 0.3)
    assert [step.label for step in far.children] == ["poisson_noise", "down", "jpeg"]
    assert [step.label for step in near.children] == ["gaussian_blur", "one_of", "down", "jpeg"]
    assert near.children[0].p == 1
    # a choice of one is written as the step itself, as often as the choice was made
    data = {"id": "blur", "p": 0.6, "weights": [0.99, 0.01]}
    step, rare = {"op": "gaussian_blur", "id": "soft"}, {"op": "motion_blur", "id": "motion"}
    assert _one_closed({**data, "one_of": [{**step, "p": 0.5}, rare]}) == {**step, "p": 0.3}
    assert _one_closed({**data, "p": 0.99, "one_of": [step, rare]}) == step
    assert read_back(spec.as_json()).digest == spec.digest
    assert len({v.name for v in variables}) == len(variables)


def test_the_prior_takes_the_structure_and_a_users_own_prior_keeps_its_steps():
    found = Structure(
        ((20, 1.0),),
        "spectrum",
        "bicubic",
        True,
        WayUp("cubic", False, 112),
        Container("jpeg", 90, True, "444"),
    )
    own = shaped_prior(None, found)
    assert [step.label for step in own.steps[-2:]] == ["up", "jpeg"]
    assert own.steps[-1].op.quality == 90 and own.steps[-1].op.subsampling == "444"
    assert own.store.up.filter == "cubic"
    theirs = shaped_prior("surveillance", found)
    assert [step.label for step in theirs.steps][:3] == ["illumination", "blur", "down"]


def test_two_cameras_are_two_clusters_with_their_shares_the_larger_first():
    random = np.random.default_rng(2)
    far = np.arange(100) % 10 < 3
    points = random.standard_normal((100, 6)) + np.where(far, 6.0, 0.0)[:, None]
    assert (clusters(points, 2, 0) == far).all()
    assert (clusters(points, 1, 0) == 0).all()


def test_a_group_whose_sizes_were_not_found_takes_what_the_population_has():
    size = next(v for v in variables_of(PRIOR) if v.parameter == "size")
    masses = np.eye(size.count - 1)[3]
    group = Population(np.ones(1), ((masses,),), np.zeros(5, np.int64))
    evidence = Evidence(np.zeros((5, 2), np.float32), np.zeros(5, np.int64), np.zeros((5, 0)), True)
    matcher = SimpleNamespace(variables=[size], target=lambda stats: None)
    literal = Words(matcher, evidence, group).literals(simple=False)[size.name]
    assert literal == literal_of(size, masses)


@pytest.mark.parametrize("told_by", ["files", "spectrum"])
def test_sizes_above_the_clean_faces_leave_a_prior_to_draw_from(told_by):
    way = None if told_by == "files" else WayUp("bicubic", True, 150)
    found = Structure(((130, 0.5), (150, 0.5)), told_by, "box", True, way, Container("lossless"))
    down = next(step for step in shaped_prior(None, found).steps if step.label == "down")
    low, high = down.op.size.extent()
    assert 90 <= low < high <= 113


def test_ids_of_a_users_prior_never_collide():
    """Neither with names given to its other steps, nor with the camera's tail (a fitted spec as prior)."""
    file = Container("jpeg", 90, True, "444")
    found = Structure(((20, 1.0),), "spectrum", "bicubic", True, WayUp("cubic", False, 112), file)
    text = """
version: 1
pipeline:
  - {op: gaussian_blur, id: s1, sigma: {uniform: [0, 4]}}
  - {op: down, size: 20, filter: box, antialias: true}
  - {op: jpeg, id: file, quality: {randint: [10, 90]}}
"""
    spec = shaped_prior(text, found)
    ids = [step.own_id for step in spec.steps]
    assert len(ids) == len(set(ids)) and next(v.step for v in variables_of(spec)) == "s1"
    assert "enlarge" in ids and ids[-1] == "file" and ids[2] == "file-own"
