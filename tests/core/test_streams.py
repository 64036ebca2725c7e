"""Random streams: independent numbers for every identity, the same for the same one."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from scipy import stats

from lrfr.core.streams import Stream, sample_part, step_part, stream

GOLDEN_U = [0.610175675119, 0.851094510121, 0.855224272401]
GOLDEN_WORDS = [41312, 13991, 12530, 55845]
GOLDEN_SEED = 3415317162


def test_slots_follow_the_stated_construction():
    identity = (
        (2).to_bytes(4, "little") + b"ab" + (3).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"j1"
    )
    for slot in (0, 5, 8, 19):
        message = identity + (slot // 8).to_bytes(4, "little")
        digest = hashlib.blake2b(message, key=(9).to_bytes(8, "little"), person=b"lrfr.degrade").digest()
        word = int.from_bytes(digest[slot % 8 * 8 : slot % 8 * 8 + 8], "little")
        assert stream(9, b"ab", 3, "j1").u(slot) == (word >> 11) * 2.0**-53


def test_slots_are_uniform_and_uncorrelated_across_slots_keys_variants_seeds_and_steps():
    count = 4000
    axes = {
        "keys": [stream(1, b"%d" % k, 0, "s").u(1) for k in range(count)],
        "variants": [stream(1, b"k", k, "s").u(1) for k in range(count)],
        "seeds": [stream(k, b"k", 0, "s").u(1) for k in range(count)],
        "steps": [stream(1, b"k", 0, f"s{k}").u(1) for k in range(count)],
        "slots": [stream(1, b"k", 0, "s").u(k) for k in range(count)],
    }
    for name, values in axes.items():
        assert stats.kstest(values, "uniform").pvalue > 1e-3, name
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(count), name
    for one, other in itertools.combinations(axes, 2):
        assert abs(np.corrcoef(axes[one], axes[other])[0, 1]) < 4 / np.sqrt(count)


def test_no_two_identities_share_an_encoding():
    fields = [b"", b"a", b"aa", b"a\0", b"\0a", b"a\0\0\0", "ä".encode()]
    steps = ["", "a", "aa", "a\0"]
    identities = [
        stream(1, key, variant, step).identity for key in fields for variant in (0, 1, 256) for step in steps
    ]
    assert len(set(identities)) == len(identities)


def test_words_are_philox_and_their_count_does_not_change_them():
    source = stream(4, b"k", 1, "n")
    long = source.words_u16(1001)
    assert long.dtype == np.dtype("<u2")
    np.testing.assert_array_equal(source.words_u16(7), long[:7])
    assert (source.words_u16(64, "other") != long[:64]).any()
    counts = np.bincount(source.words_u16(400_000) >> 8, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_seeds_for_other_libraries_and_generators_differ_by_tag():
    source = stream(4, b"k", 1, "n")
    assert 0 <= source.seed32() < 2**32
    assert len({source.seed32(tag) for tag in ("a", "b", "seed")}) == 3
    assert source.generator("a").integers(2**62) == stream(4, b"k", 1, "n").generator("a").integers(2**62)
    assert source.generator("a").integers(2**62) != source.generator("b").integers(2**62)


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_the_ends_of_the_seed_range_work(seed):
    assert 0 <= stream(seed, b"k", 0, "s").u(0) < 1


def test_golden_numbers():
    source = stream(1, b"face/00001", 2, "b1/gaussian_blur#0")
    assert [round(source.u(slot), 12) for slot in (0, 1, 8)] == GOLDEN_U
    assert source.words_u16(4).tolist() == GOLDEN_WORDS
    assert source.seed32() == GOLDEN_SEED


def test_field_words_are_philox_keyed_as_stated():
    identity = (
        (4).to_bytes(4, "little") + b"face" + (2).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"noise"
    )
    message = identity + bytes(4) + b"field"
    digest = hashlib.blake2b(
        message, key=(7).to_bytes(8, "little"), person=b"lrfr.degrade", digest_size=16
    ).digest()
    raw = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(5)
    assert np.array_equal(stream(7, b"face", 2, "noise").words_u16(19), raw.astype("<u8").view("<u2")[:19])


def test_a_stream_is_the_sample_part_and_the_step_part():
    for key in (b"", b"a", b"face/1"):
        assert Stream(3, sample_part(key, 1) + step_part("j1")) == stream(3, key, 1, "j1")
