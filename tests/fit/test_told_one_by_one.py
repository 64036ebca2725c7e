"""What crops tell one by one: qualities of a codec, known laws; what is left out by a joint fit."""

import numpy as np
import pytest

from lrfr.core.image import decode, encode_jpeg
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.spec.model import load_spec
from lrfr.fit.infer.bank import Bank
from lrfr.fit.infer.closing import closed
from lrfr.fit.infer.evidence import Evidence
from lrfr.fit.infer.matching import Matcher, Population
from lrfr.fit.infer.prior_space import variables_of
from lrfr.fit.infer.summaries import prior_histograms
from lrfr.fit.look.codec_marks import QUALITIES, codec_evidence
from lrfr.fit.look.codec_qualities import few_qualities
from tests.fit.cameras import person

PRIOR = load_spec("""
version: 1
pipeline:
  - {op: down, id: size, size: {choice: [20, 30, 40]}, filter: box, antialias: true}
  - {op: poisson_noise, id: shot, photons: {log_uniform: [16, 1024]}}
  - {op: read_noise, id: read, p: 0.5, electrons: {uniform: [0, 30]}, full_well: 1000}
  - {op: jpeg, id: codec, p: 0.8, quality: {randint: [10, 90]}}
""")
VARIABLES = variables_of(PRIOR)


def small(count, side=40):
    return [resize_batch(person(k)[None], side, "box", True)[0] for k in range(count)]


def compressed(qualities):
    return [
        decode(encode_jpeg(p, q)) if q else p for p, q in zip(small(len(qualities)), qualities, strict=True)
    ]


def test_the_lattice_of_its_coefficients_tells_a_pictures_quality():
    true = [12, 25, 40, 50, 63, 80, 88]
    found = np.array(QUALITIES)[codec_evidence(compressed(true)).argmax(axis=1)]
    # neighbors share most of their steps
    assert np.abs(found - true).max() <= 2
    assert codec_evidence(compressed([0] * 7)).max() < 3 < codec_evidence(compressed(true)).max(axis=1).min()
    assert not codec_evidence([np.zeros((7, 7, 3), np.uint8)]).any()


def test_a_few_qualities_are_named_with_their_shares_and_a_range_is_not():
    few = few_qualities(codec_evidence(compressed([30, 30, 70, 0] * 12)))
    assert list(few) == [30, 70] and few[30] == pytest.approx(2 / 3, abs=0.03)
    assert few_qualities(codec_evidence(compressed([35 + k % 41 for k in range(48)]))) is None
    assert few_qualities(codec_evidence(compressed([0] * 24))) is None
    assert few_qualities(codec_evidence(compressed([30] * 12))) is None


def test_known_laws_hold_only_what_the_prior_has():
    sizes = np.array([20] * 30 + [40] * 30)
    evidence = Evidence(
        np.zeros((60, 1), np.float32), sizes, codec_evidence(compressed([30, 70] * 30)), exact_sizes=True
    )
    laws = {VARIABLES[k].name: law for k, law in evidence.known(VARIABLES).items()}
    assert laws["size.size"].literal == {"choice": [20, 40], "weights": [0.5, 0.5]}
    assert laws["codec.quality"].literal["choice"] == [30, 70]
    quality = next(v for v in VARIABLES if v.name == "codec.quality")
    masses = laws["codec.quality"].masses(quality)
    assert masses[[quality.class_of(30) - 1, quality.class_of(70) - 1]] == pytest.approx([0.5, 0.5], abs=0.02)
    narrow = variables_of(load_spec("version: 1\npipeline: [{op: jpeg, quality: {randint: [40, 60]}}]"))
    assert not evidence.known(narrow)


class Plain:
    """Summaries that are the statistics themselves."""

    def __call__(self, stats):
        return np.asarray(stats, np.float64)


def noisy(count, photons, read, seed, told):
    """Return a bank whose statistics say how noisy a face is and, as far as told, by which of both noises."""
    random = np.random.default_rng(seed)
    shot = np.exp(random.uniform(*np.log(photons), count))
    has = random.random(count) < read
    electrons = np.where(has, random.uniform(0, 30, count), 0)
    z = np.log(1 / np.sqrt(shot) + electrons / 150) + 0.2 * random.standard_normal(count)
    own = {"shot.photons": shot, "read.electrons": electrons}
    rows = []
    for k in range(count):
        row = []
        for v in VARIABLES:
            if v.kind == "gate":
                row.append(int(has[k]) if v.step == "read" else 1)
            elif v.name in own and (v.step != "read" or has[k]):
                row.append(v.class_of(float(own[v.name][k])))
            else:
                row.append(0 if v.step == "read" else 1)
        rows.append(row)
    own = told * electrons / 15 + random.standard_normal(count)
    stats = np.stack([z, z * z, own, own * own], axis=1).astype(np.float32)
    return Bank(
        stats, np.array(rows, np.int16), np.zeros((count, len(VARIABLES)), np.float32), np.zeros(count)
    )


FILTERS = load_spec("""
version: 1
pipeline:
  - {op: gaussian_blur, id: soft, p: 0.9, sigma: {uniform: [0, 4]}}
  - {op: down, id: size, size: 20, filter: {choice: [box, bicubic]}, antialias: true}
""")


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.5, 0.5)])
def test_one_word_is_kept_of_a_law_of_words_where_the_crops_agree_and_a_step_happens_always(shares):
    """A filter is weakly told by one statistic, and stands for blur in the other."""
    variables = variables_of(FILTERS)
    names = [v.name for v in variables]

    def faces(count, seed, box, blurred):
        random = np.random.default_rng(seed)
        soft, boxed = random.random(count) < blurred, random.random(count) < box
        sigma = np.where(soft, random.uniform(0, 4, count), 0)
        z = sigma + 0.8 * boxed + 0.3 * random.standard_normal(count)
        own = 1.0 * boxed + 0.8 * random.standard_normal(count)
        rows = {
            "soft?": soft,
            "soft.sigma": [
                variables[names.index("soft.sigma")].class_of(float(s)) if s else 0 for s in sigma
            ],
            "size.filter": np.where(boxed, 1, 2),
        }
        classes = np.stack([np.asarray(rows[name], np.int16) for name in names], axis=1)
        stats = np.stack([z, z * z, own, own * own], axis=1).astype(np.float32)
        return Bank(stats, classes, np.zeros((count, len(names)), np.float32), np.zeros(count))

    bank, crops = faces(3000, 0, 0.5, 0.9), faces(500, 1, shares[0], 1.0)
    matcher = Matcher([bank], [prior_histograms(bank, variables)], variables, Plain(), 0)
    evidence = Evidence(crops.stats, np.zeros(500, np.int64), np.zeros((500, 0)), exact_sizes=False)
    found = closed(matcher, evidence, matcher.fit(evidence)).groups[0]
    filters, gate = found[names.index("size.filter")], found[names.index("soft?")]
    assert filters == pytest.approx(shares, abs=0.1 if shares[1] else 1e-6)
    assert gate[1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("photons, read, told", [((64, 256), 0.0, 0), ((300, 1024), 0.5, 2)])
def test_a_step_that_another_stands_for_is_left_out_by_a_joint_fit(photons, read, told):
    bank, crops = noisy(3000, (16, 1024), 0.5, 0, told), noisy(400, photons, read, 1, told)
    matcher = Matcher([bank], [prior_histograms(bank, VARIABLES)], VARIABLES, Plain(), 0)
    evidence = Evidence(crops.stats, np.zeros(400, np.int64), np.zeros((400, 0)), exact_sizes=False)
    found: Population = matcher.fit(evidence)
    gate = [v.name for v in VARIABLES].index("read?")
    assert found.groups[0][gate][1] > 0.05
    assert (closed(matcher, evidence, found).groups[0][gate][1] > 0.05) == (read > 0)
