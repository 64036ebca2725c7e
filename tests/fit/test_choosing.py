"""What is kept on validation: clearly nearer candidates, and no step that the distance does not need."""

import numpy as np

from lrfr.degrade.spec.model import load_spec
from lrfr.fit.choosing import Candidate, Chooser, Simplifier
from lrfr.fit.infer.matching import Population
from lrfr.fit.judge.two_sample import energy, frechet

SPEC = """
version: 1
pipeline:
  - {op: gamma, id: gamma, gamma: 1.2}
  - {op: read_noise, id: read, electrons: 4}
  - {op: grayscale, id: gray}
  - {op: down, id: size, size: 20, filter: box, antialias: true}
"""


def spec(size):
    return load_spec(SPEC.replace("20", str(size)))


class Shifted:
    """Faces that each candidate shifts, and draws anew."""

    def __init__(self, shifts, seed=0):
        self.shifts, self.seed = shifts, seed
        self.real = np.random.default_rng(0).standard_normal((120, 4))

    def __call__(self, one):
        k = next(step.op.size for step in one.steps if step.id == "size") - 10
        return np.random.default_rng([self.seed, k]).standard_normal((60, 4)) + self.shifts[k]

    def kept(self):
        """Return the number of the candidate that is kept, and all distances."""
        whole = Population(np.ones(1), (), np.zeros(120, np.int64))
        candidates = [Candidate(str(k), spec(10 + k), whole if k else None) for k in range(len(self.shifts))]
        found, near = Chooser(self.real, self, 0).run(candidates)
        return int(found.name), [near[one.name].frechet for one in candidates]


def test_a_more_complex_candidate_must_be_nearer_beyond_chance():
    assert Shifted([1.0, 0.5, 0.0]).kept()[0] == 2
    assert Shifted([0.0, 0.5, 1.0]).kept()[0] == 0
    same = [Shifted([1.0, 0.0, 0.0], seed).kept() for seed in range(16)]
    # two draws of the same: by chance the second often lies much nearer, and seldom is taken for that
    by_chance = sum(distances[2] < 0.95 * distances[1] for _, distances in same)
    taken = sum(found == 2 for found, _ in same)
    assert by_chance >= 5 and taken <= by_chance // 2


def test_no_removed_step_spends_what_another_has_gained():
    # distances by which steps are left: noise is harmful, gamma needed but less than noise harms
    def distance(one):
        ids = {step.id for step in one.steps}
        return 4.0 + 2.0 * ("read" in ids) + 1.0 * ("gamma" not in ids)

    found = {step.id for step in Simplifier(distance).run(spec(20)).steps}
    assert found == {"gamma", "size"}


def test_a_scan_is_left_where_20_crops_have_32_directions():
    # spread too little in half of the directions and moved by a third of a spread in others: a Frechet
    # distance of 20 crops takes what is narrow for near, whatever the other faces are
    random = np.random.default_rng(0)
    by_frechet = by_energy = 0
    for _ in range(40):
        real = random.standard_normal((20, 32))
        scan = random.standard_normal((400, 32)) * np.repeat([0.3, 1.0], 16) + np.repeat([0.0, 0.35], 16)
        fit = random.standard_normal((400, 32)) * 1.1
        by_frechet += frechet(real, fit) < frechet(real, scan)
        by_energy += energy(real, fit) < energy(real, scan)
    assert by_energy >= 39 and by_frechet <= 30


def test_an_energy_distance_does_not_depend_on_the_number_of_faces():
    random = np.random.default_rng(1)

    def mean(n, shift):
        pairs = (random.standard_normal((2, n, 8)) + np.array([shift, 0.0])[:, None, None] for _ in range(60))
        return np.mean([energy(a, b) for a, b in pairs])

    assert abs(mean(10, 0.0)) < 0.03 and abs(mean(80, 0.0)) < 0.01
    assert abs(mean(10, 0.5) - mean(80, 0.5)) < 0.06


def test_an_energy_distance_is_that_by_pairs():
    a, b = np.random.default_rng(2).standard_normal((2, 5, 3))
    cross = np.mean([np.linalg.norm(x - y) for x in a for y in b])
    own = [
        np.mean([np.linalg.norm(x - y) for i, x in enumerate(c) for j, y in enumerate(c) if i != j])
        for c in (a, b)
    ]
    assert abs(energy(a, b) - (2 * cross - sum(own))) < 1e-12
