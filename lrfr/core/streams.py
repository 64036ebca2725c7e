"""Keyed random streams: every number is a pure function of (seed, sample key, variant, step id).

No worker, rank, order, time or global generator enters, so a batch, a loop and a cluster draw the same
numbers, and a step that is added or switched off moves no other step's draws.

A stream gives two kinds of numbers:

* *slots*: ``u(0)`` is the step's gate, ``u(1)``, ``u(2)``, ... its parameters. Eight slots come from one
  BLAKE2b-512 digest.
* *field words*: as many 16-bit words as a noise field needs, from Philox4x64 keyed by the same identity.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

MAX_VARIANT = 2**32 - 1
_PERSON = b"lrfr.degrade"
_SLOTS_PER_BLOCK = 8
_UNIT = 2.0**-53
_WORDS = struct.Struct("<8Q")
_LENGTH = struct.Struct("<I")
_FIRST_BLOCK = _LENGTH.pack(0)


def sample_part(sample_key: bytes, variant: int) -> bytes:
    """Return what all steps of one sample and variant share of their streams' identities."""
    return _LENGTH.pack(len(sample_key)) + sample_key + _LENGTH.pack(variant)


@functools.lru_cache(maxsize=4096)  # asked for with every batch, and a spec has few steps
def step_part(step_id: str) -> bytes:
    """Encode the step; every text carries its length, so that no two different identities share an
    encoding.
    """
    step = step_id.encode("utf-8")
    return _LENGTH.pack(len(step)) + step


@functools.lru_cache(maxsize=64)
def _keyed(seed: int, digest_size: int) -> Any:
    """Return the hash state that a seed's numbers start from, to be copied."""
    return hashlib.blake2b(key=_key(seed), person=_PERSON, digest_size=digest_size)


def _key(seed: int) -> bytes:
    return (seed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")


class _PhiloxKey(ISeedSequence):
    """Hands Philox its 128-bit key; ``Philox(key=...)`` reads the system's entropy first, which takes three
    times as long.
    """

    def __init__(self, digest: bytes) -> None:
        self.digest = digest

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        return np.frombuffer(self.digest, "<u8").astype(np.uint64)


@dataclass(slots=True)
class Stream:
    """One step's random numbers for one sample and variant; made by :func:`stream`."""

    seed: int
    identity: bytes
    _first: tuple[int, ...] = field(default=(), repr=False, compare=False)
    _later: dict[int, tuple[int, ...]] | None = field(default=None, repr=False, compare=False)

    def u(self, slot: int) -> float:
        """Return the uniform number in [0, 1) of ``slot`` (53 bits; slot 0 is the gate)."""
        words = self._first
        if slot >= _SLOTS_PER_BLOCK:
            words = self._later_words(slot // _SLOTS_PER_BLOCK)
        elif not words:
            words = self._first = self._digest_words(_FIRST_BLOCK)
        return (words[slot % _SLOTS_PER_BLOCK] >> 11) * _UNIT

    def words_u16(self, count: int, tag: str = "field") -> NDArray[np.uint16]:
        """Return ``count`` independent uniform 16-bit words for a noise field; ``tag`` names the field within
        the step.
        """
        raw = self._philox(tag).random_raw((count + 3) // 4)
        return np.asarray(raw, dtype="<u8").view("<u2")[:count]

    @property
    def variant(self) -> int:
        """The variant that this stream belongs to."""
        start = 4 + int.from_bytes(self.identity[:4], "little")
        return int.from_bytes(self.identity[start : start + 4], "little")

    def of_variant(self, variant: int) -> Stream:
        """Return the same step's and sample's stream of another variant."""
        start = 4 + int.from_bytes(self.identity[:4], "little")
        return Stream(
            self.seed, self.identity[:start] + variant.to_bytes(4, "little") + self.identity[start + 4 :]
        )

    def seed32(self, tag: str = "seed") -> int:
        """Return a 32-bit seed for a library that wants an integer."""
        message = self.identity + _FIRST_BLOCK + tag.encode()
        return int.from_bytes(hashlib.blake2b(message, digest_size=4, key=_key(self.seed)).digest(), "little")

    def generator(self, tag: str = "generator") -> np.random.Generator:
        """Return a numpy generator keyed by this stream (use raw integers or uniforms only: other
        distributions may change with numpy).
        """
        return np.random.Generator(self._philox(tag))

    def _later_words(self, block: int) -> tuple[int, ...]:
        if self._later is None:
            self._later = {}
        if block not in self._later:
            self._later[block] = self._digest_words(_LENGTH.pack(block))
        return self._later[block]

    def _digest_words(self, block: bytes) -> tuple[int, ...]:
        digest = _keyed(self.seed, 64).copy()
        digest.update(self.identity + block)
        return _WORDS.unpack(digest.digest())

    def _philox(self, tag: str) -> np.random.Philox:
        digest = _keyed(self.seed, 16).copy()
        digest.update(self.identity + _FIRST_BLOCK + tag.encode())
        return np.random.Philox(_PhiloxKey(digest.digest()))  # type: ignore[arg-type]  # any ISeedSequence will do


def stream(seed: int, sample_key: bytes, variant: int, step_id: str) -> Stream:
    """Return the stream of one step.

    Args:
        seed: seed of the spec, 0 <= seed < 2**64.
        sample_key: the source's key of the face (never a row number or a database key).
        variant: which of the degraded versions of the face, from 0.
        step_id: the step's explicit id or ``op#occurrence``.

    Source: BLAKE2b (RFC 7693) for slots; Philox4x64 (Salmon et al., SC'11) for fields.

    """
    return Stream(seed, sample_part(sample_key, variant) + step_part(step_id))


def row_words(rows: NDArray[np.int64], *keys: int) -> NDArray[np.uint64]:
    """Return one random 64-bit word for every row, a pure function of (row, keys) that needs no generator for
    each row.

    Args:
        rows: numbers ``[n]``, 0 or more.
        keys: what else the word hangs on: a seed, an epoch, the number of the draw; each 0 or more.

    Source: SplitMix64 (Steele et al., OOPSLA'14), one round for each key.

    """
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64)
        for key in keys:
            x = x + np.uint64((key * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return x
