"""The entry point: lazy, quick, helpful, and every error ends in its exit code."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lrfr.cli import main
from lrfr.cli.output import Output, command
from lrfr.core import errors, progress

HEAVY = ("torch", "ray", "scipy", "albumentations", "cv2", "matplotlib", "numpy")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom lrfr.cli.main import run\nassert run(['--help']) == 0\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\nassert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Commands:" in done.stdout


# listing: what it must not load besides torch
LISTS = {
    "doctor": (),
    "eval --list": ("cv2", "scipy"),
    "eval ls": ("cv2", "scipy"),
    "table": ("numpy", "cv2"),
    "presets ls": ("cv2",),
    "train ls": ("numpy", "cv2"),
    "store ls": ("cv2",),
    "detectors ls": (),
    "make-pairs --list-sources": ("cv2",),
    "experiment demo --plan": (),
}


@pytest.mark.parametrize("words", LISTS)
def test_no_listing_imports_what_is_heavy(words, tmp_path):
    (tmp_path / "store" / "views").mkdir(parents=True)
    code = (
        f"import sys\nfrom lrfr.cli.main import run\ncode = run({words.split()!r})\nassert code == 0, code\n"
        f"loaded = {{'torch', *{LISTS[words]!r}}} & set(sys.modules)\nassert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_help_lists_every_command(lrfr):
    code, out, _ = lrfr("--help")
    assert code == 0
    for name in main.COMMANDS:
        assert re.search(rf"^  {re.escape(name)}\s", out, re.M), name


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_command_has_help_with_an_example_and_json(lrfr, name):
    code, out, err = lrfr(name, "--help")
    assert code == 0, err
    assert f"lrfr {name}" in out.split("Options:")[0].replace("Usage:", "", 1), "no example in the help"
    module, attribute, _ = main.COMMANDS[name]
    found = getattr(importlib.import_module(module), attribute)
    leaves = list(found.commands.values()) if isinstance(found, click.Group) else [found]
    for leaf in leaves:
        assert any("--json" in parameter.opts for parameter in leaf.params), f"{name} {leaf.name}: no --json"


def test_unknown_command_suggests_the_nearest(lrfr):
    code, out, err = lrfr("docter")
    assert code == 2 and out == ""
    assert "Did you mean 'doctor'?" in err and "Traceback" not in err


def test_a_wrong_call_says_where_help_is_and_no_call_is_no_error(lrfr):
    code, _, err = lrfr("make-pairs", "my_faces")
    assert code == 2 and "extra argument (my_faces) (lrfr make-pairs --help shows what it takes)" in err
    for words in ((), ("store",)):
        _, out, err = lrfr(*words)
        assert "Commands:" in out + err and "error:" not in out + err


ERRORS = {
    errors.SpecError: 2,
    errors.DataError: 3,
    errors.LockedError: 4,
    errors.EnvironmentFault: 5,
    errors.NumericFault: 6,
    KeyboardInterrupt: 130,
    progress.Terminated: 143,
    PermissionError: 5,
    ZeroDivisionError: 1,
}


@pytest.mark.parametrize(("kind", "code"), ERRORS.items())
@pytest.mark.parametrize("as_json", [False, True])
def test_each_error_has_its_exit_code_and_one_message(lrfr, monkeypatch, kind, code, as_json):
    @command("boom")
    def boom(out: Output):
        raise kind("went wrong")

    module = type(sys)("boom_module")
    module.boom = boom
    monkeypatch.setitem(sys.modules, "boom_module", module)
    monkeypatch.setitem(main.COMMANDS, "boom", ("boom_module", "boom", ""))
    got, out, err = lrfr("boom", *(["--json"] if as_json else []))
    assert got == code
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err
    if as_json:
        answer = json.loads(out)
        assert answer["ok"] is False and answer["code"] == code and answer["error"]["message"]
    else:
        assert out == ""


def test_doctor_answers_one_json_object(lrfr):
    code, out, _ = lrfr("doctor", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["ok"] and answer["result"]["versions"]["numpy"]
    assert all(row["get"].startswith("pip install") for row in answer["result"]["missing"])


def test_doctor_names_plug_ins_that_cannot_be_reached(lrfr, tmp_path, monkeypatch):
    info = tmp_path / "other_faces-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-faces\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lrfr.sources]\nfolder = other_faces:Folder\n")
    monkeypatch.syspath_prepend(tmp_path)
    sentence = "the source 'folder' of 'other-faces' is hidden by lrfr's own"
    code, out, _ = lrfr("doctor")
    assert code == 0 and f"plug-in: {sentence}" in out
    assert json.loads(lrfr("doctor", "--json")[1])["result"]["hidden_plugins"] == [sentence]


def test_old_spellings_of_options_are_taken_and_never_shown(lrfr):
    plan = ["make-pairs", "--source", "synthetic:ids=2,per_id=2", "--plan", "--json"]
    assert lrfr(*plan, "--colour", "bgr")[0] == 0 and "colour" not in lrfr("make-pairs", "--help")[1]
    code, _, err = lrfr(*plan[:-1], "--colour=none")
    assert code == 2 and "--color" in err
    code, _, err = lrfr("export", "nowhere", "--licence", "ours")
    assert code != 0 and "licence" not in err


def test_no_command_calls_another():
    """A command parses, calls the library and prints; what two commands need lies in a lower room."""
    room = Path(main.__file__).parent
    wrong = re.compile(r"\.callback\b|ctx\.invoke|ctx\.forward|context\.invoke")
    assert not [path for path in room.rglob("*.py") if wrong.search(path.read_text("utf-8"))]


def test_commands_compute_nothing():
    room = Path(main.__file__).parent
    heavy = re.compile(r"^\s*(import|from) (numpy|torch|cv2|scipy|lmdb)\b", re.M)
    assert not [path for path in room.rglob("*.py") if heavy.search(path.read_text("utf-8"))]


def test_the_room_stays_thin():
    """It grows by commands only: so many lines for each, options and help with them."""

    def count(command, context):
        if not isinstance(command, click.Group):
            return 1
        found = (command.get_command(context, name) for name in command.list_commands(context))
        return sum(count(each, click.Context(each, parent=context)) for each in found)

    room = Path(main.__file__).parent
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in room.rglob("*.py"))
    assert lines <= 56 * count(main.cli, click.Context(main.cli))


def test_doctor_says_how_to_get_what_is_missing(lrfr, monkeypatch):
    from lrfr.cli import doctor

    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "onnx" else real(name))
    code, out, _ = lrfr("doctor")
    assert code == 0 and "missing onnx: pip install 'lrfr[onnx]'" in out


def test_progress_of_a_resumed_run_counts_only_its_own_work(monkeypatch, capsys):
    from lrfr.cli import output

    clock = iter([0.0, 0.0, 100.0, 100.0, 110.0, 110.0, 120.0, 120.0]).__next__
    monkeypatch.setattr(output.time, "monotonic", clock)
    with output.Output(False).progress("run", "step") as advance:
        for done in (900, 900, 920):
            advance(done, 1000)
    assert capsys.readouterr().err.splitlines() == ["run: 920/1000, 1 step/s, ETA 80 s"]


def shell(line, folder, **environment):
    """Run a line of bash in which ``$LRFR`` is the command, as a person would."""
    environment = {**os.environ, "LRFR": f"{sys.executable} -m lrfr", **environment}
    environment["PYTHONPATH"] = str(Path(main.__file__).parents[2])
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


STREAMS = {
    "a full disk": ("$LRFR presets ls > /dev/full", 5, "error: standard output: No space left on device\n"),
    "help, full": ("$LRFR --help > /dev/full", 5, "error: No space left on device\n"),
    "closed": ("$LRFR init mine.yaml >&-", 0, ""),
    "no reader": ("$LRFR presets ls | exec true; exit ${PIPESTATUS[0]}", 0, ""),
    "no reader of help": ("$LRFR --help | exec true; exit ${PIPESTATUS[0]}", 0, ""),
    "an error nobody reads": ("$LRFR docter 2>/dev/full", 2, ""),
    "all closed": ("$LRFR spec check nothing <&- >&- 2>&-", 2, ""),
    "an error nobody takes": ("$LRFR docter --json >/dev/full 2>/dev/null", 2, ""),
}


@pytest.mark.parametrize("case", STREAMS)
def test_streams_that_are_full_closed_or_left(case, tmp_path):
    line, code, err = STREAMS[case]
    done = shell(line, tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (code, err, "")
    assert (tmp_path / "mine.yaml").exists() == (case == "closed")


def test_no_file_is_opened_under_the_number_of_a_closed_stream():
    code = "import os; from lrfr.cli.standard_streams import open_streams; open_streams(); print('x')\n"
    code += "f = open('/dev/null'); assert f.fileno() > 2, f.fileno()"
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{code}" <&- >&- 2>&-'], check=False)
    assert done.returncode == 0


def test_names_that_the_encoding_lacks_are_shown_as_escapes(tmp_path):
    line = "$LRFR spec check $'caf\\xe9' ; $LRFR spec check $'caf\\xe9' --json 2>/dev/null"
    for encoding in ("utf-8", "ascii"):
        done = shell(line, tmp_path, PYTHONIOENCODING=encoding)
        assert done.returncode == 2 and "no such file" in done.stderr and "bug" not in done.stderr
        assert json.loads(done.stdout)["code"] == 2


@pytest.mark.parametrize("name", ["n" * 5000, "a\nb\x1b[2J", "a\0b", "", "9" * 5000])
def test_names_of_any_shape_end_in_one_short_line(lrfr, name):
    for words in (
        ("spec", "check", name),
        ("make-pairs", "--source", name),
        ("make-pairs", "--view", name, "--source", "synthetic:ids=2,per_id=2", "--spec", "fskd", "--plan"),
        ("train", "baseline", "--view", name),
        ("eval", name, "--benchmark", "synthetic"),
        ("eval", "--benchmark", name),
        ("report", name),
        ("table", name),
        ("reproduce", name),
        *([] if "\n" in name else [("demo", "--folder", name), ("make-pairs", "--store", name)]),
    ):
        code, out, err = lrfr(*words, "--json")
        assert code in {2, 3}, (words[0], code, err[:200])
        assert json.loads(out)["code"] == code
        last = err.strip().splitlines()[-1]
        assert last.startswith("error: ") and len(last) < 1200 and "\x1b" not in err, (words[0], last[:200])
        assert len(err.strip().splitlines()) <= 1 + ("Usage: " in err)


class Gone:
    """A body of a command that ends otherwise than by an error of ours."""

    def __init__(self, error):
        self.error = error

    def __call__(self, out):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(0)])
def test_what_looks_like_an_end_in_peace_is_none(lrfr, monkeypatch, error):
    module = type(sys)("gone_module")
    body = Gone(error)
    body.__name__ = body.__doc__ = "gone"
    module.gone = command("gone")(body)
    monkeypatch.setitem(sys.modules, "gone_module", module)
    monkeypatch.setitem(main.COMMANDS, "gone", ("gone_module", "gone", ""))
    code, out, err = lrfr("gone", "--json")
    assert code == 5 and json.loads(out)["code"] == 5 and err.startswith("error: ")


def test_a_bug_is_told_where_no_temporary_file_can_be_written(lrfr, monkeypatch):
    module = type(sys)("boom_module")
    body = Gone(ZeroDivisionError("went wrong"))
    body.__name__ = body.__doc__ = "boom"
    module.boom = command("boom")(body)
    monkeypatch.setitem(sys.modules, "boom_module", module)
    monkeypatch.setitem(main.COMMANDS, "boom", ("boom_module", "boom", ""))
    monkeypatch.setattr(main.tempfile, "mkstemp", Gone(FileNotFoundError(2, "No usable temporary directory")))
    monkeypatch.setattr(Gone, "__call__", lambda self, *_, **__: (_ for _ in ()).throw(self.error))
    code, out, err = lrfr("boom", "--json")
    assert code == 1 and "went wrong" in err and json.loads(out)["error"]["file"] is None


def test_what_a_command_says_moves_no_cursor(capsys):
    from lrfr.cli import output

    output.Output(False).table(["model"], [["a\x1b[31m\x07\rb"], ["é"]])
    said = capsys.readouterr().out
    assert r"a\x1b[31m\x07\rb" in said and "é" in said and not {"\x1b", "\x07", "\r"} & set(said)
