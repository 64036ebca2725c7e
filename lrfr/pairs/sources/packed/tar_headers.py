"""Reading the headers of a tar: what is plain at once, all else as Python's tarfile does."""

from __future__ import annotations

import re
import tarfile
import zlib

# octal numbers as every tar of today writes them: mode, owner and group, size, time, checksum, kind
_NUMBERS = re.compile(rb"(?:[0-7]{7}\0){3}([0-7]{11})[\0 ][0-7]{11}[\0 ]([0-7]{6})\0 ([0x])")
_DEVICES = re.compile(rb"(?:[0-7]{7}\0){2}|\0{16}")
_MAGIC = (b"ustar\x0000", b"ustar  \0")


class PlainInfo(tarfile.TarInfo):
    """A header of which only name, kind and size are read where it is a plain file's or an extended one."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> PlainInfo:
        """Read one block of 512 bytes."""
        numbers = _NUMBERS.match(buf, 100)
        if (
            numbers is None
            or len(buf) != tarfile.BLOCKSIZE
            or not buf.isascii()
            or not buf.startswith(_MAGIC, 257)
            or not _DEVICES.match(buf, 329)
        ):
            return super().frombuf(buf, encoding, errors)
        # of ASCII the sum is too small to wrap, so the low half of adler32 is the sum of the bytes, and one
        total = (zlib.adler32(buf) & 0xFFFF) - 1 - sum(buf[148:156]) + 8 * ord(" ")
        if total != int(numbers[2], 8):
            return super().frombuf(buf, encoding, errors)
        header = cls()
        header.name, header.size, header.type = _text(buf[:100]), int(numbers[1], 8), bytes(numbers[3])
        header.chksum = total
        prefix = _text(buf[345:500])
        header.name = f"{prefix}/{header.name}" if prefix else header.name
        return header


def _text(field: bytes | bytearray) -> str:
    return field.partition(b"\0")[0].decode("ascii")
