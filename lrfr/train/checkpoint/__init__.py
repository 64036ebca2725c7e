"""Checkpoints: what is in their files, and how they are written and read."""

from lrfr.train.checkpoint.checkpoint_files import (
    SCHEMA,
    Checkpoint,
    Manifest,
    Tensors,
    checked,
    digest_of,
    load,
    load_model,
    model_tensors,
    prune,
    read_manifest,
    resolve,
    save,
    steps,
)

__all__ = [
    "SCHEMA",
    "Checkpoint",
    "Manifest",
    "Tensors",
    "checked",
    "digest_of",
    "load",
    "load_model",
    "model_tensors",
    "prune",
    "read_manifest",
    "resolve",
    "save",
    "steps",
]
