"""What ``lrfr export`` does: a model as files for other programs, with what results say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lrfr.core.errors import SpecError
from lrfr.eval.result_files import fitting_one_another, read_results
from lrfr.eval.results import Result, unpack
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.checkpoint import resolve
from lrfr.train.weights.export_model import export, headline
from lrfr.train.weights.int8 import calibration_faces
from lrfr.train.weights.routes.export_routes import export_routes
from lrfr.train.weights.routes.router import is_router

RATES = (0.1, 0.01, 0.001, 0.0001)


def model_folder(path: Path) -> Path:
    """Return the checkpoint of a run, or a router as it is.

    Raises:
        DataError: neither is there.

    """
    return path if is_router(path) else resolve(path)


def export_here(
    path: Path,
    out: Path,
    kinds: Mapping[str, bool],
    *,
    card: Mapping[str, str] | None = None,
    results: Sequence[Path] = (),
    int8_view: tuple[Path | str, str] | None = None,
) -> list[Path]:
    """Write the chosen files of a checkpoint, run or router, and their cards, into ``out``.

    Args:
        path: the model.
        out: folder to write into.
        kinds: ``onnx``, ``safetensors`` and ``branch_packs``: which files.
        card: headings and texts for the card.
        results: results of ``lrfr eval`` for the card: metrics, and thresholds of false accept rates where a
            result keeps its scores.
        int8_view: store and view whose faces calibrate a quantized copy; None writes none.

    Raises:
        SpecError: no such result or view, or these files cannot be made of it.
        DataError, EnvironmentFault, NumericFault: see :func:`lrfr.train.weights.export_model.export`.

    """
    if int8_view is not None and not kinds.get("onnx"):
        raise SpecError("only ONNX files are quantized", hint="--onnx --quantize int8")
    texts = dict(card or {})
    if results:
        texts["Metrics"] = "\n".join(f"- `{found.name}`: {headline(found)}" for found in results)
        texts["Thresholds"] = "\n\n".join(_thresholds(found) for found in results)
    faces = None if int8_view is None else calibration_faces(PairDataset(*int8_view))
    if not is_router(path):
        return export(path, out, card=texts, int8_faces=faces, **kinds)
    if kinds.get("safetensors") or kinds.get("branch_packs"):
        raise SpecError("a router is exported as ONNX files with a rule", file=str(path), hint="--onnx")
    return export_routes(path, out, card=texts, int8_faces=faces)


def _thresholds(path: Path) -> str:
    try:
        return threshold_table(path)
    except SpecError:
        return f"`{path.name}` keeps no scores of pairs."


def threshold_rows(result: Result) -> list[tuple[float, float, float]]:
    """Return (rate, threshold, true accept rate) of a verification result: the lowest score of the list at
    which at most that share of impostor pairs is accepted (a pair is accepted at the threshold and above).

    Rates that the list is too short to tell from zero are left out.
    """
    if not result.per_pair:
        return []
    scores = np.sort(unpack(result.per_pair["score_f32"], "<f4").astype(np.float64))
    same = unpack(result.per_pair["same_u8"], "u1").astype(bool)
    score = unpack(result.per_pair["score_f32"], "<f4").astype(np.float64)
    impostors, genuine = np.sort(score[~same]), score[same]
    rows = []
    for rate in RATES:
        allowed = int(rate * len(impostors) + 1e-9)
        if allowed < 1 or not len(genuine):
            continue
        # the first score above the impostor that must be kept out
        kept_out = impostors[len(impostors) - allowed - 1] if allowed < len(impostors) else -np.inf
        above = scores[scores > kept_out]
        if len(above):
            rows.append((rate, float(above[0]), float((genuine >= above[0]).mean())))
    return rows


def threshold_table(path: Path) -> str:
    """Return the thresholds of every pair of sizes in a result file of ``lrfr eval``, as a Markdown table.

    Raises:
        DataError: it is no such file.
        SpecError: it keeps no scores of pairs.

    """
    with fitting_one_another(path):
        rows = [
            [
                result.benchmark,
                " & ".join(map(str, result.sizes or ())),
                f"{rate:g}",
                f"{threshold:.4f}",
                f"{accepted:.4f}",
            ]
            for result in read_results([path])
            for rate, threshold, accepted in threshold_rows(result)
        ]
    if not rows:
        raise SpecError("keeps no scores of pairs", file=str(path), hint="a result of a list of pairs")
    columns = ["benchmark", "sizes, px", "FAR", "score at least", "TAR"]
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
