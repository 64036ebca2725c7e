"""Weights of detectors: where they lie, how they are fetched, and reading MTCNN's out of the one wheel that
carries them.

The wheel of ``facenet-pytorch`` 2.6.0 (MIT) is never installed nor imported, and its pickles are never
loaded: the file is known to the last byte by its sha256, so its tensors lie where they lie.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import make_folder, opened, read_bytes, scratch, sha256_file, write_atomic
from lrfr.pairs.align.detectors.mtcnn_nets import ONET, PNET, RNET, shapes

PACKAGE = "facenet-pytorch==2.6.0"
WHEEL = "facenet_pytorch-2.6.0-py3-none-any.whl"
WHEEL_SHA256 = "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca"
Tensors = Mapping[str, NDArray[np.float32]]
_NETS = {"pnet": shapes(PNET), "rnet": shapes(RNET), "onet": shapes(ONET)}
# the tensors of each file in the order in which they lie at its end, each behind its length in eight bytes
_ORDER = {
    "pnet": "conv2.weight conv4_1.weight conv4_2.bias conv4_2.weight conv3.bias prelu3.weight conv4_1.bias "
    "conv3.weight prelu1.weight conv1.bias conv2.bias conv1.weight prelu2.weight",
    "rnet": "conv1.bias dense5_2.weight conv2.bias conv1.weight conv3.bias prelu2.weight conv3.weight "
    "dense5_1.weight dense4.weight dense5_2.bias prelu3.weight dense4.bias conv2.weight prelu4.weight "
    "prelu1.weight dense5_1.bias",
    "onet": "dense6_2.bias prelu5.weight dense6_2.weight dense6_1.bias conv2.bias dense6_3.weight "
    "dense6_3.bias dense6_1.weight conv3.bias conv4.weight prelu2.weight conv3.weight conv4.bias "
    "prelu4.weight prelu3.weight dense5.bias conv1.weight conv1.bias conv2.weight prelu1.weight "
    "dense5.weight",
}


def data_folder() -> Path:
    """Return the folder of files that lrfr fetched: ``$LRFR_DATA``, else ``lrfr`` in the XDG data folder."""
    own = os.environ.get("LRFR_DATA")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "lrfr"


_PIP = "pip download --quiet --no-deps --only-binary=:all: --no-cache-dir --disable-pip-version-check".split()


def fetch_wheel() -> Path:
    """Bring the wheel that carries MTCNN's nets into the data folder by pip; one that is there is kept.

    Raises:
        EnvironmentFault: pip could not get it.
        DataError: it got another file than the known one; nothing is kept.

    """
    place = data_folder() / WHEEL
    if place.exists() and sha256_file(place) == WHEEL_SHA256:
        return place
    make_folder(place.parent)
    with scratch("pip", place.parent) as folder:
        # pip keeps nothing elsewhere, nor does the compiler that it asks for its version
        done = subprocess.run(  # noqa: S603 - a fixed command line
            [sys.executable, "-m", *_PIP, "--dest", str(folder), PACKAGE],
            env={**os.environ, "RUSTUP_HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        got = folder / WHEEL
        if done.returncode or not got.exists():
            said = (done.stderr.strip().splitlines() or ["no such file came"])[-1]
            raise EnvironmentFault(
                f"pip could not download {PACKAGE}: {said}",
                hint=f"download {WHEEL} elsewhere and name it with --detector-weights",
            )
        data = read_bytes(got)
        if hashlib.sha256(data).hexdigest() != WHEEL_SHA256:
            raise DataError(f"pip gave another {WHEEL} than the known one; it was not kept")
        write_atomic(place, data, place.parent)
    return place


def read_mtcnn(named: Path | None) -> tuple[dict[str, Tensors], str]:
    """Read the three nets.

    Args:
        named: the wheel, or a safetensors file with the names ``pnet.conv1.weight`` and so on; None takes the
            wheel of the data folder.

    Returns:
        The tensors of ``pnet``, ``rnet`` and ``onet`` by name, and the sha256 over all of them.

    Raises:
        EnvironmentFault: there is no wheel in the data folder.
        SpecError: the named file cannot be read, or holds no such nets.

    """
    path = named or data_folder() / WHEEL
    if not path.is_file():
        if named:
            raise SpecError("no such file", file=str(named), hint=f"the wheel {WHEEL}, or safetensors")
        raise EnvironmentFault("the detector 'mtcnn' has no weights here", hint="lrfr detectors fetch")
    nets = _from_safetensors(path) if path.suffix == ".safetensors" else _from_wheel(path)
    return nets, _digest(nets)


def _from_wheel(path: Path) -> dict[str, Tensors]:
    if sha256_file(path) != WHEEL_SHA256:
        raise SpecError(
            f"not the known {WHEEL}: its sha256 differs",
            file=str(path),
            hint="lrfr detectors fetch brings it; other weights are read from safetensors",
        )
    with opened(path) as handle, zipfile.ZipFile(handle) as wheel:
        return {net: _tensors(net, wheel.read(f"facenet_pytorch/data/{net}.pt")) for net in _NETS}


def _tensors(net: str, data: bytes) -> Tensors:
    """Read the tensors at the end of a file whose sha256 was checked; tables lie in it column by column."""
    sizes, names = _NETS[net], _ORDER[net].split()
    place = len(data) - sum(8 + 4 * int(np.prod(sizes[name])) for name in names)
    found = {}
    for name in names:
        count = int(np.prod(sizes[name]))
        assert int.from_bytes(data[place : place + 8], "little") == count
        values = np.frombuffer(data, "<f4", count, place + 8)
        found[name] = np.ascontiguousarray(values.reshape(sizes[name][::-1]).T)
        place += 8 + 4 * count
    return found


def _from_safetensors(path: Path) -> dict[str, Tensors]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(read_bytes(path))
    except (SafetensorError, DataError) as error:
        raise SpecError(f"cannot read: {error}", file=str(path)) from None
    for net, sizes in _NETS.items():
        for name, shape in sizes.items():
            tensor = found.get(f"{net}.{name}")
            if tensor is None or tensor.shape != shape or not np.isfinite(tensor).all():
                raise SpecError(f"expected finite {net}.{name} of {list(shape)}", file=str(path))
    return {
        net: {name: np.asarray(found[f"{net}.{name}"], np.float32) for name in sizes}
        for net, sizes in _NETS.items()
    }


def _digest(nets: Mapping[str, Tensors]) -> str:
    """Return the sha256 over all values in the order of the layers, the same for every kind of file."""
    total = hashlib.sha256()
    for net, sizes in _NETS.items():
        for name in sizes:
            total.update(np.ascontiguousarray(nets[net][name], "<f4").tobytes())
    return total.hexdigest()
