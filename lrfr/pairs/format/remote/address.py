"""Addresses of stores: what may be one, the file system behind it (fsspec), and reading it with patience."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lrfr.core.errors import DataError, EnvironmentFault, SpecError, missing_extra
from lrfr.core.files import sha256_file

T = TypeVar("T")

# what each kind of address needs besides fsspec
PACKAGES = {"file": "", "memory": "", "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs"}
TRIES, FIRST_WAIT_S = 4, 0.5
CONNECT_S, SILENCE_S = 20, 60
_FORM = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)", re.DOTALL)
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
# what no repetition mends
_FINAL = (IsADirectoryError, NotADirectoryError, ValueError)


def is_address(value: object) -> bool:
    """Return whether a text names a store elsewhere, and not a folder."""
    return isinstance(value, str) and "://" in value


@dataclass(frozen=True)
class Address:
    """The address of a store; it holds no credentials, which come from the environment.

    Attributes:
        url: without a slash at the end.

    Raises:
        SpecError: it is none of the kinds that are read, or has credentials or a query in it.

    """

    url: str

    def __post_init__(self) -> None:
        """Refuse what is no address of a store."""
        form = _FORM.fullmatch(self.url)
        if not form or form[1] not in PACKAGES:
            hint = f"a folder, or one of {', '.join(f'{kind}://' for kind in PACKAGES)}"
            raise SpecError(f"no address of a store: '{_plain(self.url)}'", hint=hint)
        if "@" in form[2].split("/")[0]:
            raise SpecError(
                f"the address '{_plain(self.url)}' holds credentials",
                hint="leave them out: they come from the environment, ~/.aws or ~/.netrc",
            )
        if re.search(r"[?#\s\x00-\x1f]|/\.\./|/\.\.$", self.url):
            raise SpecError(f"the address '{_plain(self.url)}' holds a query, a space or '..'")
        object.__setattr__(self, "url", f"{form[1]}://{form[2].rstrip('/')}")

    @property
    def kind(self) -> str:
        """The protocol."""
        return self.url.split("://")[0]

    def of(self, name: str) -> str:
        """Return the address of a file of the store.

        Raises:
            DataError: the name could leave the store.

        """
        return f"{self.url}/{checked_name(name)}"

    def files(self) -> Any:
        """Return the fsspec file system; it may not be kept, carried to a thread or across a fork.

        Raises:
            EnvironmentFault: a package is missing.

        """
        package = PACKAGES[self.kind]
        try:
            import fsspec

            if package:
                __import__(package)
            # listings that are remembered would hide what was written since
            return fsspec.filesystem(self.kind, **_options(self.kind))
        except ImportError:
            if self.kind == "gs":  # untested, so in no extra
                raise EnvironmentFault(
                    "this needs the package 'gcsfs'", hint="pip install 'lrfr[remote]' gcsfs"
                ) from None
            raise missing_extra(package or "fsspec", "remote") from None


def _options(kind: str) -> dict[str, object]:
    """Return how long to wait; fsspec's own tries stay as they are."""
    if kind in ("http", "https"):
        import aiohttp

        wait = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        return {"client_kwargs": {"timeout": wait, "trust_env": True}, "use_listings_cache": False}
    if kind == "s3":
        waits = {"connect_timeout": CONNECT_S, "read_timeout": SILENCE_S}
        return {"config_kwargs": waits, "use_listings_cache": False}
    return {}


def checked_name(name: str) -> str:
    """Return the name of a file of a store.

    Raises:
        DataError: it could leave the store.

    """
    if len(name) > 1000 or not all(map(_SEGMENT.fullmatch, name.split("/"))):
        raise DataError(f"no name of a file in a store: {name[:200]!r}")
    return name


def _plain(text: str) -> str:
    """Return text without what stands before an ``@`` or in a query: it may be a secret."""
    return re.sub(r"[?#]\S*", "?...", re.sub(r"(://)[^/\s@]*@", r"\1...@", text))[:300]


class TooLong(Exception):
    """More bytes came than were promised."""


def read_small(address: Address, name: str, most: int, tries: int = TRIES) -> bytes:
    """Return the bytes of a small file.

    Raises:
        FileNotFoundError: there is none.
        EnvironmentFault: it cannot be reached.
        DataError: it is larger than ``most``.

    """
    url = address.of(name)

    # a web server sends what it has in one go, and is not asked for the size first
    block = {"block_size": 0, "size": 1} if address.kind in ("http", "https") else {}

    def read() -> bytes:
        # one byte more than allowed tells that there is more
        with address.files().open(url, "rb", **block) as file:
            return bytes(file.read(most + 1))

    data = patiently(url, read, tries)
    if len(data) > most:
        raise DataError(f"larger than {most} bytes", file=url)
    return data


def download(address: Address, name: str, target: Path, most: int | None) -> str:
    """Write a file of a store to ``target``; return the sha256 of what came.

    Args:
        address: of the store.
        name: of the file in it.
        target: a temporary file.
        most: bytes that may come; None for tables whose size nobody wrote down, up to 64 GiB.

    Raises:
        DataError: it is not there, or longer than promised.
        EnvironmentFault: it cannot be reached, or the disk is full.

    """
    url, limit = address.of(name), (1 << 36) if most is None else most

    def fetch() -> str:
        from fsspec.callbacks import Callback

        class Capped(Callback):  # type: ignore[misc]  # fsspec has no types
            def call(self, *args: object, **more: object) -> None:
                if self.value > limit:
                    raise TooLong

        address.files().get_file(url, str(target), callback=Capped())
        return sha256_file(target)

    try:
        return patiently(url, fetch)
    except TooLong:
        raise DataError(f"more than the {limit} bytes that were written", file=url) from None
    except FileNotFoundError:
        raise DataError("the file is not there", file=url, hint="copy the store again") from None


def patiently(url: str, work: Callable[[], T], tries: int = TRIES) -> T:
    """Return the result of some work, tried again with growing waits while the network fails.

    Raises:
        FileNotFoundError: there is no such file.
        EnvironmentFault: it went wrong every time, or access is denied.

    """
    for attempt in range(1, tries + 1):
        try:
            return work()
        except (TooLong, EnvironmentFault, FileNotFoundError):
            raise
        except Exception as error:  # each library behind fsspec has its own
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise  # of this disk: whoever writes here says so
            status = getattr(error, "status", None) or 0
            if status in (404, 410):
                raise FileNotFoundError(url) from None
            denied = isinstance(error, PermissionError) or status in (401, 403)
            if attempt == tries or denied or isinstance(error, _FINAL):
                hint = "look at the credentials in the environment" if denied else "what is cached is read"
                raise EnvironmentFault(f"cannot be reached: {_told(error)}", file=url, hint=hint) from None
        # apart from those that failed at the same moment
        time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1) * (0.75 + threading.get_ident() % 97 / 194))
    raise AssertionError


def _told(error: BaseException) -> str:
    text = _plain(str(error).splitlines()[0]) if str(error) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
