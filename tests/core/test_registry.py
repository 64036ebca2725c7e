"""The one table type: names, plug-ins, help without importing, and errors that name the nearest."""

import dataclasses
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from lrfr.core.errors import EnvironmentFault, SpecError
from lrfr.core.registry import Registry, first_sentence


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module on the path that remembers whether it was imported."""
    (tmp_path / "toy_plugin.py").write_text(
        'class Square:\n    """Squares a thing. And more.\n\n    Details."""\n\n\nclass Round:\n    help = "x"\n'
    )
    (tmp_path / "broken_plugin.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = EntryPoints(
        [
            EntryPoint("square", "toy_plugin:Square", "lrfr.toys"),
            EntryPoint("broken", "broken_plugin:Thing", "lrfr.toys"),
            EntryPoint("own", "toy_plugin:Round", "lrfr.toys"),
        ]
    )
    monkeypatch.setattr("lrfr.core.registry.entry_points", lambda group: points.select(group=group))
    yield
    sys.modules.pop("toy_plugin", None)


def table() -> Registry[object]:
    return Registry("toy", "lrfr.toys", {"own": int, "late": "fractions:Fraction"})


def test_own_names_come_first_and_win_over_plugins(package):
    toys = table()
    assert toys.names() == ["own", "late", "broken", "square"]
    assert list(toys) == toys.names() and len(toys) == 4
    assert toys["own"] is int and not toys.is_plugin("own") and toys.is_plugin("square")


def test_help_is_read_without_importing(package):
    toys = table()
    assert toys.help("square") == "Squares a thing"
    assert "toy_plugin" not in sys.modules
    assert toys.help("late").startswith("This class implements rational numbers")
    assert toys["square"].__name__ == "Square" and "toy_plugin" in sys.modules


def test_a_late_entry_is_the_thing_itself():
    from fractions import Fraction

    assert table()["late"] is Fraction


def test_unknown_and_broken_names_are_typed_errors(package):
    toys = table()
    with pytest.raises(SpecError, match="did you mean 'square'"):
        toys["sqare"]
    with pytest.raises(EnvironmentFault, match="'broken' of 'broken_plugin:Thing' cannot be imported"):
        toys["broken"]
    assert "broken" in toys and "sqare" not in toys and toys.get("own") is int


def test_register_adds_once():
    toys = table()

    @toys.register("new")
    class New:
        """Newly added."""

    assert toys["new"] is New and toys.help("new") == "Newly added"
    with pytest.raises(SpecError, match="there is a toy 'new' already"):
        toys.register("new", int)
    toys.unregister("new")
    assert "new" not in toys


def test_a_plugin_whose_name_is_taken_is_named(package, monkeypatch):
    assert table().shadowed() == ["the toy 'own' of 'toy_plugin:Round' is hidden by lrfr's own"]
    twice = EntryPoints(
        [
            EntryPoint("square", "second:Square", "lrfr.toys"),
            EntryPoint("square", "first:Square", "lrfr.toys"),
        ]
    )
    for points in (twice, EntryPoints(reversed([*twice]))):  # the order of installation decides nothing
        monkeypatch.setattr("lrfr.core.registry.entry_points", lambda group, points=points: points)
        assert table().shadowed() == [
            "the toy 'square' of 'second:Square' is hidden by that of 'first:Square'"
        ]


def test_a_signature_or_a_bases_words_are_no_help():
    @dataclasses.dataclass
    class Plain:
        size: int = 3

    class Base:
        """What all have in common."""

    class Silent(Base):
        pass

    toys = table()
    toys.register("plain", Plain)
    toys.register("silent", Silent)
    toys.register("base", Base)
    assert [toys.help(name) for name in ("plain", "silent", "base")] == ["", "", "What all have in common"]


def test_first_sentence():
    assert first_sentence("One thing\nover lines. Two.\n\nMore.") == "One thing over lines"
    assert first_sentence("No end.") == "No end"
