"""Results as JSON files: written by rename, read with every field checked; files of earlier versions are read
as well.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.core.files import json_of, make_folder, write_atomic
from lrfr.eval.results import FORMAT, Metric, Result, unpack

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAX_FILE_BYTES = 256 * 1024 * 1024


def as_json(result: Result, *, heavy: bool = True) -> dict[str, object]:
    """Return the flat JSON form of a result; what is empty is left out.

    Args:
        result: to show.
        heavy: with curves and per-pair data.

    """
    body = asdict(result)
    more, counts = body.pop("more"), body.pop("counts")
    left_out = set() if heavy else {"curves", "per_pair"}
    left_out |= {name for name, value in body.items() if value is None}
    left_out |= {name for name in ("curves", "spec_digests", "remarks") if not body[name]}
    kept = {name: value for name, value in body.items() if name not in left_out}
    kept["metrics"] = {name: _metric_json(found) for name, found in result.metrics.items()}
    named = {"id": result.id} if result.id else {}
    return {"format": FORMAT, **named, **kept, **counts, **more}


def _metric_json(found: Metric) -> dict[str, object]:
    interval = found.interval.as_dict() if found.interval else None
    return {
        "value": found.value,
        "n": found.n,
        "interval": interval,
        "resolvable": found.resolvable,
        **found.more,
    }


def write_results(results: Iterable[Result], path: Path) -> None:
    """Write results as one JSON file, by rename; NaN and infinity are refused."""
    body = {"format": FORMAT, "results": [as_json(result) for result in results]}
    text = json.dumps(body, indent=1, allow_nan=False)
    make_folder(path.parent)
    write_atomic(path, (text + "\n").encode(), path.parent)


def read_results(paths: Iterable[Path]) -> list[Result]:
    """Read result files written by :func:`write_results`.

    Raises:
        DataError: a file is missing, too large, not JSON, not of this format, or a field has another type;
            the file and the field are named.

    """
    found: list[Result] = []
    for path in paths:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"larger than {MAX_FILE_BYTES} bytes", file=str(path))
            body = json_of(path, most=MAX_FILE_BYTES)
        except OSError as error:
            raise DataError(
                f"cannot read: {error.strerror}", file=str(path), hint="lrfr eval writes result files"
            ) from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"not a result file: {str(error).splitlines()[0]}", file=str(path)) from None
        found += [_result(item, place, path) for place, item in enumerate(_items(body, path))]
    return found


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _items(body: object, path: Path) -> list[object]:
    items = body.get("results") if isinstance(body, dict) and body.get("format") == FORMAT else None
    if not isinstance(items, list):
        raise DataError(
            "not a result file",
            file=str(path),
            hint=f"expected an object with format '{FORMAT}' and a list of results",
        )
    return items


def _result(item: object, place: int, path: Path) -> Result:
    """Return a checked result of one entry."""
    from pydantic import ValidationError

    where = f"results[{place}]"
    missing = [
        name
        for name in ("benchmark", "protocol", "metrics", "model")
        if not isinstance(item, dict) or name not in item
    ]
    if missing or not isinstance(item, dict):
        raise DataError(f"lacks {', '.join(missing)}", file=str(path), path=where)
    try:
        text = json.dumps(_sorted_in(item), allow_nan=False)
        found = _checker().validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join([where, *(str(part) for part in first["loc"] if part not in _UNIONS)])
        raise DataError(first["msg"], file=str(path), path=field) from None
    except ValueError:  # 1e999 is JSON and no finite number
        raise DataError("holds a number that is not finite", file=str(path), path=where) from None
    for name, named in (("data", found.data), ("model.checkpoint", found.model.checkpoint)):
        if named is not None and not _can_be_a_name(named):
            raise DataError("no file can be called so", file=str(path), path=f"{where}.{name}")
    return found


def _can_be_a_name(place: str) -> bool:
    """Return whether the system can be asked for a path at all."""
    try:
        parts = os.fsencode(place).split(b"/")
    except UnicodeEncodeError:
        return False
    return "\0" not in place and len(place) < 4000 and max(map(len, parts)) < 256


_UNIONS = {"int", "str", "float", "bool", "none"}  # pydantic names the member of a union that it tried


@lru_cache(maxsize=1)
def _checker() -> TypeAdapter[Result]:
    from pydantic import TypeAdapter

    return TypeAdapter(Result)


def _sorted_in(item: Mapping[str, object]) -> dict[str, object]:
    """Put fields that no protocol shares below ``more`` and the numbers of trials below ``counts``."""
    known = _names(Result)
    body: dict[str, object] = {"versions": {}, "time": None}
    more: dict[str, object] = {}
    counts: dict[str, object] = {}
    for name, value in item.items():
        if name in known:
            body[name] = value
        elif name.startswith("n_"):
            counts[name] = value
        elif name not in {"format", "id"}:
            more[name] = value
    metrics = item["metrics"]
    if isinstance(metrics, dict):
        body["metrics"] = {name: _metric_sorted_in(found) for name, found in metrics.items()}
    return body | {"more": more, "counts": counts}


def _metric_sorted_in(found: object) -> object:
    if not isinstance(found, dict):
        return found
    own = _names(Metric)
    body = {name: value for name, value in found.items() if name in own}
    return body | {"more": {name: value for name, value in found.items() if name not in own}}


def _names(kind: type) -> set[str]:
    assert is_dataclass(kind)
    return {item.name for item in fields(kind)} - {"more", "counts"}


@contextmanager
def fitting_one_another(file: Path | str | None = None) -> Iterator[None]:
    """Use several fields of results together: each was checked alone, and a file of somebody else's may still
    not agree with itself.

    Raises:
        DataError: it does not.

    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"numbers of a result do not fit one another ({type(error).__name__}: {error})"[:500],
            file=None if file is None else str(file),
            hint="look at the files one by one; measure that one again by lrfr eval",
        ) from error


class AbsentFile(DataError):
    """What a result names lies nowhere."""


def without_options(data: Path | str) -> str:
    """Return the path of ``list.csv,root=FOLDER`` or ``STORE,view=NAME``."""
    return re.split(r",\w+=", str(data))[0]


def find_named(named: Path | str, result: Path, option: str) -> Path:
    """Return where a path of a result file lies: here, or beside the file or a folder above it, as where
    the file lies in the ``results`` of the folder in which it was written.

    Raises:
        AbsentFile: nowhere; says where it was looked for and that ``option`` gives it.

    """
    where = [Path(), *result.absolute().parents][: 1 if Path(named).is_absolute() else None]
    for folder in where:
        whole, first = folder / named, folder / without_options(named)
        if whole.exists() or first.exists():
            return whole
    looked = f"in {Path.cwd()} and the folders of {result.name}" if len(where) > 1 else "there"
    raise AbsentFile(f"'{named}' is not {looked}", hint=f"give it with {option}")


def kept_scores_agree(results: list[Result], tolerance: float) -> str:
    """Compare the accuracy with the decisions that the file keeps, and say what was compared.

    Raises:
        DataError: they differ by more than ``tolerance`` (a fraction), or cannot be compared.

    """
    kept = [result for result in results if result.per_pair and "accuracy" in result.metrics]
    for result in kept:
        found = result.metrics["accuracy"]
        with fitting_one_another():
            said = float(np.mean(unpack((result.per_pair or {})["correct_u8"], "u1") == 1))
            folds = found.more.get("folds")
            mean = float(np.mean(folds)) if isinstance(folds, list) and folds else said
        if min(abs(said - found.value), abs(mean - found.value)) > tolerance:
            raise DataError(
                f"accuracy at {result.sizes} is {said:.6f} of the kept decisions, not {found.value:.6f}"
            )
    return f"of the scores kept for {len(kept)} results" if kept else "no scores kept; run without --check"


def results_place(path: Path) -> Path:
    """Return where results go: where nothing or earlier results lie.

    Raises:
        SpecError: something else lies there.

    """
    with suppress(LrfrError):
        if not path.exists() or read_results([path]):
            return path
    raise SpecError("something else than results lies here", file=str(path), hint="name another --out")
