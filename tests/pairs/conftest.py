"""Fixtures of the pair store's tests."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folder():
    """A new folder in memory, removed afterwards; open shards are closed on both sides."""
    from toy import fast_folder

    from lrfr.pairs.registry import REGISTRY

    made = fast_folder()
    yield made
    REGISTRY.clear()
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def store(folder):
    """A finished toy store."""
    from toy import build

    build(folder / "store")
    return folder / "store"
