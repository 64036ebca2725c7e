"""What stands for something else is exchanged for it where that takes fewer numbers."""

import numpy as np
import pytest

from lrfr.degrade.spec.model import load_spec
from lrfr.fit.infer import closing
from lrfr.fit.infer.bank import Bank
from lrfr.fit.infer.matching import Matcher
from lrfr.fit.infer.prior_space import variables_of
from lrfr.fit.infer.summaries import prior_histograms

BLURS = load_spec("""
version: 1
pipeline:
  - id: blur
    weights: [1, 1]
    one_of:
      - {op: gaussian_blur, id: soft, sigma: {uniform: [0, 4]}}
      - {op: motion_blur, id: motion, length: {uniform: [2, 18]}, angle: {uniform: [-90, 90]}}
  - {op: read_noise, id: read, p: 0.5, electrons: {uniform: [2, 30]}, full_well: 1000}
""")
NAMES = [v.name for v in variables_of(BLURS)]
MOTION = 1


def faces(count, motion_share, read_share, seed, *, alike, low=0.0, high=1.0):
    """Return faces of which is seen how strong the blur is, and something that motion lowers and read noise
    raises, to just what Gaussian blur alone has; what they are, too, where they do not look ``alike``.
    """
    random = np.random.default_rng(seed)
    motion, read = random.random(count) < motion_share, random.random(count) < read_share
    strength = random.uniform(low, high, count)
    other = np.where(motion, 0.5, 1.0) * random.standard_normal(count)
    other = other + read * np.sqrt(0.75) * random.standard_normal(count)
    values = np.full((count, len(NAMES)), np.nan, np.float32)
    values[~motion, NAMES.index("soft.sigma")] = 4 * strength[~motion]
    values[motion, NAMES.index("motion.length")] = 2 + 16 * strength[motion]
    values[motion, NAMES.index("motion.angle")] = random.uniform(-90, 90, motion.sum())
    values[read, NAMES.index("read.electrons")] = random.uniform(2, 30, read.sum())
    classes = np.zeros(values.shape, np.int16)
    for k, variable in enumerate(variables_of(BLURS)):
        for row in np.flatnonzero(~np.isnan(values[:, k])):
            classes[row, k] = variable.class_of(float(values[row, k]))
    classes[:, NAMES.index("blur:")], classes[:, NAMES.index("read?")] = 1 + motion, read
    stats = np.stack([strength, strength**2, other**2, motion + 2 * read], axis=1)
    return Bank(stats.astype(np.float32)[:, : 3 if alike else 4], classes, values, np.arange(count))


class Plain:
    """Summaries that are the statistics themselves."""

    def __call__(self, stats):
        return np.asarray(stats, np.float64)


def shares(found):
    """Return how often motion stands for blur, and how often there is read noise."""
    return float(found[NAMES.index("blur:")][MOTION]), float(found[NAMES.index("read?")][1])


@pytest.mark.parametrize("alike, left", [(True, (0, 0)), (False, (1, 1))])
def test_two_steps_that_stand_for_one_are_exchanged_for_it_and_what_is_needed_stays(alike, left, monkeypatch):
    """Motion with read noise looks as Gaussian blur does, and a first estimate has taken it for that: one
    step at a time finds no way back, the exchange does. Where a statistic tells motion, motion stays.
    """
    monkeypatch.setattr(closing, "_STEPS", 40)
    variables, bank = variables_of(BLURS), faces(2500, 0.5, 0.5, 0, alike=alike)
    matcher = Matcher([bank], [prior_histograms(bank, variables)], variables, Plain(), 0)
    crops = faces(400, float(not alike), float(not alike), 1, alike=alike, low=0.2, high=0.6)
    first = list(matcher.prior)
    first[NAMES.index("blur:")], first[NAMES.index("read?")] = np.array([0.1, 0.9]), np.array([0.1, 0.9])
    goal = matcher.target(crops.stats)
    assert np.allclose(shares(closing.close(matcher, goal, tuple(first), {}).histograms), 1, atol=0.05)
    found = closing.exchange(matcher, goal, tuple(first), {})
    assert np.allclose(shares(found.histograms), left, atol=0.05)
    # soft: gate of read noise and the weight are closed, one law stands; motion and read noise: three
    assert found.numbers == (2 if left == (0, 0) else 6)
