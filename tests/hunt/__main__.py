"""Hunt for some minutes: ``python -m tests.hunt --minutes 60 --json hunt.json``; one case: ``--case png:17``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from lrfr.core.machine import quiet_libraries  # noqa: E402
from tests.hunt.cases import Outcome, run_batch, warm  # noqa: E402
from tests.hunt.covered import Reach, show  # noqa: E402
from tests.hunt.life import lives  # noqa: E402
from tests.hunt.places import places  # noqa: E402
from tests.hunt.samples import formats  # noqa: E402
from tests.pairs.toy import fast_folder  # noqa: E402

BATCH = 20
# what is no forged file: a store's life, and the same faces in two places
WHOLE = {"life": lives, "place": places}


def main() -> int:
    """Hunt, print what was found; 1 where something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument(
        "--only", default="", help="kinds, with commas; 'life' is a store's life, 'place' its faces in two"
    )
    parser.add_argument("--case", default="", help="one case, KIND:NUMBER, with its traceback")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--coverage", type=Path, help="watch every fourth batch; the lines not reached go here"
    )
    args = parser.parse_args()
    quiet_libraries()
    folder = fast_folder()
    try:
        return _one(args.case, folder) if args.case else _hunt(args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _one(case: str, folder: Path) -> int:
    from tests.hunt.cases import lay

    kind, number = case.rsplit(":", 1)
    if kind in WHOLE:
        return int(any(outcome.failed for outcome in WHOLE[kind](folder / kind, int(number), 1, loud=True)))
    form = formats()[kind]
    (folder / "case").mkdir()
    path = lay(form, int(number), folder / "case")
    print(f"{path.name}: {path.stat().st_size} bytes")
    print(form.read(path))
    return 0


def _hunt(args: argparse.Namespace, folder: Path) -> int:
    warm()
    held, begun = formats(), time.monotonic()
    kinds = [*held, *WHOLE]
    if args.only:
        kinds = [kind for kind in kinds if kind in args.only.split(",")]
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    failures: list[Outcome] = []
    spent: Counter[str] = Counter()
    numbers = dict.fromkeys(kinds, args.first)
    reach = _reach(args, folder)
    # whoever had least time is next, so that dear kinds do not starve the others
    while time.monotonic() - begun < 60 * args.minutes:
        kind = min(kinds, key=lambda name: spent[name])
        start = time.monotonic()
        first = numbers[kind]
        with reach.batch(kind) if reach else contextlib.nullcontext():
            if kind in WHOLE:
                found, numbers[kind] = WHOLE[kind](folder / kind, first, 1), first + 1
            else:
                batch = range(first, first + BATCH)
                found, numbers[kind] = run_batch(held[kind], kind, batch, folder / "forged"), first + BATCH
        spent[kind] += time.monotonic() - start
        for outcome in found:
            counts[kind][outcome.what] += 1
            if outcome.failed:
                failures.append(outcome)
                print(
                    f"FAILED {outcome.kind}: {outcome.what}: {outcome.detail}\n  {outcome.again}", flush=True
                )
    if reach:
        show(reach.told(), args.coverage)
    return _told(args, counts, spent, failures)


def _reach(args: argparse.Namespace, folder: Path) -> Reach | None:
    if not args.coverage:
        return None
    (folder / "reach").mkdir()
    return Reach(folder / "reach")


def _told(
    args: argparse.Namespace, counts: dict[str, Counter[str]], spent: Counter[str], failures: list[Outcome]
) -> int:
    print(f"{'kind':<14}{'cases':>8}{'read':>8}{'told':>8}{'failed':>8}{'seconds':>9}")
    for kind, count in counts.items():
        failed = sum(n for what, n in count.items() if what not in {"read", "told"})
        print(
            f"{kind:<14}{count.total():>8}{count['read']:>8}{count['told']:>8}{failed:>8}{spent[kind]:>9.0f}"
        )
    total = sum(count.total() for count in counts.values())
    print(f"{total} cases, {len(failures)} failed")
    if args.json:
        rows = {kind: dict(count) for kind, count in counts.items()}
        shown = [{**vars(item), "again": item.again} for item in failures]
        args.json.write_text(json.dumps({"cases": total, "kinds": rows, "failures": shown}, indent=1) + "\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
