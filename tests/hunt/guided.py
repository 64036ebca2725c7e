"""The hunt guided by coverage, where atheris (libFuzzer for Python) is installed: ``python -m tests.hunt.guided tar
--seconds 600``. It begins with the good files; what fails is kept in the folder that it names.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def main() -> int:
    """Guide one format; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt.guided", description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("--seconds", type=int, default=600)
    args = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print("this needs atheris (pip install atheris); python -m tests.hunt works without")
        return 0
    with atheris.instrument_imports(include=["lrfr.core", "lrfr.pairs", "lrfr.train.weights", "lrfr.eval"]):
        from lrfr.core.errors import LrfrError
        from tests.hunt.samples import formats

        form = formats()[args.kind]
    good = form.good()
    name = sorted(good)[0]
    folder = Path(tempfile.mkdtemp(prefix="lrfr-guided-"))
    corpus, place = folder / "corpus", folder / "case"
    corpus.mkdir()
    for number, data in enumerate(good.values()):
        (corpus / f"{number}").write_bytes(data)
    (place / name).parent.mkdir(parents=True)

    def read(data: bytes) -> None:
        (place / name).write_bytes(data)
        try:
            form.read(place / name)
        except LrfrError:
            pass

    print(f"what fails is kept in {folder}")
    limits = [f"-max_total_time={args.seconds}", "-rss_limit_mb=4096", "-timeout=40", "-max_len=65536"]
    atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={folder}/", *limits], read)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
