"""What train, eval and fit hand each other instead of importing one another: an embedder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Faces to raw embeddings; it owns resizing and the routing of small faces, so nobody after it resizes.

    Any callable of this form will do: a checkpoint's, an ONNX file's, a function of your own.
    """

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return float32 ``[N, D]``, not normalized, for N uint8 RGB faces ``[H, W, 3]`` of any sizes."""
