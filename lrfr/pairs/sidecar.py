"""Arrays that belong to the rows of a base and to a checkpoint, such as the embeddings of a teacher.

::

    store/side/<base_id>/<name>-<first 16 of the checkpoint's digest>.npy + .json
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.errors import DataError, SpecError
from lrfr.pairs.files import make_folder, read_sealed, seal, sha256_file, sha256_hex, write_atomic
from lrfr.pairs.lock import store_lock
from lrfr.pairs.store import Store

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,40}")
_DIGEST = re.compile(r"[0-9a-f]{16,64}")


def side_path(store: Store, base_id: str, name: str, checkpoint: str) -> Path:
    """Return where an array lies.

    Raises:
        SpecError: the name or digest could leave the folder.

    """
    if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(checkpoint):
        raise SpecError(f"'{name}' of checkpoint '{checkpoint}' cannot name an array", hint="a lower-case word and a hexadecimal digest")
    return store.root / "side" / base_id / f"{name}-{checkpoint[:16]}.npy"


def write_side(store: Store, base_id: str, name: str, checkpoint: str, values: NDArray[Any]) -> Path:
    """Write an array ``[rows, ...]`` for the rows of a base.

    Args:
        store: the store.
        base_id: of the base.
        name: of the array, for example ``embedding``.
        checkpoint: digest of what computed it; another checkpoint gives another file.
        values: one entry a row, numbers only.

    Raises:
        DataError: the number of rows is not the base's.

    """
    rows = store.base_manifest(base_id)["rows"]
    if len(values) != rows:
        raise DataError(f"{len(values)} entries for the {rows} rows of base {base_id}")
    path = side_path(store, base_id, name, checkpoint)
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values), allow_pickle=False)
    data = buffer.getvalue()
    sidecar = {"base": base_id, "name": name, "checkpoint": checkpoint, "bytes": len(data), "sha256": sha256_hex(data)}
    with store_lock(store.root):
        make_folder(path.parent)
        make_folder(store.tmp)
        write_atomic(path, data, store.tmp)
        write_atomic(path.with_suffix(".json"), seal(sidecar), store.tmp)
    return path


def read_side(store: Store, base_id: str, name: str, checkpoint: str) -> NDArray[Any] | None:
    """Return an array, mapped read-only, or None where this checkpoint has none yet.

    Raises:
        DataError: the array is damaged or belongs to another checkpoint.

    """
    path = side_path(store, base_id, name, checkpoint)
    if not path.with_suffix(".json").exists():
        return None
    sidecar = read_sealed(path.with_suffix(".json"))
    if (sidecar.get("base"), sidecar.get("checkpoint")) != (base_id, checkpoint):
        raise DataError("the array belongs to another base or checkpoint", file=str(path))
    if not path.exists() or path.stat().st_size != sidecar["bytes"] or sha256_file(path) != sidecar["sha256"]:
        raise DataError("the array is missing or damaged", file=str(path), hint="delete it; it is computed again")
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
