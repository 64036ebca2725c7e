"""Whatever a store goes through, it shows what a list of rows in plain Python says it must."""

import hashlib
import shutil
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from lrfr.core.errors import DataError
from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.pairs.test_growth import SPECS
from tests.pairs.toy import ToySource, fast_folder, ingest

PEOPLE, EACH = 8, 12


@dataclass(frozen=True)
class Chosen(ToySource):
    """Some toy faces, as (person, number)."""

    chosen: tuple = ()
    ids: int = PEOPLE
    per_id: int = EACH

    def faces(self):
        return [face for face in super().faces() if face.place in self.chosen]


@dataclass
class Model:
    """What a store must show: the faces of every view, and those that may not come back."""

    views: dict = field(default_factory=dict)
    forgotten: set = field(default_factory=set)


FACES = st.sets(st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, EACH - 1)), min_size=1, max_size=90)


def key(face):
    return f"id{face[0]:03d}/{face[1]}"


def make(root, view, faces, **options):
    return make_pairs(
        ingest(Chosen(chosen=tuple(sorted(faces)))),
        SPECS[:1] if not options else (),
        store=root,
        view=ViewOptions(view),
        options=MakeOptions(**options),
        runner=Runner("serial"),
    )


class Life(RuleBasedStateMachine):
    """Make, extend, forget, merge, join, collect; after each the store agrees with the model."""

    @initialize(faces=FACES)
    def start(self, faces):
        self.folder, self.ids, self.merged = fast_folder(), {}, 0
        self.root, self.model = self.folder / "s", Model()
        self.write("a", faces)

    def write(self, view, faces, **options):
        left = faces - self.model.forgotten
        if not left:
            with pytest.raises(DataError):
                make(self.root, view, faces, **options)
            return
        make(self.root, view, faces, **options)
        self.model.views[view] = left | (self.model.views.get(view, set()) if options else set())
        self.agree()

    @rule(view=st.sampled_from("ab"), faces=FACES)
    def make(self, view, faces):
        self.write(view, faces)

    @precondition(lambda self: "a" in self.model.views)
    @rule(faces=FACES)
    def extend(self, faces):
        self.write("a", faces, extend="a")

    @rule(faces=FACES, share=st.integers(1, 9))
    def forget_keys(self, faces, share):
        self.forget(set(sorted(faces)[:share]), {"keys": [key(face) for face in sorted(faces)[:share]]})

    @rule(person=st.integers(0, PEOPLE - 1))
    def forget_person(self, person):
        held = {face for face in self.stored() if face[0] == person}
        self.forget(held, {"ids": [f"id{person:03d}"]})

    def stored(self):
        store = Store(self.root)
        keys = {store.rows(base).key(row) for base in store.bases() for row in range(len(store.rows(base)))}
        return {(int(item[2:5]), int(item[6:])) for item in map(bytes.decode, keys)}

    def forget(self, faces, asked):
        gone = faces & self.stored()
        done = Store(self.root).forget(**asked)
        assert done.faces == len(gone)
        self.model.forgotten |= gone
        self.model.views = {name: held - gone for name, held in self.model.views.items() if held - gone}
        assert not gone & self.stored()
        self.agree()

    @rule(faces=FACES)
    def merge(self, faces):
        assume(not faces & self.model.forgotten)
        self.merged += 1
        other = self.folder / f"o{self.merged}"
        make(other, f"m{self.merged}", faces)
        Store(self.root).merge(other)
        self.model.views[f"m{self.merged}"] = faces
        self.agree()

    @precondition(lambda self: len(self.model.views) > 1)
    @rule()
    def join(self):
        names = sorted(self.model.views)[:3]
        self.merged += 1
        Store(self.root).join_views(names, f"j{self.merged}")
        self.model.views[f"j{self.merged}"] = set().union(*(self.model.views[name] for name in names))
        self.agree()

    @rule()
    def collect(self):
        store = Store(self.root)
        store.gc()
        assert self.stored() >= set().union(*self.model.views.values())
        assert store.gc().removed == ()
        self.agree()

    def agree(self):
        store = Store(self.root)
        assert store.views() == sorted(self.model.views) and verify(store, deep=True) == []
        for name, faces in self.model.views.items():
            dataset = PairDataset(store, name)
            keys = [dataset.key(place).decode() for place in range(len(dataset))]
            ordered = sorted(
                map(key, faces),
                key=lambda text: hashlib.blake2b(text.encode(), key=bytes(8), digest_size=16).digest(),
            )
            assert keys == ordered
            assert [dataset.label_names[label] for label in dataset.labels] == [text[:5] for text in keys]
            # the same faces have one id, whatever led to them
            assert self.ids.setdefault(frozenset(faces), dataset.digest) == dataset.digest
        assert len(set(self.ids.values())) == len(self.ids)

    def teardown(self):
        REGISTRY.clear()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)


# classes of their own: a mark on the common one would count for both
TestLife = type("ShortLife", (Life.TestCase,), {})
TestLife.settings = settings(
    max_examples=12,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
TestLongLife = pytest.mark.soak(type("LongLife", (Life.TestCase,), {}))
TestLongLife.settings = settings(
    max_examples=100, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck)
)
