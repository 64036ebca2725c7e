"""Keyed random streams: every number is a pure function of (seed, sample key, variant, step id).

No worker, rank, order, time or global generator enters, so a batch, a loop and a cluster draw the same numbers, and a step
that is added or switched off moves no other step's draws.

A stream gives two kinds of numbers:

* *slots*: ``u(0)`` is the step's gate, ``u(1)``, ``u(2)``, ... its parameters. Eight slots come from one BLAKE2b-512 digest.
* *field words*: as many 16-bit words as a noise field needs, from Philox4x64 keyed by the same identity.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_PERSON = b"lrfr.degrade"
_SLOTS_PER_BLOCK = 8
_UNIT = 2.0**-53
_WORDS = struct.Struct("<8Q")
_LENGTH = struct.Struct("<I")
_LENGTHS = struct.Struct("<II")


def _identity(sample_key: bytes, variant: int, step_id: str) -> bytes:
    """Encode the identity with length prefixes, so that no two different identities share an encoding."""
    step = step_id.encode("utf-8")
    return _LENGTH.pack(len(sample_key)) + sample_key + _LENGTHS.pack(variant, len(step)) + step


@dataclass(slots=True)
class Stream:
    """One step's random numbers for one sample and variant; made by :func:`stream`."""

    seed: int
    identity: bytes
    _blocks: dict[int, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def u(self, slot: int) -> float:
        """Return the uniform number in [0, 1) of ``slot`` (53 bits; slot 0 is the gate)."""
        block, place = divmod(slot, _SLOTS_PER_BLOCK)
        words = self._blocks.get(block)
        if words is None:
            words = self._digest_words(block)
            self._blocks[block] = words
        return (words[place] >> 11) * _UNIT

    def words_u16(self, count: int, tag: str = "field") -> NDArray[np.uint16]:
        """Return ``count`` independent uniform 16-bit words for a noise field; ``tag`` names the field within the step."""
        generator = np.random.Philox(key=self._philox_key(tag))
        raw = generator.random_raw((count + 3) // 4)
        return np.asarray(raw, dtype="<u8").view("<u2")[:count]

    @property
    def variant(self) -> int:
        """The variant that this stream belongs to."""
        start = 4 + int.from_bytes(self.identity[:4], "little")
        return int.from_bytes(self.identity[start : start + 4], "little")

    def of_variant(self, variant: int) -> Stream:
        """Return the same step's and sample's stream of another variant."""
        start = 4 + int.from_bytes(self.identity[:4], "little")
        return Stream(self.seed, self.identity[:start] + variant.to_bytes(4, "little") + self.identity[start + 4 :])

    def seed32(self, tag: str = "seed") -> int:
        """Return a 32-bit seed for a library that wants an integer."""
        return int.from_bytes(hashlib.blake2b(self._message(0) + tag.encode(), digest_size=4, key=self._key()).digest(), "little")

    def generator(self, tag: str = "generator") -> np.random.Generator:
        """Return a numpy generator keyed by this stream (use raw integers or uniforms only: other laws may change with numpy)."""
        return np.random.Generator(np.random.Philox(key=self._philox_key(tag)))

    def _key(self) -> bytes:
        return (self.seed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")

    def _message(self, block: int) -> bytes:
        return self.identity + block.to_bytes(4, "little")

    def _digest_words(self, block: int) -> tuple[int, ...]:
        digest = hashlib.blake2b(self._message(block), key=self._key(), person=_PERSON).digest()
        return _WORDS.unpack(digest)

    def _philox_key(self, tag: str) -> int:
        digest = hashlib.blake2b(self._message(0) + tag.encode(), key=self._key(), person=_PERSON, digest_size=16).digest()
        return int.from_bytes(digest, "little")


def stream(seed: int, sample_key: bytes, variant: int, step_id: str) -> Stream:
    """Return the stream of one step.

    Args:
        seed: seed of the spec, 0 <= seed < 2**64.
        sample_key: the source's key of the face (never a row number or a database key).
        variant: which of the degraded versions of the face, from 0.
        step_id: the step's explicit id or ``op#occurrence``.

    Source: BLAKE2b (RFC 7693) for slots; Philox4x64 (Salmon et al., SC'11) for fields.

    """
    return Stream(seed, _identity(sample_key, variant, step_id))
