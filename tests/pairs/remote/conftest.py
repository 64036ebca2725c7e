"""A store that was copied, a web server on loopback, and caches of their own."""

import contextlib
import http.server
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lrfr.pairs.format.remote import address
from lrfr.pairs.store import Store
from tests.pairs.toy import build


@dataclass
class Site:
    """A web server of a folder that counts what it is asked and can misbehave.

    Attributes:
        fault: called with the path; "die" ends after half of the bytes, "wrong" flips one, "slow" waits,
            "long" sends more than there is, "503" refuses, "" serves.
    """

    root: Path
    url: str = ""
    ranges: bool = False
    fault: object = None
    asked: list = field(default_factory=list)
    sent: int = 0

    def count(self, part):
        return sum(part in path for path in self.asked)


def _handler(site):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # no connection outlives the server

        def do_HEAD(self):
            self._serve(False)

        def do_GET(self):
            self._serve(True)

        def _serve(self, body):
            path = site.root / self.path.lstrip("/")
            if not path.is_file():
                return self.send_error(404)
            site.asked.append(self.path)
            data, fault = path.read_bytes(), (site.fault(self.path) if site.fault else "")
            if fault == "503":
                return self.send_error(503)
            if fault == "wrong":
                data = bytes([data[0] ^ 1]) + data[1:]
            if fault == "long":
                data += bytes(1 << 22)
            if fault == "slow":
                time.sleep(0.2)
            wanted = self.headers.get("Range")
            if site.ranges and wanted:
                first, last = wanted.split("=")[1].split("-")
                part = data[int(first) : int(last) + 1 if last else None]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
                data = part
            else:
                self.send_response(200)
            if site.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not body:
                return None
            if fault == "die":
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
                return None
            site.sent += len(data)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(data)
            return None

        def log_message(self, *args):
            pass

    return Handler


@pytest.fixture
def serve():
    """Return ``serve(folder) -> Site``."""
    running = []

    def start(root, ranges=False):
        site = Site(root, ranges=ranges)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        site.url = f"http://127.0.0.1:{server.server_address[1]}/store"
        site.stop = lambda: (server.shutdown(), server.server_close())
        return site

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def copied(folder, monkeypatch):
    """A folder ``site/store`` with a copy of a toy store's view (and a column), its original beside it."""
    monkeypatch.setenv("LRFR_CACHE_DIR", str(folder / "cache"))
    monkeypatch.delenv("LRFR_CACHE_BYTES", raising=False)
    monkeypatch.setattr(address, "FIRST_WAIT_S", 0.01)
    build(folder / "store")
    store = Store(folder / "store")
    store.write_column("default", "score", list(range(192)), producer="test")
    store.copy("default", folder / "site" / "store")
    return folder


def batches(store, **options):
    """Return the bytes of an epoch."""
    import lrfr

    dataset = lrfr.PairDataset(store, columns=("score",))
    loader = lrfr.PairLoader(dataset, 32, seed=5, **options)
    return [
        (
            b.hr_bchw.numpy().tobytes(),
            b.lr_bchw.numpy().tobytes(),
            b.row_b.tolist(),
            b.columns["score"].tolist(),
        )
        for b in loader
    ]
