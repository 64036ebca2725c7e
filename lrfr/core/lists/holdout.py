"""Which side of a hold-out a name falls on: the name alone decides, so that it stays there whatever comes."""

from __future__ import annotations

import hashlib

from lrfr.core.lists.names import spelled

# another salt is another division of everybody
_SALT = b"lrfr hold-out 24"


def is_held_out(name: str, share: float, kind: str = "identity") -> bool:
    """Return whether a name is on the test side; about ``share`` of all names are.

    Neither other names nor their order enter. A greater share keeps everybody who is held out at a smaller
    one.

    Args:
        name: of an identity, or the key of a face without one; its Unicode form plays no part.
        share: 0 to 1.
        kind: ``identity`` or ``key``: an identity and a key of the same name are drawn for themselves.

    """
    text = spelled(name).encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, key=_SALT, person=kind.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
