"""One small store for the room's tests, networks that train in a blink, and one thread."""

import pytest
import torch

from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.reading.dataset import PairDataset
from tests.train.worlds import Worlds

# six steps of sixteen faces; milestones away, so that every step learns
FAST = [
    "train.unit=step",
    "train.length=6",
    "train.milestones=[]",
    "train.batch_size=16",
    "train.threads=1",
    "train.save_every=2",
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("train-store")
    make_pairs("synthetic:ids=8,per_id=6,seed=3", "fskd", store=path)
    return path


@pytest.fixture(scope="session")
def dataset(store):
    return PairDataset(store, "default")


@pytest.fixture(scope="session")
def warm_worlds(tmp_path_factory):
    made = Worlds(tmp_path_factory.mktemp("worlds"))
    yield made
    made.close()
