"""What reading a store at an address costs, against the same store in a folder: requests, bytes and time of
the first epoch and of later ones, over HTTP on loopback with a delay for every request.

    python -m benchmarks.remote --faces 4000 --delay-ms 30
"""

import argparse
import functools
import http.server
import os
import tempfile
import threading
import time
from pathlib import Path

import lrfr
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.remote.store_index import write_index


class Counting(http.server.SimpleHTTPRequestHandler):
    """A file server that counts and waits."""

    requests, bytes, delay_s = 0, 0, 0.0

    def do_GET(self) -> None:
        """Serve one file after the delay."""
        time.sleep(Counting.delay_s)
        Counting.requests += 1
        path = Path(self.translate_path(self.path))
        Counting.bytes += path.stat().st_size if path.is_file() else 0
        super().do_GET()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def epochs(store: str | Path, count: int) -> None:
    """Print a line for opening and for each epoch."""
    before, start = (Counting.requests, Counting.bytes), time.perf_counter()
    dataset = lrfr.PairDataset(store)
    for number in range(-1, count):
        if number >= 0:
            faces = sum(len(b.row_b) for b in lrfr.PairLoader(dataset, 128, threads=2).iterate(number))
        took = time.perf_counter() - start
        asked, came = Counting.requests - before[0], (Counting.bytes - before[1]) / 1e6
        name = "open" if number < 0 else f"epoch {number}: {faces / took:6.0f} faces/s"
        print(f"  {name:<24} {took:6.2f} s  {asked:4d} requests  {came:8.1f} MB")
        before, start = (Counting.requests, Counting.bytes), time.perf_counter()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=4000)
    parser.add_argument("--delay-ms", type=float, default=30)
    options = parser.parse_args()
    Counting.delay_s = options.delay_ms / 1000
    with tempfile.TemporaryDirectory(prefix="lrfr-remote-") as text:
        root = Path(text)
        lrfr.make_pairs(f"synthetic:ids={options.faces // 8},per_id=8", "fskd", store=root / "store")
        write_index(root / "store")
        sizes = [path.stat().st_size for path in (root / "store").rglob("*.mdb")]
        print(f"{options.faces} faces, {len(sizes)} shards, {sum(sizes) / 1e6:.1f} MB")
        handler = functools.partial(Counting, directory=root)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/store"
        print("a folder")
        epochs(root / "store", 2)
        for share in (2.0, 0.5):
            os.environ["LRFR_CACHE_DIR"] = str(root / f"cache-{share}")
            os.environ["LRFR_CACHE_BYTES"] = str(int(share * sum(sizes)))
            print(f"http, every request {options.delay_ms:g} ms late, a cache of {share:g} x the store")
            try:
                epochs(url, 2)
                REGISTRY.clear()
                print("  the same, opened again")
                epochs(url, 1)
            except lrfr.LrfrError as error:
                print(f"  {error.message}")
            REGISTRY.clear()
        server.shutdown()


if __name__ == "__main__":
    main()
