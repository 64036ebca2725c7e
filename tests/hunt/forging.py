"""How a good file becomes a forged one: what a storage that lies, a stranger or a bug makes of it. Every forgery is a
pure function of a number, so that one number shows it again.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from lrfr.core.files import seal

# numbers and words that readers trip over
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53,
    2**63 - 1,
    2**63,
    10**15,
    -(2**63),
    1e308,
)
WORDS = (
    "",
    "x",
    "..",
    "../../x",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\u202e",
    "\x1b[31m",
    "a" * 300,
    "NaN",
    "null",
    "-",
    "1e999",
)
VALUES: tuple[Any, ...] = (None, True, False, [], {}, [None], [[]], {"": 0}, 1.5, *NUMBERS, *WORDS)
_INTS = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0" * 8,
    b"\xff" * 8,
)

Forge = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, dice: random.Random) -> bytes:
    """One bit."""
    made, at = bytearray(data or b"\0"), dice.randrange(max(1, len(data)))
    made[at] ^= 1 << dice.randrange(8)
    return bytes(made)


def flips(data: bytes, dice: random.Random) -> bytes:
    """Some bits, near one another."""
    made = bytearray(data or b"\0")
    start = dice.randrange(len(made))
    for _ in range(dice.randrange(1, 12)):
        made[min(len(made) - 1, start + dice.randrange(64))] ^= 1 << dice.randrange(8)
    return bytes(made)


def cut(data: bytes, dice: random.Random) -> bytes:
    """Its end is gone."""
    return data[: dice.randrange(len(data) + 1)]


def hole(data: bytes, dice: random.Random) -> bytes:
    """A piece is gone."""
    start = dice.randrange(len(data) + 1)
    return data[:start] + data[start + dice.choice((1, 2, 4, 8, 64, 512)) :]


def nulled(data: bytes, dice: random.Random) -> bytes:
    """A page that never reached the disk."""
    start = dice.randrange(len(data) + 1) // 512 * 512
    return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]


def doubled(data: bytes, dice: random.Random) -> bytes:
    """A piece stands twice, or often."""
    start = dice.randrange(len(data) + 1)
    piece = data[start : start + dice.choice((1, 4, 32, 256))]
    return data[:start] + piece * dice.choice((2, 3, 100)) + data[start:]


def spliced(data: bytes, dice: random.Random) -> bytes:
    """A piece of it stands elsewhere in it."""
    start, to = dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)
    piece = data[start : start + dice.choice((4, 16, 128, 1024))]
    return data[:to] + piece + data[to + len(piece) :]


def number(data: bytes, dice: random.Random) -> bytes:
    """A field has another number."""
    made, value = bytearray(data + bytes(8)), dice.choice(NUMBERS)
    at = dice.randrange(len(data) + 1)
    kind = dice.choice("<B <H >H <I >I <Q >Q".split())
    limit = 1 << 8 * struct.calcsize(kind)
    struct.pack_into(kind, made, at, int(value) % limit)
    return bytes(made[: len(data)])


def inserted(data: bytes, dice: random.Random) -> bytes:
    """Bytes that were never there."""
    at = dice.randrange(len(data) + 1)
    piece = dice.choice(
        (dice.choice(_INTS), dice.choice(WORDS).encode("utf-8", "surrogatepass"), dice.randbytes(7))
    )
    return data[:at] + piece + data[at:]


def lines(data: bytes, dice: random.Random) -> bytes:
    """A text whose lines and fields are shuffled, doubled or others."""
    rows = data.split(b"\n")
    at = dice.randrange(len(rows))
    mark = next((mark for mark in (b"\t", b",", b": ", b" ") if mark in rows[at]), b" ")
    fields = rows[at].split(mark)
    place = dice.randrange(len(fields))
    word = str(dice.choice(VALUES)).encode("utf-8", "surrogatepass")
    how = dice.randrange(6)
    if how == 0:
        fields[place] = word
    elif how == 1:
        fields.insert(place, word)
    elif how == 2:
        del fields[place]
    rows[at] = mark.join(fields)
    if how == 3:
        rows.insert(at, rows[dice.randrange(len(rows))])
    elif how == 4:
        dice.shuffle(rows)
    elif how == 5:
        rows[at] = rows[at] * dice.choice((2, 50, 5000))
    return b"\n".join(rows)


RAW: tuple[Forge, ...] = (flip, flips, cut, hole, nulled, doubled, spliced, number, inserted)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in a JSON value."""
    if at:
        yield at
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*at, key))
    elif isinstance(value, list):
        for index in range(min(3, len(value))):
            yield from places(value[index], (*at, index))


def json_of(seal: Callable[[Any], bytes]) -> Forge:
    """Return what changes JSON by its own grammar and seals it again, as a forger does."""

    def forge(data: bytes, dice: random.Random) -> bytes:
        value = json.loads(data)
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            found = list(places(value))
            if not found:
                break
            *way, last = dice.choice(found)
            inner = value
            for key in way:
                inner = inner[key]
            how = dice.randrange(5)
            if how == 0 and isinstance(inner, dict):
                del inner[last]
            elif how == 1 and isinstance(inner, list):
                inner.append(inner[last])
            elif how == 2 and isinstance(inner, dict):
                inner[dice.choice(WORDS)] = inner[last]
            elif how == 3:
                *other, name = dice.choice(found)
                taken: Any = value
                try:
                    for key in (*other, name):
                        taken = taken[key]
                except (KeyError, IndexError, TypeError):
                    taken = None
                inner[last] = json.loads(json.dumps(taken))
            else:
                inner[last] = dice.choice(VALUES)
        try:
            return seal(value)
        except (TypeError, ValueError, UnicodeError, AttributeError):
            return json.dumps(value).encode()

    return forge


def json_line(data: bytes, dice: random.Random) -> bytes:
    """One line of many is JSON of another kind."""
    rows = data.split(b"\n")
    at = dice.randrange(max(1, len(rows) - 1))
    rows[at] = json_of(lambda value: json.dumps(value).encode())(rows[at], dice)
    return b"\n".join(rows)


def _sealed(value: Any) -> bytes:
    return seal({name: held for name, held in value.items() if name != "sha256"})


SEALED: tuple[Forge, ...] = (*RAW[:3], *[json_of(_sealed)] * 9)
JSON: tuple[Forge, ...] = (*RAW[:3], *[json_of(lambda value: json.dumps(value).encode() + b"\n")] * 6)
JSON_LINES: tuple[Forge, ...] = (lines, *[json_line] * 8)
TEXT: tuple[Forge, ...] = (*RAW, *[lines] * 8)
