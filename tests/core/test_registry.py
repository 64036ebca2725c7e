"""The one table type: names, plug-ins, help without importing, and errors that name the nearest."""

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


def test_first_sentence():
    assert first_sentence("One thing\nover lines. Two.\n\nMore.") == "One thing over lines"
    assert first_sentence("No end.") == "No end"
