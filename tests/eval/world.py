"""Small worlds for the evaluator: random embeddings, pictures with an identity in them, and embedders that
read it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lrfr.eval.settings import Settings, Task


def identity_picture(person: int, take: int, side: int = 24) -> np.ndarray:
    """A picture that carries a person in its coarse colors and a take in its noise."""
    coarse = np.random.default_rng(1000 + person).integers(40, 216, (3, 3, 3)).astype(np.uint8)
    face = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int64)
    noise = np.random.default_rng((person, take)).integers(-12, 13, face.shape)
    return np.clip(face + noise, 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def color_embed(images: list[np.ndarray]) -> np.ndarray:
    """A deterministic embedder: the 3x3 colors, centered; works at any size."""
    small = np.stack(
        [cv2.resize(image, (3, 3), interpolation=cv2.INTER_AREA).reshape(-1) for image in images]
    )
    return (small.astype(np.float32) - 128) / 64


def quick_task(**settings: object) -> Task:
    return Task(color_embed, Settings(replicates=50, **settings))  # type: ignore[arg-type]
