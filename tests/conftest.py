"""Shared test set-up: one thread per process, no network, and where the optional real faces lie."""

import functools
import gc
import ipaddress
import os
import signal
import sys
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# commands in messages are then `lrfr ...`, as after an installation
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# a script that starts the suite by `&` turns this signal off, for it and for all that it starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


def _refuse_network(event: str, args: tuple) -> None:
    """Fail any connection or look-up that leaves this machine: lrfr promises never to open one."""
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = str(args[1][0])
        if host != "localhost" and not ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_private:
            raise AssertionError(f"network access to {host}")
    if event == "socket.getaddrinfo" and args[0] not in (None, "", "localhost", b"localhost"):
        host = args[0].decode() if isinstance(args[0], bytes) else str(args[0])
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if host != os.uname().nodename:
                raise AssertionError(f"name look-up of {host}") from None


sys.addaudithook(_refuse_network)


def _remember_invented_faces() -> None:
    """Render each invented face once a process: hundreds of tests show the same few, at ten milliseconds a face.
    What the renderer itself does is tested on ``render_face.__wrapped__``.
    """
    from lrfr.pairs.sources import synthetic

    rendered = functools.lru_cache(maxsize=2048)(synthetic.render_face)

    @functools.wraps(synthetic.render_face)
    def remembered(identity, image, seed):
        pixels, attributes = rendered(identity, image, seed)
        return pixels.copy(), dict(attributes)

    synthetic.render_face = remembered


_remember_invented_faces()


# seconds; the limit of the suite is for tests of a second or so
SOAK_TIMEOUT = 3 * 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give soaks their time, on a busy machine too."""
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(SOAK_TIMEOUT), append=False)


def pytest_collection_finish() -> None:
    """Take the thousands of collected tests out of the garbage collector's rounds: each would walk them all."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The folder of real development faces; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("LRFR_FACES", ROOT.parent / "shared" / "faces"))
    if not (folder / "aligned").is_dir():
        pytest.skip("the development faces are not on this machine (set LRFR_FACES)")
    return folder


@pytest.fixture
def lrfr(monkeypatch, tmp_path, capfd):
    """Run a command line in an empty folder, in this process: ``code, stdout, stderr = lrfr('degrade',
    '--help')``.
    """
    from lrfr.cli.main import run

    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(word) for word in argv])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call
