"""Pickles of torch files, read without running them: an own stack machine that knows data and nothing else.

No class is imported and nothing is called. Numbers, texts, lists, tuples and dictionaries become themselves;
a tensor becomes a ``TensorRef`` whose numbers are checked against its storage before any byte of it is read;
every other class or function becomes an inert stand-in that remembers its name and what was put into it.
Every count, length and depth has a cap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from lrfr.train.weights.foreign.torch_files.inert_values import Caps, Refused, StorageRef, key_of
from lrfr.train.weights.foreign.torch_files.pickle_stack import Stack


@dataclass(frozen=True)
class Unpickled:
    """One pickle of a file.

    Attributes:
        value: plain data, views and inert stand-ins.
        end: place of the first byte after it.
        storages: the storages that it names.

    """

    value: Any
    end: int
    storages: Mapping[str, StorageRef]


def read_pickle(data: bytes | mmap, start: int = 0, caps: Caps | None = None) -> Unpickled:
    """Read the pickle at ``start``.

    Args:
        data: holds the pickle, and may hold more after it.
        start: place of its first byte.
        caps: what it may ask for.

    Raises:
        Refused: not a pickle of data, or beyond a cap.

    """
    stack = Stack(data, start, caps)
    for _ in range(stack.caps.opcodes):
        code = stack.take(1)[0]
        if code == _STOP:
            return Unpickled(stack.pop(), stack.at, stack.storages)
        action = _ACTIONS.get(code)
        if action is None:
            raise Refused(f"the opcode {bytes([code])!r} at byte {stack.at - 1}")
        action(stack)
    raise Refused(f"more than {stack.caps.opcodes} steps")


def _paired(values: list[Any]) -> dict[object, Any]:
    if len(values) % 2:
        raise Refused("a key without a value")
    return {key_of(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _quoted(text: str) -> str:
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise Refused("a text without quotes")
    return text[1:-1].encode("latin-1", "replace").decode("unicode_escape", "replace")


_STOP = ord(".")
_ACTIONS: Mapping[int, Callable[[Stack], object]] = {
    ord(code): action
    for code, action in {
        "\x80": lambda m: m.take(1),
        "\x95": lambda m: m.take(8),
        "(": lambda m: m.mark(),
        "0": lambda m: m.discard(),
        "1": lambda m: m.popped(),
        "2": lambda m: m.push(m.top()),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "I": lambda m: m.integer(m.line(1000)),
        "L": lambda m: m.integer(m.line(1000)),
        "J": lambda m: m.push(m.number("<i", 4)),
        "K": lambda m: m.push(m.take(1)[0]),
        "M": lambda m: m.push(m.number("<H", 2)),
        "\x8a": lambda m: m.long(m.take(1)[0]),
        "\x8b": lambda m: m.long(m.number("<i", 4)),
        "F": lambda m: m.real(m.line(1000)),
        "G": lambda m: m.push(m.number(">d", 8)),
        "S": lambda m: m.push(_quoted(m.line(65_536))),
        "T": lambda m: m.bytestring(m.number("<i", 4)),
        "U": lambda m: m.bytestring(m.take(1)[0]),
        "V": lambda m: m.push(m.line(65_536)),
        "X": lambda m: m.text(m.number("<I", 4)),
        "\x8c": lambda m: m.text(m.take(1)[0]),
        "\x8d": lambda m: m.text(m.number("<Q", 8)),
        "B": lambda m: m.push(m.take(m.number("<I", 4))),
        "C": lambda m: m.push(m.take(m.take(1)[0])),
        "\x8e": lambda m: m.push(m.take(m.number("<Q", 8))),
        "\x96": lambda m: m.push(m.take(m.number("<Q", 8))),
        "]": lambda m: m.push([]),
        "}": lambda m: m.push({}),
        ")": lambda m: m.push(()),
        "\x8f": lambda m: m.push([]),
        "l": lambda m: m.push(m.popped()),
        "t": lambda m: m.push(tuple(m.popped())),
        "d": lambda m: m.push(_paired(m.popped())),
        "\x91": lambda m: m.push(m.popped()),
        "\x85": lambda m: m.last(1),
        "\x86": lambda m: m.last(2),
        "\x87": lambda m: m.last(3),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.popped()),
        "\x90": lambda m: m.append(m.popped()),
        "s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
        "u": lambda m: m.set_items(m.popped()),
        "p": lambda m: m.put(m.place()),
        "q": lambda m: m.put(m.take(1)[0]),
        "r": lambda m: m.put(m.number("<I", 4)),
        "\x94": lambda m: m.put(len(m.memo)),
        "g": lambda m: m.get(m.place()),
        "h": lambda m: m.get(m.take(1)[0]),
        "j": lambda m: m.get(m.number("<I", 4)),
        "c": lambda m: m.name(m.line(), m.line()),
        "\x93": lambda m: m.stack_global(),
        "Q": lambda m: m.outside(),
        "R": lambda m: m.reduce(),
        "b": lambda m: m.build(),
        "\x81": lambda m: m.new(),
        "\x92": lambda m: m.new(1),
        "i": lambda m: m.instance(),
        "o": lambda m: m.object_of_mark(),
    }.items()
}
