"""Arrays of somebody else's: whatever stands in a header or an archive is told, and nothing unfolds without end."""

import io
import struct
import zipfile

import numpy as np
import pytest

from lrfr.core.errors import DataError
from lrfr.pairs.format.disk.array_file import arrays_of, map_array

HEADERS = {
    "a bracket that never closes": b"{'descr': ((",
    "a text that never closes": b"{'descr': '''<f4",
    "brackets without end": b"(" * 9000,
    "signs without end": b"-" * 9000 + b"1",
    "lines that step back": b"if x:\n    a\n  b\n",
    "a type that is no Python": b"{'descr': 'f4,f4,(3', 'fortran_order': False, 'shape': (1,)}",
    "a side beyond all": b"{'descr': '|u1', 'fortran_order': False, 'shape': (0,99999999999999999999999,)}",
    "values of no bytes": b"{'descr': '|V0', 'fortran_order': False, 'shape': (99999999999999999999,)}",
    "two sides below nothing": b"{'descr': '|u1', 'fortran_order': False, 'shape': (0, -1, -4)}",
    "more sides than there are": b"{'descr': '|u1', 'fortran_order': False, 'shape': (0,"
    + b"1," * 70
    + b")}",
    "more than follows": b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}",
}


def _npy(header):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.filterwarnings("ignore:Reading")
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_none_is_an_error_of_its_file(header, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(_npy(header))
    with pytest.raises(DataError, match=r"a\.npy: not an array"):
        map_array(path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.npy", _npy(header))
    with pytest.raises(DataError, match=r"b\.npz: not arrays"):
        arrays_of(packed, "b.npz")


def test_an_archive_gives_its_arrays_and_unfolds_no_further_than_it_may():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    plain, packed, bomb = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(plain, a=values, b=values[0])
    np.savez_compressed(packed, a=np.zeros(2000, np.uint8))
    np.savez_compressed(bomb, a=np.zeros(10**6, np.uint8))
    found = arrays_of(plain, "x")
    assert found.keys() == {"a", "b"} and np.array_equal(found["a"], values)
    assert arrays_of(packed, "x", growth=16)["a"].shape == (2000,)
    for many in (1, 16):
        with pytest.raises(DataError, match="unfold"):
            arrays_of(bomb, "x", growth=many)
    whole = bytearray(packed.getvalue())
    whole[60:80] = bytes(20)
    for other in (bytes(whole), b"", plain.getvalue()[:-30]):
        with pytest.raises(DataError, match="not arrays"):
            arrays_of(io.BytesIO(other), "x", growth=16)["a"]
