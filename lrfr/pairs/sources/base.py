"""What every source of faces offers: a list of faces, and the bytes of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Place = Any
Content = bytes | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a source.

    Attributes:
        key: its name, unique in the source and stable (a relative path, never only a base name).
        label: the identity's name; "" where unknown.
        place: whatever the source needs to find the bytes (plain data).
        attributes: binary attributes, 1 or 0; a missing name means unknown.
        split: name of the split it belongs to; "" for none.
        fault: reason code when the source already knows that it cannot be used.

    """

    key: str
    label: str
    place: Place = None
    attributes: Mapping[str, int] = field(default_factory=dict)
    split: str = ""
    fault: str = ""

    @property
    def key_bytes(self) -> bytes:
        """The key as bytes: the sample key of every random stream."""
        return self.key.encode("utf-8", "surrogateescape")


class Source:
    """A list of faces with their bytes. Sources are small, picklable values; ``read`` works in any
    process.
    """

    kind = ""
    # rough cost of reading one face, for choosing an executor
    cost_ms = 0.15

    def faces(self) -> list[Face]:
        """List all faces (in any order; keys must be unique).

        Raises:
            SpecError: the source is not what it was said to be.
            DataError: an index of the source is damaged.

        """
        raise NotImplementedError

    def read(self, place: Place) -> Content:
        """Return encoded image bytes, or pixels as uint8 ``[h, w, 3]`` RGB.

        Raises:
            ImageFault: the face cannot be read.

        """
        raise NotImplementedError

    def fingerprint(self, place: Place) -> str | None:
        """Return a digest that names the content without reading it, or None where only the bytes can
        tell.
        """
        return None

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return (size, mtime, inode) of the file behind a face, for the scan cache; None where it must be
        read.
        """
        return None

    def describe(self) -> dict[str, str | int]:
        """Return the source in words for manifests and cards: kind and parameters, no absolute path."""
        return {"kind": self.kind}
