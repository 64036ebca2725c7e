"""What is kept on validation: clearly nearer candidates, and no step that the distance does not need."""

import numpy as np

from lrfr.degrade.spec.model import load_spec
from lrfr.fit.choosing import Candidate, Chooser, Simplifier
from lrfr.fit.infer.matching import Population

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
        found, distances = Chooser(self.real, self, 0).run(candidates)
        return int(found.name), [distances[one.name] for one in candidates]


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
