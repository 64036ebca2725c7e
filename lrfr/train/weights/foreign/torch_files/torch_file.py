"""Files of ``torch.save``, in its ZIP format and the one before it: a tree of plain data, and tensors when
they are asked for.

``torch.load`` is never called: it trusts what a stranger wrote. Bytes of tensors are read only for those that
are taken, each storage once, and never more than the file's budget.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import zipfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import opened
from lrfr.train.weights.foreign.torch_files.inert_pickle import read_pickle
from lrfr.train.weights.foreign.torch_files.inert_values import (
    ITEM_BYTES,
    Caps,
    Refused,
    StorageRef,
    TensorRef,
)

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_SHORT_RECORD = 64  # bytes of a record that says one word


class _Zip:
    """The format since torch 1.6: ``data.pkl``, and a record for each storage."""

    def __init__(self, file: BinaryIO, caps: Caps, size: int) -> None:
        self._archive = zipfile.ZipFile(file)
        infos = self._archive.infolist()
        if len(infos) > caps.entries:
            raise Refused(f"more than {caps.entries} records")
        if sum(info.file_size for info in infos) > caps.budget(size):
            raise Refused("its records unpack to more than the cap")
        self._infos = {info.filename: info for info in infos}
        places = [name for name in self._infos if name.rpartition("/")[2] == "data.pkl"]
        if not places:
            raise Refused("a ZIP archive without a data.pkl")
        self._folder = min(places, key=len).removesuffix("data.pkl")
        if any(name.startswith(f"{self._folder}code/") for name in self._infos):
            raise Refused(
                "a TorchScript archive, which is a program (lrfr eval --trust-code runs one that you trust)"
            )
        self.swapped = self._word("byteorder", b"little") != sys.byteorder.encode()
        if self._infos[f"{self._folder}data.pkl"].file_size > caps.pickle_bytes:
            raise Refused("its pickle is larger than the cap")
        self.root = read_pickle(self._record("data.pkl"), 0, caps).value

    def _record(self, name: str) -> bytes:
        info = self._infos.get(f"{self._folder}{name}")
        if info is None:
            raise Refused(f"the record {name[:80]} is missing")
        with self._archive.open(info) as record:
            return record.read(info.file_size)

    def _word(self, name: str, usual: bytes) -> bytes:
        info = self._infos.get(f"{self._folder}{name}")
        return self._record(name) if info and info.file_size <= _SHORT_RECORD else usual

    def storage(self, ref: StorageRef) -> bytes:
        """Return the bytes of a storage."""
        found = self._record(f"data/{ref.key}")
        if len(found) < ref.bytes:
            raise Refused(f"the storage {ref.key[:80]} has {len(found)} bytes of {ref.bytes}")
        return found[: ref.bytes]


class _Stream:
    """The format before: four pickles, the keys of the storages, then each storage after its length."""

    def __init__(self, data: mmap.mmap, caps: Caps) -> None:
        self._data = data
        magic = read_pickle(data, 0, caps)
        if magic.value != _MAGIC:
            raise Refused("it does not begin as torch.save writes; save a dictionary of tensors with it")
        protocol = read_pickle(data, magic.end, caps)
        if protocol.value != _PROTOCOL:
            raise Refused(f"another protocol of torch than {_PROTOCOL}")
        system = read_pickle(data, protocol.end, caps)
        little = not isinstance(system.value, dict) or bool(system.value.get("little_endian", True))
        self.swapped = little != (sys.byteorder == "little")
        found = read_pickle(data, system.end, caps)
        self.root = found.value
        keys = read_pickle(data, found.end, caps)
        if not isinstance(keys.value, list) or set(keys.value) != found.storages.keys():
            raise Refused("the list of its storages is not that of its tensors")
        self._places: dict[str, int] = {}
        at = keys.end
        for ref in (found.storages[key] for key in keys.value):
            if at + 8 > len(data) or struct.unpack_from("<q" if little else ">q", data, at)[0] != ref.count:
                raise Refused(f"the storage {ref.key[:80]} is not where it should be")
            self._places[ref.key] = at + 8
            at += 8 + ref.bytes
        if at > len(data):
            raise Refused("it ends early")

    def storage(self, ref: StorageRef) -> bytes:
        """Return the bytes of a storage."""
        place = self._places[ref.key]
        return self._data[place : place + ref.bytes]


class TorchFile:
    """An open file of ``torch.save``.

    Args:
        path: of the file.
        caps: what it may ask for.

    Attributes:
        root: what was saved: dictionaries, lists and scalars, ``TensorRef`` for tensors, inert stand-ins for
            everything else.

    Raises:
        SpecError: the file cannot be read.
        DataError: it is no such file, damaged, or asks for more than the caps.

    """

    def __init__(self, path: Path, caps: Caps | None = None) -> None:
        self.path, self._caps = path, caps or Caps()
        self._stack = ExitStack()
        self._storages: dict[str, Tensor] = {}
        try:
            self._form = self._open()
        except OSError as error:
            self.close()
            raise SpecError(f"cannot read: {error.strerror or error}", file=str(path)) from None
        except Exception as error:  # zipfile's and zlib's share no base
            self.close()
            raise self._fault(error) from None
        self.root: Any = self._form.root

    def _open(self) -> _Zip | _Stream:
        file = self._stack.enter_context(opened(self.path))
        size = os.fstat(file.fileno()).st_size
        self._left = self._caps.budget(size)
        head = file.read(512)
        if head[:2] == b"PK":
            return _Zip(file, self._caps, size)
        if head[257:262] == b"ustar":
            raise Refused("a tar archive, as torch wrote before 0.1.10: save it again with a later torch")
        if not head:
            raise Refused("the file has no bytes")
        return _Stream(
            self._stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), self._caps
        )

    def _fault(self, error: Exception) -> DataError:
        what = str(error) if isinstance(error, Refused | zipfile.BadZipFile) else type(error).__name__
        return DataError(
            f"not a file of torch.save that can be read: {what or type(error).__name__}",
            file=str(self.path),
            hint="it was not run",
        )

    def tensor(self, ref: TensorRef) -> Tensor:
        """Return a tensor of the file; those of one storage share memory.

        Raises:
            DataError: its bytes are missing or damaged, or more than the file's budget.

        """
        try:
            self._left -= ref.count * ITEM_BYTES[ref.dtype]
            if self._left < 0:
                raise Refused("its tensors unfold to more than the cap")
            raw = self._storage(ref.storage)
            whole = len(raw) // ITEM_BYTES[ref.dtype] * ITEM_BYTES[ref.dtype]
            flat = raw[:whole].view(getattr(torch, ref.dtype))
            return flat.as_strided(ref.shape, ref.strides, ref.offset)
        except OSError as error:
            raise SpecError(f"cannot read: {error.strerror or error}", file=str(self.path)) from None
        except Exception as error:
            raise self._fault(error) from None

    def _storage(self, ref: StorageRef) -> Tensor:
        """Return a storage's bytes, uint8 [N], in the order of this machine."""
        if ref.key not in self._storages:
            found = np.frombuffer(bytearray(self._form.storage(ref)), np.uint8)
            item = ITEM_BYTES[ref.dtype]
            if self._form.swapped and item > 1:
                found = found.reshape(-1, item)[:, ::-1].reshape(-1).copy()
            if ref.dtype == "bool":  # torch knows no other bytes than 0 and 1
                found = (found != 0).astype(np.uint8)
            self._storages[ref.key] = torch.from_numpy(found)
        return self._storages[ref.key]

    def close(self) -> None:
        """Close the file; tensors stay."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
