"""The stack that a torch pickle is read on: what its opcodes do, with every count and length checked."""

from __future__ import annotations

import struct
from mmap import mmap
from typing import Any

from lrfr.train.weights.foreign.torch_files.inert_values import (
    Caps,
    Inert,
    Meter,
    Refused,
    StorageRef,
    key_of,
)
from lrfr.train.weights.foreign.torch_files.rebuild import made, persistent


class Stack:
    """Values, open marks and memo, and the bytes that they are read from.

    Args:
        data: holds the pickle, and may hold more after it.
        start: place of its first byte.
        caps: what it may ask for.

    """

    def __init__(self, data: bytes | mmap, start: int = 0, caps: Caps | None = None) -> None:
        self.caps = caps or Caps()
        self.data, self.at = data, start
        self.end = min(len(data), start + self.caps.pickle_bytes)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRef] = {}
        self.meter = Meter(self.caps.opcodes)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        stop = self.at + count
        if stop > self.end:
            raise Refused("it ends early")
        found, self.at = bytes(self.data[self.at : stop]), stop
        return found

    def number(self, form: str, size: int) -> Any:
        """Return a number of ``size`` bytes in the form of :mod:`struct`."""
        return struct.unpack(form, self.take(size))[0]

    def line(self, longest: int = 1000) -> str:
        """Return the text up to the end of the line."""
        length, window = -1, 8
        while length < 0 and window < 2 * longest:
            window *= 2
            seen = bytes(self.data[self.at : min(self.end, self.at + window)])
            length = seen.find(b"\n")
        if length < 0:
            raise Refused("a line without an end")
        self.at += length + 1
        return seen[:length].decode("utf-8", "replace")

    def place(self) -> int:
        """Return the number of a memo slot that stands on a line."""
        text = self.line(20)
        return int(text) if text.isdecimal() else -1

    def pop(self) -> Any:
        """Return the topmost value and take it off."""
        if not self.stack:
            raise Refused("it takes more values than there are")
        return self.stack.pop()

    def top(self) -> Any:
        """Return the topmost value."""
        if not self.stack:
            raise Refused("it takes more values than there are")
        return self.stack[-1]

    def push(self, value: object) -> None:
        """Put a value on top."""
        self.stack.append(value)

    def mark(self) -> None:
        """Open a mark."""
        if len(self.marks) >= self.caps.depth:
            raise Refused(f"more than {self.caps.depth} open marks")
        self.marks.append(self.stack)
        self.stack = []

    def popped(self) -> list[Any]:
        """Close the last mark and return what came after it."""
        if not self.marks:
            raise Refused("a mark is missing")
        found, self.stack = self.stack, self.marks.pop()
        return found

    def put(self, place: int) -> None:
        """Remember the topmost value."""
        if not 0 <= place <= self.caps.opcodes:
            raise Refused("a memo slot beyond the cap")
        self.memo[place] = self.top()

    def get(self, place: int) -> None:
        """Put a remembered value on top."""
        if place not in self.memo:
            raise Refused("a memo slot that is empty")
        self.push(self.memo[place])

    def set_items(self, pairs: list[Any]) -> None:
        """Set keys and values, which follow each other, in the topmost value."""
        if len(pairs) % 2:
            raise Refused("a key without a value")
        target = self.top()
        into = target if isinstance(target, dict) else target.items if isinstance(target, Inert) else None
        if into is None:
            raise Refused(f"it sets items of a {type(target).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            into[key_of(key)] = value

    def append(self, values: list[Any]) -> None:
        """Append to the topmost value."""
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Inert | dict):
            raise Refused(f"it appends to a {type(target).__name__}")

    def build(self) -> None:
        """Give the topmost value its state: what an inert object remembers, and nothing else does."""
        state, target = self.pop(), self.top()
        parts = state if isinstance(state, tuple) else (state,)
        if isinstance(target, Inert):
            for part in parts:
                if isinstance(part, dict):
                    self.meter.spend(len(part))
                    target.items.update(part)

    def reduce(self) -> None:
        """Rebuild what a function and its arguments stand for."""
        given, function = self.pop(), self.pop()
        self.push(made(self.caps, self.meter, function, given))

    def outside(self) -> None:
        """Push what a persistent id stands for; one storage has one kind and one size."""
        found = persistent(self.pop())
        if isinstance(found, StorageRef):
            known = self.storages.setdefault(found.key, found)
            if (known.dtype, known.count) != (found.dtype, found.count):
                raise Refused(f"the storage {found.key[:80]} is two things at once")
            found = known
        self.push(found)

    def integer(self, text: str) -> None:
        """Push an integer or a boolean of protocol 0."""
        if len(text) > 400:
            raise Refused("an integer beyond the cap")
        if text in {"00", "01"}:
            self.push(text == "01")
            return
        try:
            self.push(int(text.removesuffix("L")))
        except ValueError:
            raise Refused("a number that is none") from None

    def long(self, length: int) -> None:
        """Push an integer of ``length`` bytes."""
        if not 0 <= length <= 128:
            raise Refused("an integer beyond the cap")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def real(self, text: str) -> None:
        """Push a float of protocol 0."""
        try:
            self.push(float(text))
        except ValueError:
            raise Refused("a number that is none") from None

    def text(self, length: int) -> None:
        """Push a text of ``length`` bytes."""
        self.push(self.take(length).decode("utf-8", "replace"))

    def bytestring(self, length: int) -> None:
        """Push the ``str`` of Python 2, which is text where it can be."""
        if length < 0:
            raise Refused("a negative length")
        self.push(self.take(length).decode("latin-1"))

    def stack_global(self) -> None:
        """Name a class or function by two texts of the stack."""
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise Refused("a class without a name")
        self.name(module, name)

    def name(self, module: str, name: str) -> None:
        """Push a class or function, which stays a name."""
        if len(module) + len(name) > 1000:
            raise Refused("a class with a name beyond the cap")
        self.push(Inert(f"{module}.{name}"))

    def new(self, extra: int = 0) -> None:
        """Make an object of a class and arguments (and, where ``extra``, of keyword arguments)."""
        if extra:
            self.pop()
        given, kind = self.pop(), self.pop()
        self.push(made(self.caps, self.meter, kind, given))

    def instance(self) -> None:
        """Make an object of protocol 0: the class stands in the stream, its arguments above the mark."""
        self.name(self.line(), self.line())
        kind = self.pop()
        self.push(made(self.caps, self.meter, kind, tuple(self.popped())))

    def object_of_mark(self) -> None:
        """Make an object of protocol 1: class and arguments stand above the mark."""
        kind, *given = self.popped() or [None]
        self.push(made(self.caps, self.meter, kind, tuple(given)))

    def last(self, count: int) -> None:
        """Push a tuple of the last ``count`` values."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def discard(self) -> None:
        """Take off the topmost value, or the last mark where nothing stands above it."""
        if self.stack:
            self.stack.pop()
        else:
            self.popped()
