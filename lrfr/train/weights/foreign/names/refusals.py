"""Why a file of weights is refused, in one line each."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lrfr.core.errors import DataError
from lrfr.train.weights.foreign.names.families import FAMILIES
from lrfr.train.weights.foreign.names.weight_sets import WeightFile


def check_finite(file: WeightFile, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights of a training that had diverged.

    Raises:
        DataError: a number is not finite.

    """
    wrong = [name for name, x in tensors.items() if x.is_floating_point() and not x.isfinite().all()]
    if wrong:
        raise DataError(
            f"{len(wrong)} tensors have numbers that are not finite ({wrong[0]})",
            file=str(file.path),
            hint="its training had diverged; give an earlier checkpoint",
        )


def not_read(path: str, unread: Mapping[str, str]) -> DataError:
    """Return what is to be said of tensors that are not read."""
    name, word = next(iter(unread.items()))
    return DataError(
        f"{len(unread)} of its tensors are not read: '{name[:80]}' is {word}",
        file=path,
        hint="save plain tensors of float32: torch.save({name: torch.as_tensor(x).float() ...})",
    )


def nothing_in(file: WeightFile) -> DataError:
    """Return why a file holds no network."""
    path = str(file.path)
    shapes = {name: shape for held in file.sets for name, shape in held.shapes.items()}
    packed = any(name.endswith(("_packed_params", ".zero_point", "_packed_weight")) for name in shapes)
    unread = {name: word for held in file.sets for name, word in held.unread.items()}
    if packed or "quantized" in unread.values():
        return DataError(
            "quantized weights are not read", file=path, hint="give the weights before quantizing"
        )
    if unread and not shapes:
        return not_read(path, unread)
    if not shapes:
        what = "an optimizer's state alone" if file.optimizer else "no tensors with names"
        return DataError(f"{what}: there is no network in it", file=path, hint="give the file of the weights")
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    if not any(len(shape) == 4 for shape in shapes.values()) and matrices:
        name, shape = max(matrices.items(), key=lambda item: item[1][0] * item[1][1])
        what = "a head alone"
        return DataError(
            f"{what} ({name[:80]}: {' x '.join(map(str, shape))}): there is no network in it",
            file=path,
            hint="give the file of the backbone's weights",
        )
    first = ", ".join(sorted(shapes)[:3])
    return DataError(
        f"{len(shapes)} tensors of no known family ({first[:200]} ...)",
        file=path,
        hint=f"families: {', '.join(FAMILIES)}; or no backbone of lrfr has them",
    )
