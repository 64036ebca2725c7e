"""Every kind of file that lrfr reads back, in place of each a forged one: the reader says what is wrong in an error
of its own, or passes over what only saves time. None waits, none takes memory, none fails otherwise.
"""

import ast
import json
import os
import resource
import signal
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from lrfr.core.errors import LrfrError
from lrfr.core.files import data_of, json_of, parsed, read_sealed, seal, sha256_file

ROOT = Path(__file__).resolve().parent.parent


def _results(path):
    from lrfr.eval.result_files import read_results

    return read_results([path])


def _manifest(module, name):
    def read(path):
        from importlib import import_module

        return getattr(import_module(f"lrfr.pairs.{module}"), name).read(path)

    return read


def _run_record(path):
    from lrfr.train.engine.run_record import RunRecord

    return RunRecord.read(path.parent)


def _checkpoint(path):
    from lrfr.train.checkpoint import read_manifest

    return read_manifest(path.parent)


def _journal(path):
    from lrfr.train.engine.journal import loss_trace

    assert loss_trace(path) == []


def _routes(path):
    from lrfr.train.weights.routes.router import read_routes

    return read_routes(path.parent)


def _fit_record(path):
    from lrfr.fit.fit_record import read_reference

    return read_reference(path.parent.with_suffix(".yaml"))


def _align_state(path):
    from lrfr.pairs.align.align_state import AlignState

    assert AlignState(path.parent).rows == {}


def _scan_cache(path):
    from lrfr.pairs.build.look.scan_cache import ScanCache

    with ScanCache(path) as cache:
        assert len(cache) == 0


def _face_cache(path):
    from lrfr.pairs.build.look.face_cache import FaceCache

    assert len(FaceCache(path)) == 0


def _run_log(path):
    from lrfr.pairs.executors.run_log import _last_begun

    assert _last_begun(path) == ""


def _step_record(path):
    from lrfr.experiment.steps.command_plan import Step
    from lrfr.experiment.steps.runner import StepRunner

    runner = StepRunner(path.parent.parent)
    assert not runner.done(Step(path.stem, ("x",)), "x")


def _quickstart(path):
    from lrfr.experiment.first_hour.quickstart import _begun

    _begun(path.parent)


def _bank(path):
    from lrfr.fit.infer.bank import read_chunk

    assert read_chunk(path, 1, 9) is None


def _clean_faces(path):
    import numpy as np

    from lrfr.fit.look.clean_faces import _holds

    assert not _holds(path, np.zeros((1, 4, 4, 3), np.uint8))


def _pairs_read(path):
    from lrfr.experiment.steps.savings import _pairs_read

    assert _pairs_read(path.parent) == 0


def _refused(path):
    from lrfr.pairs.care.view_summary import _refused

    return _refused(path)


def _lock(path):
    from lrfr.core.lock import store_lock

    with store_lock(path.parent):
        pass


# kind: (path below a folder, reader, whether it may give something)
KINDS = {
    "base manifest": ("base/0123456789abcdef/manifest.json", _manifest("format.manifests", "BaseManifest")),
    "variant manifest": (
        "lr/0123456789abcdef/manifest.json",
        _manifest("format.manifests", "VariantManifest"),
    ),
    "sidecar": ("base/0123456789abcdef/hr-00000.json", _manifest("format.manifests", "Sidecar")),
    "view": ("views/default.json", _manifest("format.view_manifest", "View")),
    "report on sources": ("reports/default.json", _manifest("format.view_manifest", "SourceReport")),
    "act of forgetting": ("forgotten/x.json", _manifest("format.view_manifest", "Forgetting")),
    "column": ("columns/b/c/manifest.json", _manifest("columns.column_manifest", "ColumnManifest")),
    "refused faces": ("reports/default.quarantine.jsonl", _refused),
    "scan cache": ("cache/scan-0.bin", _scan_cache),
    "face cache": ("cache/faces-0.jsonl", _face_cache),
    "run.log": ("run.log", _run_log),
    "lock": (".lock", _lock),
    "run.json": ("runs/a/run.json", _run_record),
    "run.json of savings": ("runs/a/run.json", _pairs_read),
    "journal": ("runs/a/journal.jsonl", _journal),
    "checkpoint": ("step-1/manifest.json", _checkpoint),
    "result": ("results/a.json", _results),
    "state of align": (".align.jsonl", _align_state),
    "routes": ("runs/a/routes.json", _routes),
    "record of a fit": ("camera.fit/record.json", _fit_record),
    "simulated faces of a fit": ("camera.fit/bank/bank-0-000000.faces", _bank),
    "clean faces of a fit": ("camera.fit/bank/faces-0.npy", _clean_faces),
    "what a quickstart was asked for": ("quickstart/quickstart.json", _quickstart),
    "step of an experiment": ("steps/pairs-a.json", _step_record),
}


def _write(data):
    return lambda path: path.write_bytes(data)


def _sparse(path):
    with path.open("wb") as handle:
        handle.truncate(5 << 30)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made, _inside(path.parent):
        made.bind(path.name)  # a path may have 107 bytes


@contextmanager
def _inside(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


_VALUES = {
    "null": None,
    "true": True,
    "[1]": [1],
    "[]": [],
    "{}": {},
    "text": "x",
    "2^63": 2**63,
    "-1": -1,
    "kind of lists": {"format": [], "layout": {}, "kind": [1], "schema": [2]},
    "schema 1": {"schema": 1, "identity": None},
    "schema 2": {"schema": 2, "identity": [1], "recipe": 3, "files": 4},
    "files": {"schema": 1, "identity": {}, "files": {"../x": {"bytes": 2**63, "sha256": 3}}},
    "results of null": {"format": "lrfr-result/1", "results": [None, 1, {"benchmark": 2}]},
    "step": {"step": "x", "loss": {"total": []}, "event": [], "run": {}, "code": {}, "key": 3},
    "step of lists": {"step": [1], "loss": [1], "eval": "x"},
    "far step": {"step": 1e308},
    "surrogate": {"key": "\ud800", "format": "\udfff"},
    "long": {"key": "x" * 100_000},
    "many": {str(number): number for number in range(1000)},
}
FORGED = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": _socket,
    "5 GB of nothing": _sparse,
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link out": lambda path: path.symlink_to("/etc/passwd"),
    "empty": _write(b""),
    "a newline": _write(b"\n"),
    "NUL bytes": _write(b"\0" * 4096),
    "deep lists": _write(b"[" * 200_000),
    "deep objects": _write(b'{"a":' * 200_000),
    "closed deep lists": _write(b"[" * 900 + b"]" * 900 + b"\n"),
    "Latin-1": _write(b'{"format": "\xff\xe9"}\n'),
    "UTF-16": _write('{"format": 1}\n'.encode("utf-16")),
    "a mark": _write(b"\xef\xbb\xbf{}\n"),
    "NaN": _write(b'{"step": NaN, "schema": NaN}\n'),
    "1e999": _write(b'{"step": 1e999, "schema": 1e999}\n'),
    "10,000 digits": _write(b'{"step": ' + b"1" * 10_000 + b"}\n"),
    "a key twice": _write(b'{"step": 1, "step": 2, "loss": {}}\n'),
    "half": _write(b'{"schema": 2, "step": 1, "lo'),
    "noise": _write(bytes(range(256)) * 64),
    **{name: _write(json.dumps(value).encode() + b"\n") for name, value in _VALUES.items()},
    **{f"sealed {name}": _write(seal(value)) for name, value in _VALUES.items() if isinstance(value, dict)},
}


@contextmanager
def _bounded():
    """End what waits, and refuse 2 GB more than there is now."""

    def late(*_):
        raise AssertionError("it waits")

    before, (soft, hard) = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), hard))
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_file_is_told_or_passed_over(kind, tmp_path):
    assert len(FORGED) >= 40
    place, read = KINDS[kind]
    for number, (name, forge) in enumerate(FORGED.items()):
        path = tmp_path / str(number) / place
        path.parent.mkdir(parents=True)
        forge(path)
        with _bounded():
            try:
                read(path)
            except LrfrError as error:
                assert error.message and len(str(error)) < 20_000, name
            except BaseException as error:
                raise AssertionError(f"{kind}: {name}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", ["a FIFO", "a folder", "a socket", "/dev/zero", "a link to nowhere"])
@pytest.mark.parametrize("read", [data_of, json_of, sha256_file])
def test_what_is_no_regular_file_is_an_error_of_the_system(name, read, tmp_path):
    FORGED[name](tmp_path / "x")
    with pytest.raises(OSError), _bounded():
        read(tmp_path / "x")


def test_a_link_is_followed_only_where_links_may_stand(tmp_path):
    (tmp_path / "there").write_bytes(b"1")
    (tmp_path / "x").symlink_to("there")
    assert json_of(tmp_path / "x") == 1
    with pytest.raises(OSError, match="a link"):
        data_of(tmp_path / "x", linked=False)
    with pytest.raises(OSError, match="larger than 0"):
        data_of(tmp_path / "there", most=0)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 65 + "]" * 65,
        '{"a":1,"a":1}',
        "1e999",
        "-1e999",
        "NaN",
        "-Infinity",
        str(2**64),
        str(-(2**63) - 1),
    ],
)
def test_json_of_other_shapes_is_refused(text):
    with pytest.raises(ValueError):
        parsed(text.encode())


def test_json_that_json_can_read_is_read_alike():
    for value in ({"a": ["[" * 99, '"\\[', 2**64 - 1, -(2**63), 1e308, None]}, "[" * 1000, [[[]]] * 500, {}):
        assert parsed(json.dumps(value).encode()) == value == json.loads(json.dumps(value))


def test_a_sealed_file_is_read_as_before(tmp_path):
    (tmp_path / "x").write_bytes(seal({"a": [1, {"b": "[[["}]}))
    assert read_sealed(tmp_path / "x")["a"] == [1, {"b": "[[["}]


# readers that guard themselves, and why each may; all else opens what it reads through lrfr.core.files
_ELSEWHERE = {
    "lrfr/core/files/reading.py": "it is the guard",
    "lrfr/core/files/writing.py": "it writes",
    "lrfr/core/files/leftovers.py": "/proc of a process",
    "lrfr/core/lists/text.py": "guards itself: lists on pipes are read",
    "lrfr/core/lists/walk.py": "guards itself: the first bytes",
    "lrfr/core/strict_yaml.py": "guards itself: specs on pipes are read",
    "lrfr/core/registry.py": "our own source",
    "lrfr/core/machine.py": "/proc and /sys",
    "lrfr/core/image/silence.py": "/proc and /dev/null",
    "lrfr/core/lock.py": "the lock",
    "lrfr/cli/standard_streams.py": "the streams of the process",
    "lrfr/degrade/spec/resolve.py": "package data",
    "lrfr/pairs/align/unaligned.py": "package data",
    "lrfr/pairs/executors/picture_limits.py": "/proc of this process",
    "lrfr/pairs/executors/local.py": "the user's own script, for a message",
    "lrfr/pairs/format/shard.py": "lmdb writes it",
    "lrfr/pairs/format/remote/shard_cache.py": "the cache's lock",
    "lrfr/pairs/build/look/scan_cache.py": "opens to append, with flags of its own",
    "lrfr/eval/report/report.py": "package data",
    "lrfr/train/methods/table.py": "package data",
    "lrfr/fit/prior_shape.py": "package data",
    "lrfr/studio/handlers.py": "package data",
    "lrfr/degrade/turbulence/banks.py": "package data",
    "lrfr/pairs/export/copy_place.py": "syncs what it has just written",
    "lrfr/train/checkpoint/checkpoint_files.py": "safetensors maps what was opened and hashed before",
    "lrfr/train/checkpoint/share_files.py": "safetensors maps what was opened and hashed before",
    "lrfr/train/weights/foreign/names/weight_sets.py": "safetensors maps what form_of opened before",
}
_BY_PATH = {"np.load", "np.fromfile", "np.memmap", "np.genfromtxt", "np.loadtxt", "np.lib.format.open_memmap"}
_BY_PATH |= {
    "os.open",
    "open",
    "io.open",
    "loadmat",
    "Image.open",
    "zipfile.ZipFile",
    "tarfile.open",
    "safe_open",
}
_BY_PATH |= {
    "lmdb.open",
    "load_file",
    "gzip.open",
    "bz2.open",
    "lzma.open",
    "h5py.File",
    "cv2.imread",
    "pd.read_csv",
}
_HANDLES = ("handle", "file", "fileobj=", "archive", "io.BytesIO", "numbers", "stream", "_binary(")


def _opens_by_path(call: ast.Call) -> bool:
    """Return whether a call opens a path for reading in its own way."""
    name, first = ast.unparse(call.func), ast.unparse(call.args[0]) if call.args else ""
    if name.endswith((".read_text", ".read_bytes")):
        return not first or name.endswith("read_text")
    mode = next((word.value for word in call.keywords if word.arg == "mode"), None)
    if name.endswith(".open") and name not in _BY_PATH and len(call.args) <= 1:
        mode = mode or (call.args[0] if call.args else ast.Constant("r"))
        return (
            isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) <= set("rbt")
        )
    if name not in _BY_PATH:
        return False
    mode = mode or (call.args[1] if len(call.args) > 1 else None)
    if name in {"open", "io.open", "tarfile.open", "zipfile.ZipFile"} and isinstance(mode, ast.Constant):
        if set(str(mode.value)) & set("wax+"):
            return False
    given = ast.unparse(call)
    if "mmap_mode" in given:
        return True  # only a path can be mapped so
    return not any(word in first or (f"{word}" in given and word.endswith("=")) for word in _HANDLES)


def test_what_is_read_is_opened_in_one_place():
    """A file that somebody else made is opened by lrfr.core.files alone: no FIFO, no device, no link to one."""
    found, used = [], set()
    for path in sorted((ROOT / "lrfr").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        opening = [
            f"{name}:{call.lineno}: {ast.unparse(call)[:90]}" for call in calls if _opens_by_path(call)
        ]
        used |= {name} if opening else set()
        found += [] if name in _ELSEWHERE else opening
    assert found == []
    assert _ELSEWHERE.keys() - used <= {"lrfr/core/files/reading.py"}, "no longer needed"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("path.read_bytes()", True),
        ("path.read_text('utf-8')", True),
        ("path.open('rb')", True),
        ("path.open()", True),
        ("open(path)", True),
        ("open(path, 'rb')", True),
        ("open(path, 'wb')", False),
        ("np.load(path, allow_pickle=False)", True),
        ("np.load(handle, allow_pickle=False)", False),
        ("np.load(self.file, mmap_mode='r')", True),
        ("read_bytes(path)", False),
        ("os.open(path, os.O_RDONLY)", True),
        ("zipfile.ZipFile(path)", True),
        ("path.open('xb')", False),
    ],
)
def test_the_search_for_them_finds_them(code, told):
    assert _opens_by_path(ast.parse(code).body[0].value) is told
