"""Checking a store at an address: every byte of its views is read there once, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lrfr.core.errors import LrfrError, SpecError
from lrfr.core.files import discard, make_folder, temp_name
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.care.verify import Finding
from lrfr.pairs.format.remote.mirror import Mirror
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.reading.view_files import Needed, view_folders, view_masks

_THREADS = 8


def verify_address(
    store: StoreFiles, mirror: Mirror, deep: bool = False, hooks: Hooks = SILENT
) -> list[Finding]:
    """Return what is wrong with the files of all views; the small files were checked when the store was
    opened.

    Raises:
        SpecError: ``deep`` needs the files here.

    """
    if deep:
        hint = "lrfr store copy, then verify --deep"
        raise SpecError("--deep reads every record, which needs a copy", file=mirror.address.url, hint=hint)
    findings, items = [], list(_items(store))
    make_folder(mirror.cache.root / "tmp")

    def check(item: Needed) -> Finding | None:
        scratch = temp_name(mirror.cache.root / "tmp", "verify")
        try:
            mirror.download(mirror.root / item.path, item.bytes, item.sha256, scratch)
            return None
        except LrfrError as error:
            return Finding.of(error)
        finally:
            discard(scratch)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="lrfr-verify") as pool:
        for number, found in enumerate(pool.map(check, items), 1):
            findings += [found] if found else []
            hooks.progress(number, len(items), phase="verify")
    return findings


def _items(store: StoreFiles) -> Iterator[Needed]:
    names = store.views()
    for folder in view_folders(store, names):
        yield from folder.files
    yield from dict.fromkeys(item for name in names for item in view_masks(store, name))
