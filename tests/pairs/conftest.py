"""Fixtures of the pair store's tests."""

import shutil

import pytest


@pytest.fixture
def folder():
    """A new folder in memory, removed afterwards; open shards are closed on both sides."""
    from lrfr.pairs.format.disk.lmdb_files import REGISTRY
    from tests.pairs.toy import fast_folder

    made = fast_folder()
    yield made
    REGISTRY.clear()
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def store(folder):
    """A finished toy store."""
    from tests.pairs.toy import build

    build(folder / "store")
    return folder / "store"
