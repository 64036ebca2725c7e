"""The hunt in small, with the suite: every format's good file is read, some forged ones are told, a store lives."""

import pytest

from lrfr.core.errors import LrfrError
from tests.hunt.cases import forged, lay, run_batch, warm
from tests.hunt.covered import Reach, within_functions
from tests.hunt.forging import RAW
from tests.hunt.life import lives
from tests.hunt.places import built, places
from tests.hunt.samples import Format, formats
from tests.pairs.toy import fast_folder

FORMATS = formats()


@pytest.fixture(scope="module", autouse=True)
def _warm():
    warm()


@pytest.fixture
def place():
    import shutil

    made = fast_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


# a measurement, a training and a recognizer take their time, which the hunt alone waits for
@pytest.mark.parametrize("kind", sorted(FORMATS.keys() - {"result", "resume", "model"}))
def test_a_good_file_is_read_and_forged_ones_are_read_or_told(kind, place):
    found = run_batch(FORMATS[kind], kind, range(1, 5), place)
    assert len(found) == 4
    assert [outcome for outcome in found if outcome.failed] == []


# what the hunt has found, once mended
MENDED = [("parquet", 1013), ("list", 1027), ("lfw list", 20032), ("pairs tsv", 20032)]
MENDED += [("source words", 100), ("source words", 3657), ("routes", 91)]
MENDED += [("list", 100260), ("align state", 101577), ("face cache", 100448), ("fit", 200177)]
MENDED += [("resume", 1796103735), ("model", 3000078)]


@pytest.mark.parametrize(("kind", "number"), MENDED)
def test_what_was_found_stays_mended(kind, number, place):
    (outcome,) = run_batch(FORMATS[kind], kind, [number], place)
    assert not outcome.failed, outcome


def test_a_store_lives(place):
    (outcome,) = lives(place / "life", 1, 1, steps=6)
    assert not outcome.failed, outcome.detail


def test_a_place_does_not_show(place):
    (outcome,) = places(place / "place", 1, 1)
    assert not outcome.failed, outcome.detail


def test_a_place_that_shows_is_found(place, monkeypatch):
    def leaky(source, root):
        built(source, root)
        (root / "views/name").write_text(source)

    monkeypatch.setattr("tests.hunt.places.built", leaky)
    (outcome,) = places(place / "place", 1, 1)
    assert outcome.failed and outcome.again == "python -m tests.hunt --case 'place:1'"


def _wants_memory(path):
    return bytearray(8 << 30)


def _raises(path):
    raise KeyError(path.name)


def _dies(path):
    import os

    os.kill(os.getpid(), 9)


def _litters(path):
    (path.parent.parent / "outside").touch()


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (_wants_memory, "takes memory"),
        (_raises, "KeyError"),
        (_dies, "ends the process (9)"),
        (_litters, "writes outside"),
        (lambda path: None, "read"),
    ],
)
def test_the_hunt_finds(read, what, place):
    form = Format(lambda: {"a": b"abc"}, read)
    found = run_batch(form, "x", range(3, 5), place)
    assert found[0].what == what and len(found) == 2


def test_a_reader_that_waits_is_found(place, monkeypatch):
    import time

    monkeypatch.setattr("tests.hunt.cases.SECONDS", 1)
    (outcome,) = run_batch(Format(lambda: {"a": b"abc"}, lambda path: time.sleep(30)), "x", [3], place)
    assert outcome.what == "waits" and outcome.again == "python -m tests.hunt --case 'x:3'"


TOY = """
def read(path):
    if path.name == "a":
        raise KeyError
    return None
"""


def test_what_a_batch_reaches_is_counted_in_the_child_that_reads(place):
    import runpy

    pytest.importorskip("coverage")
    (place / "seen").mkdir()
    (place / "code").mkdir()
    (place / "code/toy.py").write_text(TOY)
    read = runpy.run_path(str(place / "code/toy.py"))["read"]
    reach = Reach(place / "seen", ("code",), place)
    for name in ("b", "a"):  # the second batch of a kind is not watched
        with reach.batch("x"):
            run_batch(Format(lambda name=name: {name: b"abc"}, read), "x", [3], place / "forged")
    assert reach.told() == {
        "packages": {"code": {"reached": 2, "lines": 3}},
        "missed": {"code/toy.py": [4]},
    }


def test_lines_that_run_on_import_do_not_count():
    text = "import os\n\n\ndef f(\n    a=1,\n):\n    def g():\n        return 2\n\n    return g\n"
    assert within_functions(text) == {7, 8, 9, 10}


def test_a_number_is_a_case(place):
    form = FORMATS["png"]
    assert forged(form, 77) == forged(form, 77)
    assert len({forged(form, number)[1] for number in range(40)}) > 30
    assert lay(form, 5, place / "x").read_bytes() == forged(form, 5)[1]


def test_every_way_of_forging_changes_something():
    import random

    data = bytes(range(256)) * 8
    for forge in RAW:
        assert any(forge(data, random.Random(number)) != data for number in range(5)), forge.__name__


def test_a_lie_is_not_taken_for_an_error(place):
    with pytest.raises(LrfrError):
        FORMATS["png"].read(lay(Format(lambda: {"a.png": b"no picture"}, lambda path: None), 0, place / "x"))
