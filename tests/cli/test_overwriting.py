"""No command writes over what it reads."""

import click
import pytest

from lrfr.cli.overwriting import OUTPUTS
from tests.cli.every_command import every_command


def _cases():
    """Every command with an output and something that it reads."""
    for words, command in every_command().items():
        paths = [param for param in command.params if isinstance(param.type, click.Path)]
        outputs = [param for param in paths if {*param.opts} & {*OUTPUTS}]
        inputs = [
            param
            for param in paths
            if param not in outputs and param.expose_value and param.name not in {"runs", "sheet"}
        ]
        for out in outputs:
            for read in inputs:
                yield pytest.param(words, out, read, id=f"{' '.join(words)} {out.opts[0]} {read.name}")


CASES = list(_cases())


@pytest.mark.parametrize(("words", "out", "read"), CASES)
def test_an_output_that_is_an_input_is_refused(words, out, read, lrfr, tmp_path):
    is_folder = not out.type.file_okay or not read.type.file_okay
    place = tmp_path / "place.html"
    if is_folder:
        place.mkdir()
        (place / "kept").write_text("kept")
    else:
        place.write_text("kept")
    given = [read.opts[0], str(place)] if isinstance(read, click.Option) else [str(place)]
    needed = [
        word for param in _required(words) if param not in (out, read) for word in _some(param, tmp_path)
    ]
    code, _, err = lrfr(*words, *given, out.opts[0], str(place), *needed)
    assert code == 2, err
    assert "Traceback" not in err
    assert (place / "kept" if is_folder else place).read_text() == "kept"
    assert "would take the place of an input" in err or "Usage" in err or "error" in err


def _required(words):
    return [param for param in every_command()[words].params if param.required]


def _some(param, folder):
    if isinstance(param.type, click.Choice):
        value = param.type.choices[0]
    else:
        value = str(folder)
    return [param.opts[0], value] if isinstance(param, click.Option) else [value]


@pytest.mark.parametrize("option", ["--ids", "--exclude-ids", "--exclude-keys", "--split-file"])
def test_a_list_of_names_is_not_overwritten_by_a_sheet(option, lrfr, tmp_path):
    (tmp_path / "names").write_text("kept\n")
    code, _, err = lrfr("make-pairs", "--plan", option, "names", "--sheet", "../" + tmp_path.name + "/names")
    assert code == 2 and "would take the place of an input" in err
    assert (tmp_path / "names").read_text() == "kept\n"


def test_there_are_such_commands():
    assert len(CASES) >= 12


@pytest.mark.parametrize("place", ["views/default.json", "base/x.json", "run.log", "reports/default.json"])
def test_no_output_lies_among_what_a_store_holds(place, lrfr, tmp_path):
    (tmp_path / "store" / "views").mkdir(parents=True)
    code, _, err = lrfr("store", "card", "--store", "store", "--out", f"store/{place}")
    assert code == 2 and "would lie among" in err
