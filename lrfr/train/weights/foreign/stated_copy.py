"""A copy of an ONNX file that says what it takes, so that no command has to be told again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.files import data_of, write_atomic
from lrfr.train.weights.foreign.foreign_file import is_graph
from lrfr.train.weights.foreign.input_contract import METADATA_KEY, InputContract, Stated
from lrfr.train.weights.foreign.runtimes.onnx_file import parsed, read_facts


def write_stated_copy(source: Path, target: Path, stated: Stated, *, writes: bool = True) -> InputContract:
    """Write a graph again with what is stated of its input as metadata, and return that input; what is not
    stated is what the file says, or what is assumed of it.

    Args:
        source: an ONNX file.
        target: the copy; one that is there and holds the same stays.
        stated: channel order and range.
        writes: whether to write; else all is only checked.

    Raises:
        SpecError: nothing is stated, no ONNX file, something else lies at the target, or the copy would not
            find the weights that lie beside the original.
        DataError: damaged, or no recognizer.
        EnvironmentFault: the extra [onnx] is missing, or the target cannot be written.

    """
    if stated == Stated():
        raise SpecError("nothing is said of its input", file=str(source), hint="--bgr, --rgb, --input-range")
    if not is_graph(source):
        raise SpecError("only an ONNX file is kept as it is", file=str(source), hint="leave --as-is out")
    contract = stated.over(read_facts(source).contract)
    model, beside = parsed(source)
    if beside and target.parent.resolve() != source.parent.resolve():
        raise SpecError(
            f"its weights lie beside it ({', '.join(beside[:3])}), where a copy elsewhere finds none",
            file=str(source),
            hint=f"--out {source.parent / target.name}",
        )
    left = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(left)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(contract.as_dict())
    data = model.SerializeToString(deterministic=True)
    if os.path.lexists(target) and not _holds(target, data):
        raise SpecError("exists already", file=str(target), hint="choose another --out")
    if writes:
        write_atomic(target, data, target.parent)
    return contract


def _holds(target: Path, data: bytes) -> bool:
    try:
        return data_of(target, most=len(data)) == data
    except OSError:  # longer, no file, or one that cannot be read
        return False


def stated_copy(
    source: Path, target: Path | None, stated: Stated, asked: Mapping[str, object], *, writes: bool
) -> dict[str, object]:
    """Return where a copy of :func:`write_stated_copy` lies and what it takes, in words and as data.

    Args:
        source: an ONNX file.
        target: the copy; None makes ``NAME-stated.onnx``.
        stated: channel order and range.
        asked: what else was asked, by name; what only makes a network means nothing here.
        writes: whether to write.

    Raises:
        SpecError: see there, or something else was asked.
        DataError, EnvironmentFault: see there.

    """
    if stray := [f"--{word}" for word in ("backbone", "family", "part", "check") if asked.get(word)]:
        raise SpecError(f"--as-is makes no network: {', '.join(stray)} means nothing", hint="leave it out")
    target = target or Path(f"{source.stem}-stated.onnx")
    contract = write_stated_copy(source, target, stated, writes=writes)
    return {"file": str(target), "takes": str(contract), "input": contract.as_dict()}
