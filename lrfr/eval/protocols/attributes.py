"""Soft-biometric attributes (CelebA, LFWA) and digit classification (SVHN): the model hands over logits
instead of embeddings.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import digest_of as json_digest
from lrfr.core.files import opened
from lrfr.eval.embeddings import Bools, Ints, Source, pixels_digest
from lrfr.eval.low_res import Size
from lrfr.eval.protocols.celeba import AttributeList, celeba_form, read_celeba
from lrfr.eval.protocols.identify import digest_of
from lrfr.eval.protocols.layout import inside, load_mat, need
from lrfr.eval.protocols.seen import unaligned_remark
from lrfr.eval.results import Metric, Metrics, Result, metric
from lrfr.eval.scoring.intervals import wilson
from lrfr.eval.settings import NATIVE, Task, size_cells, with_draws
from lrfr.pairs.sources.tabular import open_list_table

REVISION = 2
LFWA_TREE = """
lfw_att_40.mat, indices_train_test.mat      MATLAB 7.3 files, read with the package h5py
lfw/Name/Name_0001.jpg
or list_attr_lfwa.txt, list_eval_partition.txt in CelebA's form"""
LIST_TREE = """
list.csv[,root=FOLDER][,with=MORE.csv]      columns path, attributes (1 or 0, empty unknown) [, split];
                                            as make-pairs --source csv:...; of the splits test, dev and
                                            val the first that there is is measured, else all rows"""
SVHN_TREE = """
test_32x32.mat                  variables X [32, 32, 3, N] and y (10 stands for 0)"""


def attribute_accuracy(
    logits: NDArray[np.float32], value: NDArray[np.int8], names: Sequence[str]
) -> dict[str, Metric]:
    """Return the accuracy of each attribute at sigmoid 0.5 (logit 0), missing labels left out, and their
    mean.
    """
    body: dict[str, Metric] = {}
    for column, name in enumerate(names):
        known = value[:, column] >= 0
        if not known.any():
            continue
        correct: Bools = (logits[known, column] > 0) == (value[known, column] == 1)
        body[name] = metric(
            float(correct.mean()),
            len(correct),
            wilson(int(correct.sum()), len(correct)),
            share=float(value[known, column].mean()),
        )
    if not body:
        raise DataError("no image has a known attribute")
    values = [item.value for item in body.values()]
    return body | {"mean": metric(float(np.mean(values)), len(values))}


def run_attributes(data: Path, task: Task, *, name: str) -> list[Result]:
    """Evaluate attribute accuracy on the test part; ``task.embed`` returns logits and names its
    ``attribute_names``.
    """
    names = getattr(task.embed, "attribute_names", None)
    if not names:
        raise SpecError(
            f"{name} needs a model that predicts attributes",
            hint="for example a checkpoint of catface; a plug-in sets attribute_names",
        )
    readers = {"celeba": read_celeba, "lfwa": read_lfwa, "attributes-csv": read_list}
    listed = readers[name](data, names)
    return evaluate_attributes(task, listed)


def evaluate_attributes(task: Task, listed: AttributeList) -> list[Result]:
    """Predict the attributes of every image at each size."""
    names = tuple(task.embed.attribute_names)  # type: ignore[attr-defined]
    columns = [names.index(name) for name in listed.attributes]
    seen = _seen(listed.images, [list(listed.attributes), listed.value.tolist()])
    unaligned = unaligned_remark(listed.images)
    results = []
    for size in _sizes(task):
        logits = task.embedded(listed.images, size)
        if logits.shape[1] != len(names):
            raise SpecError(f"the model names {len(names)} attributes and returns {logits.shape[1]} logits")
        metrics = attribute_accuracy(logits[:, columns], listed.value, listed.attributes)
        made = _result(task, size, metrics, Tested(listed.name, "attributes", listed.digest, *seen))
        results.append(
            replace(made, files=listed.files, remarks=(*unaligned, *constant_remarks(logits, names)))
        )
    return results


def constant_remarks(logits: NDArray[np.float32], names: Sequence[str]) -> list[str]:
    """Return a remark on attributes that are predicted to be the same of every image."""
    same = [
        name for name, column in zip(names, (logits > 0).T, strict=True) if column.all() or not column.any()
    ]
    return [f"the same is predicted of every image: {', '.join(same)}"] if same and len(logits) > 1 else []


def _sizes(task: Task) -> list[Size]:
    return list(dict.fromkeys(cell[2] for cell in size_cells(task.settings, NATIVE)))


@dataclass(frozen=True)
class Tested:
    """What the results of one list have in common: names, and digests of list, labels and pixels."""

    name: str
    protocol: str
    digest: str
    content_digest: str
    pixels: str
    images: Sequence[Source]


def _seen(images: Sequence[Source], labels: list[object]) -> tuple[str, str, Sequence[Source]]:
    return json_digest(labels), pixels_digest(images), images


def _result(task: Task, size: Size, metrics: Metrics, tested: Tested) -> Result:
    cell = ("same", size, size)
    return replace(
        task.blank(tested.name, tested.protocol, cell),
        revision=REVISION,
        metrics=metrics,
        alignment="as distributed",
        protocol_digest=tested.digest,
        list_digest=tested.content_digest,
        pixels_digest=with_draws(tested.pixels, tested.images, cell),
    )


def read_list(data: Path, wanted: Sequence[str]) -> AttributeList:
    """Read a list of one's own; attributes that no row has are left out.

    Raises:
        SpecError: unreadable, or it has none of the attributes.

    """
    source = open_list_table(str(data))
    listed = source.faces()
    splits = {face.split for face in listed}
    split = next((name for name in ("test", "dev", "val") if name in splits), None)
    faces = [
        face
        for face in listed
        if split in {None, face.split} and any(name in face.attributes for name in wanted)
    ]
    names = tuple(name for name in wanted if any(name in face.attributes for face in faces))
    if not names:
        raise SpecError(f"no row has one of the attributes {', '.join(wanted)}", file=str(source.path))
    value = np.array([[face.attributes.get(name, -1) for name in names] for face in faces], np.int8)
    images = [inside(source.root, face.key) for face in faces]
    return AttributeList(
        "attributes-csv",
        images,
        names,
        value,
        digest_of([f"{face.key} {row}" for face, row in zip(faces, value.tolist(), strict=True)]),
    )


def read_lfwa(data: Path, wanted: Sequence[str]) -> AttributeList:
    """Read LFWA's test part from its MATLAB 7.3 files, or from a list in CelebA's form."""
    folder = need(data, ("aligned", "lfw", "lfw-deepfunneled"), LFWA_TREE)
    if (data / "list_attr_lfwa.txt").exists():
        return celeba_form(data, data / "list_attr_lfwa.txt", folder, wanted, "lfwa")
    labels = need(data, ("lfw_att_40.mat", "list_attr_lfwa.txt"), LFWA_TREE)
    split = need(data, "indices_train_test.mat", LFWA_TREE)
    names, files, value = _read_lfwa_mat(labels)
    absent = [attribute for attribute in wanted if attribute not in names]
    if absent:
        raise DataError(f"has no attribute '{absent[0]}'", file=str(labels))
    rows = _read_hdf5(split, "indices_img_test").reshape(-1).astype(np.int64) - 1
    if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(files):
        raise DataError(f"indices outside 1..{len(files)}", file=str(split))
    chosen = value[rows][:, [names.index(attribute) for attribute in wanted]]
    images = [inside(folder, files[row]) for row in rows]
    return AttributeList(
        "lfwa", images, tuple(wanted), chosen.astype(np.int8), digest_of([files[row] for row in rows])
    )


def _read_lfwa_mat(path: Path) -> tuple[list[str], list[str], NDArray[np.int8]]:
    h5py = _h5py()
    try:
        with opened(path) as handle, h5py.File(handle, "r") as file:
            texts = [
                [
                    "".join(map(chr, np.asarray(file[cell]).reshape(-1)))
                    for cell in np.asarray(file[key]).reshape(-1)
                ]
                for key in ("AttrName", "name")
            ]
            label = np.asarray(file["label"], np.float64)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"not LFWA's attribute file: {error}", file=str(path)) from None
    value = label if label.shape[0] == len(texts[1]) else label.T
    return [text.replace(" ", "_") for text in texts[0]], texts[1], np.where(value > 0, 1, 0).astype(np.int8)


def _read_hdf5(path: Path, name: str) -> NDArray[np.float64]:
    h5py = _h5py()
    try:
        with opened(path) as handle:
            if not h5py.is_hdf5(handle):
                return np.asarray(load_mat(path, (name,))[name], np.float64)
            with h5py.File(handle, "r") as file:
                if name not in file:
                    raise DataError(f"has no variable '{name}'", file=str(path))
                return np.asarray(file[name], np.float64)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"cannot be read: {error}", file=str(path)) from None


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        hint = (
            "pip install h5py, or write the labels in CelebA's form as list_attr_lfwa.txt and "
            "list_eval_partition.txt"
        )
        raise EnvironmentFault("MATLAB 7.3 files need the package 'h5py'", hint=hint) from None


def run_svhn(data: Path, task: Task) -> list[Result]:
    """Evaluate SVHN's test part: plain accuracy of ten classes at each size."""
    path = data if data.is_file() else need(data, "test_32x32.mat", SVHN_TREE)
    found = load_mat(path, ("X", "y"))
    images, label = read_digits(np.asarray(found["X"]), np.asarray(found["y"]), path)
    tested = Tested(
        "svhn", "classification", digest_of([str(label.tolist())]), *_seen(images, label.tolist())
    )
    results = []
    for size in _sizes(task):
        scores = task.embedded(images, size)
        if scores.shape[1] != 10:
            raise SpecError(f"svhn needs a model with 10 classes, this one returns {scores.shape[1]}")
        correct = scores.argmax(axis=1) == label
        metrics = {
            "accuracy": metric(float(correct.mean()), len(correct), wilson(int(correct.sum()), len(correct)))
        }
        results.append(_result(task, size, metrics, tested))
    return results


def read_digits(x: NDArray[np.generic], y: NDArray[np.generic], path: Path) -> tuple[list[Source], Ints]:
    """Return images and labels 0..9 of an SVHN array pair; class 10 is the digit 0."""
    label = np.asarray(y, np.int64).reshape(-1)
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[2] != 3 or x.shape[3] != len(label):
        raise DataError(
            f"X is {x.dtype} {list(x.shape)}, y has {len(label)} labels; expected uint8 [32, 32, 3, N]",
            file=str(path),
        )
    if len(label) == 0 or label.min() < 0 or label.max() > 10:
        raise DataError("labels outside 0..10", file=str(path))
    pixels = np.ascontiguousarray(x.transpose(3, 0, 1, 2))
    return list(np.asarray(pixels, np.uint8)), label % 10
