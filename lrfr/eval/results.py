"""A result: one JSON object per protocol and pair of sizes, with all that a reader needs to trust or to
repeat the number.
"""

from __future__ import annotations

import base64
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr import __version__
from lrfr.core.errors import DataError
from lrfr.eval.scoring.intervals import Interval

Result = dict[str, Any]
FORMAT = "lrfr-result-1"
MAX_FILE_BYTES = 256 * 1024 * 1024
REQUIRED = ("benchmark", "protocol", "metrics", "model")


@dataclass(frozen=True)
class Model:
    """What was evaluated, for the record.

    Attributes:
        name: display name.
        method: method name of ``lrfr train``.
        checkpoint: where it lay.
        digest: of the checkpoint's manifest, which holds the sha256 of every file.
        view_digest: of the view it was trained on, which names base, specs and HR files.
        parents: role to digest of the checkpoints it was made from.
        notes: anything else.
        cost: for each input size: parameters, multiply-adds, images per second (see
            :mod:`lrfr.eval.analysis.cost`).

    """

    name: str
    method: str | None = None
    checkpoint: str | None = None
    digest: str | None = None
    view_digest: str | None = None
    parents: dict[str, str] = field(default_factory=dict)
    notes: str | None = None
    cost: list[dict[str, Any]] = field(default_factory=list)


def metric(
    value: float, n: int, interval: Interval | None = None, *, resolvable: bool = True, **more: Any
) -> dict[str, Any]:
    """Return one metric: value (a fraction unless ``unit`` says otherwise), number of trials, interval, and
    whether it is resolvable.
    """
    body = {
        "value": float(value),
        "n": int(n),
        "interval": interval.as_dict() if interval else None,
        "resolvable": bool(resolvable),
    }
    return {**body, **more}


def make_result(
    model: Model, *, benchmark: str, protocol: str, metrics: dict[str, dict[str, Any]], **fields: Any
) -> Result:
    """Return a result with versions and time filled in; ``fields`` are the protocol's own (convention, flip,
    sizes_px, ...).
    """
    return {
        "format": FORMAT,
        "benchmark": benchmark,
        "protocol": protocol,
        "model": asdict(model),
        "metrics": metrics,
        "channel_order": "RGB",
        "finetuned": "no",
        **fields,
        "versions": {
            "lrfr": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": _version("torch"),
        },
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def pack(values: NDArray[Any]) -> str:
    """Return little-endian bytes of an array as base64: scores and decisions travel with a result so that
    models can be compared.
    """
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def unpack(text: str, dtype: str) -> NDArray[Any]:
    """Undo :func:`pack`."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype)


def write_results(results: Iterable[Result], path: Path) -> None:
    """Write results as one JSON file, by rename; NaN and infinity are refused."""
    text = json.dumps({"format": FORMAT, "results": list(results)}, indent=1, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def read_results(paths: Iterable[Path]) -> list[Result]:
    """Read result files written by :func:`write_results`.

    Raises:
        DataError: a file is missing, too large, not JSON, or not of this format.

    """
    found: list[Result] = []
    for path in paths:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"larger than {MAX_FILE_BYTES} bytes", file=str(path))
            body = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
        except OSError as error:
            raise DataError(
                f"cannot read: {error.strerror}", file=str(path), hint="lrfr eval writes result files"
            ) from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"not a result file: {str(error).splitlines()[0]}", file=str(path)) from None
        found += [_checked(item, place, path) for place, item in enumerate(_items(body, path))]
    return found


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _items(body: Any, path: Path) -> list[Any]:
    if (
        not isinstance(body, dict)
        or body.get("format") != FORMAT
        or not isinstance(body.get("results"), list)
    ):
        raise DataError(
            "not a result file",
            file=str(path),
            hint=f"expected an object with format '{FORMAT}' and a list of results",
        )
    return list(body["results"])


def _checked(item: Any, place: int, path: Path) -> Result:
    missing = [name for name in REQUIRED if not isinstance(item, dict) or name not in item]
    if missing:
        raise DataError(f"lacks {', '.join(missing)}", file=str(path), path=f"results[{place}]")
    model, metrics = item["model"], item["metrics"]
    if not isinstance(model, dict) or not isinstance(model.get("name"), str) or not isinstance(metrics, dict):
        raise DataError(
            "'model' needs a name and 'metrics' must be an object", file=str(path), path=f"results[{place}]"
        )
    for name, body in metrics.items():
        value = body.get("value") if isinstance(body, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise DataError(
                f"metric '{name}' has no finite value", file=str(path), path=f"results[{place}].metrics"
            )
    return dict(item)
