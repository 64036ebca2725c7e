"""Whole numbers in place of floats: an exported ONNX file quantized with faces (static, QDQ, per channel)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, missing_extra
from lrfr.core.files import scratch
from lrfr.degrade.ops.resize import resize_batch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.weights.foreign.input_contract import InputContract

CALIBRATION_FACES = 256
_CALL = 32


def calibration_faces(dataset: PairDataset, count: int = CALIBRATION_FACES) -> NDArray[np.uint8]:
    """Return faces of a view, uint8 ``[N, S, S, 3]``: HR and LR of the same rows, spread over the view.

    Args:
        dataset: the view.
        count: how many pictures at most.

    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, max(1, count // 2)).astype(np.int64))
    batch = dataset.batch(rows, 0)
    both = [batch.hr_bchw, batch.lr_bchw]
    return np.concatenate([x.permute(0, 2, 3, 1).numpy() for x in both])


def write_int8(
    source: Path, target: Path, faces: NDArray[np.uint8], contract: InputContract, name: str = "image"
) -> Path:
    """Quantize an ONNX file: weights to int8 a channel, activations to uint8 by the range they have on faces
    (Jacob et al., CVPR 2018).

    Args:
        source: a float ONNX file.
        target: file to write.
        faces: uint8 RGB ``[N, S, S, 3]``, such as the model will see.
        contract: input of the model.
        name: of its input.

    Raises:
        DataError: the graph cannot be quantized.
        EnvironmentFault: the extra [onnx] is missing.

    """
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise missing_extra(str(error.name), "onnx") from None
    side = contract.size_px
    fitted = faces if faces.shape[1] == side else resize_batch(faces, side, "bicubic", True)

    class Faces(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.calls: Iterator[dict[str, NDArray[np.float32]]] = (
                {name: contract.apply(fitted[start : start + _CALL])}
                for start in range(0, len(fitted), _CALL)
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.calls, None)

    options: dict[str, Any] = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
    }
    with scratch("int8", target.parent) as folder:
        prepared, made = folder / "prepared.onnx", folder / "int8.onnx"
        try:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(str(prepared), str(made), Faces(), **options)
        except Exception as error:  # its own error types share no base of their own
            raise DataError(
                f"cannot be quantized: {type(error).__name__}: {error}", file=str(source)
            ) from None
        made.replace(target)
    return target
