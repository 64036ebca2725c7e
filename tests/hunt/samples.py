"""One good file of every format that lrfr reads, small, and what reads it."""

from __future__ import annotations

import io
import os
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.hunt.command_lines import GOOD_LINE, line_world, other_line, run_line, source_words
from tests.hunt.forging import JSON, JSON_LINES, RAW, SEALED, TEXT, Forge, lines
from tests.hunt.kept_samples import each, kept
from tests.pairs.toy import ToySource, build

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Format:
    """A format: its good files by name of the file, what reads one, how it is forged, pictures that lie beside, and
    the good files among which one lies where those are not all.
    """

    good: Callable[[], dict[str, bytes]]
    read: Read
    forges: tuple[Forge, ...] = RAW
    beside: tuple[str, ...] = ()
    around: Callable[[], dict[str, bytes]] | None = None

    def all_files(self) -> dict[str, bytes]:
        """Return everything that lies there before one file is forged."""
        return (self.around or self.good)()


# ---- pictures


def _face(number: int = 0, side: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8))


def _saved(kind: str, image: Image.Image | None = None, **how: object) -> bytes:
    made = io.BytesIO()
    (image or _face()).save(made, kind, **how)
    return made.getvalue()


@cache
def pictures() -> dict[str, dict[str, bytes]]:
    gray, alpha = _face().convert("L"), _face().convert("RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "jpeg": {
            "a.jpg": _saved("JPEG"),
            "b.jpg": _saved("JPEG", progressive=True),
            "c.jpg": _saved("JPEG", gray),
            "d.jpg": _saved("JPEG", exif=exif.tobytes()),
            "e.jpg": _saved("JPEG", _face().convert("CMYK")),
        },
        "png": {
            "a.png": _saved("PNG"),
            "b.png": _saved("PNG", alpha),
            "c.png": _saved("PNG", _face().quantize(16)),
            "d.png": _saved("PNG", Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 99)),
        },
        "gif": {"a.gif": _saved("GIF", save_all=True, append_images=[_face(1)]), "b.gif": _saved("GIF")},
        "bmp": {"a.bmp": _saved("BMP"), "b.bmp": _saved("BMP", gray)},
        "tiff": {
            "a.tif": _saved("TIFF"),
            "b.tif": _saved("TIFF", compression="tiff_lzw"),
            "c.tif": _saved("TIFF", compression="jpeg"),
            "d.tif": _saved("TIFF", save_all=True, append_images=[_face(1)]),
        },
        "webp": {"a.webp": _saved("WEBP"), "b.webp": _saved("WEBP", alpha, lossless=True)},
        "netpbm": {
            "a.ppm": _saved("PPM"),
            "b.pgm": _saved("PPM", gray),
            "c.ppm": b"P3\n2 2 255\n" + b"1 2 3 " * 4,
        },
    }


def _decode(path: Path) -> object:
    from lrfr.core.image import decode, probe

    data = path.read_bytes()
    try:
        probe(data)
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
    return decode(data)


@cache
def beside(number: int) -> bytes:
    """Return a picture for lists that name pictures."""
    return _saved("JPEG", _face(number))


# ---- a store


@cache
def store_files() -> dict[str, bytes]:
    """Every file of a small store by its name in it."""
    import shutil

    from tests.pairs.toy import fast_folder

    root = fast_folder()
    try:
        build(root / "store", ToySource(ids=3, per_id=3))
        return {
            str(path.relative_to(root / "store")): path.read_bytes()
            for path in sorted((root / "store").rglob("*"))
            if path.is_file() and path.name != ".lock"
        }
    finally:
        shutil.rmtree(root, ignore_errors=True)


def of_store(*ends: str) -> Callable[[], dict[str, bytes]]:
    """Return the files of the store whose names end so."""
    return lambda: {name: data for name, data in store_files().items() if name.endswith(ends)}


def read_store(path: Path) -> object:
    """Read, list, verify and describe a store; ``path`` is the forged file in it, whose other files are good."""
    root = path
    while not (root / "views").is_dir():
        root = root.parent
    from lrfr import PairDataset, Store
    from lrfr.pairs.care.inventory import gc, listing

    def rows() -> None:
        dataset = PairDataset(root, "default")
        for row in range(min(12, len(dataset))):
            item = dataset[row]
            assert tuple(item["hr"].shape)[-2:] == (16, 16)

    return each(
        rows,
        lambda: Store(root).verify(),
        lambda: Store(root).verify(deep=True),
        lambda: listing(root),
        lambda: Store(root).card(),
        lambda: gc(root, dry_run=True),
        lambda: Store(root).repair(),
    )


# ---- archives and packed sources


def _tar(mode: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for number in range(4):
            data = _saved("JPEG", _face(number))
            info = tarfile.TarInfo(f"person{number // 2}/{number}é.jpg")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"person{number // 2}/{number}.jpg", _saved("JPEG", _face(number)))
    return made.getvalue()


def _rec() -> bytes:
    made = b""
    for number in range(4):
        data = struct.pack("<IfQQ", 0, float(number // 2), number, 0) + _saved("JPEG", _face(number))
        made += struct.pack("<II", 0xCED7230A, len(data)) + data + bytes(-len(data) % 4)
    return made


def _npz() -> bytes:
    made = io.BytesIO()
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.savez(made, images=images, labels=np.array(["a", "a", "b", "b"]))
    return made.getvalue()


def _npy() -> bytes:
    made = io.BytesIO()
    np.save(made, np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8))
    return made.getvalue()


def _mat() -> bytes:
    from scipy.io import savemat

    made = io.BytesIO()
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 3, 4), np.uint8)
    savemat(made, {"X": images, "y": np.arange(4)}, do_compression=True)
    return made.getvalue()


def _bin() -> bytes:
    import pickle

    return pickle.dumps(([_saved("JPEG", _face(number)) for number in range(4)], [True, False]), protocol=4)


def _parquet(kind: str) -> bytes:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    rows = [{"bytes": _saved("JPEG", _face(number)), "path": f"{number}.jpg"} for number in range(4)]
    table = arrow.table({"image": arrow.array(rows), "label": arrow.array([0, 0, 1, 1])})
    made = io.BytesIO()
    if kind == "parquet":
        parquet.write_table(table, made)
    else:
        with arrow.ipc.new_file(made, table.schema) as writer:
            writer.write_table(table)
    return made.getvalue()


def _lmdb() -> dict[str, bytes]:
    import tempfile

    import lmdb

    with tempfile.TemporaryDirectory() as folder:
        held = lmdb.open(folder, map_size=1 << 22)
        with held.begin(write=True) as transaction:
            for number in range(4):
                transaction.put(f"person{number // 2}/{number}".encode(), _saved("JPEG", _face(number)))
        held.close()
        return {"a.lmdb/data.mdb": Path(folder, "data.mdb").read_bytes()}


def _source(kind: str) -> Read:
    def read(path: Path) -> object:
        from lrfr.core.errors import LrfrError
        from lrfr.core.image import check_image, decode
        from lrfr.pairs.executors.picture_limits import within_limits
        from lrfr.pairs.sources.table import open_source

        place = path.parent if kind == "lmdb" else path
        source = open_source(f"{kind}:{place}")
        listing, told = source.listing(), None
        for face in list(listing.faces)[:6]:
            try:
                content = within_limits(lambda face=face: source.read(face.place))
                check_image(content) if isinstance(content, np.ndarray) else decode(content)
            except LrfrError as error:
                told = error
        if told:
            raise told
        return listing

    return read


# ---- texts


def _beside(text: str, name: str) -> Callable[[], dict[str, bytes]]:
    return lambda: {name: text.encode()}


def _read_spec(path: Path) -> object:
    from lrfr.degrade.inspect.spec_check import check_specs

    found, faults = check_specs([str(path)])
    if faults:
        raise faults[0]
    return found


def _experiments() -> dict[str, bytes]:
    from lrfr.experiment.experiment import SHIPPED

    return {path.name: path.read_bytes() for path in sorted(SHIPPED.glob("*.yaml"))}


def _read_recipe(path: Path) -> object:
    from lrfr.train.recipe import load_recipe

    return load_recipe("fskd", str(path))


def _read_experiment(path: Path) -> object:
    from lrfr.experiment.declare import load_declaration
    from lrfr.experiment.steps.command_plan import steps_of

    steps = steps_of(load_declaration(path))
    assert all(isinstance(word, str) for step in steps for word in step.argv)
    return steps


def _read_list(function: str) -> Read:
    def read(path: Path) -> object:
        from importlib import import_module

        module, name = function.split(":")
        found = getattr(import_module(module), name)
        return found(path, path.parent, "x") if name in {"read_lfw_list", "read_pairs_tsv"} else found(path)

    return read


def _of(module: str, name: str) -> Read:
    def read(path: Path) -> object:
        from importlib import import_module

        return getattr(import_module(f"lrfr.{module}"), name).read(path)

    return read


SPEC = """version: 1
name: x
seed: 3
image: {size: 32}
pipeline:
  - {op: down, id: d1, size: {choice: [5, 7]}, filter: bicubic, antialias: true}
  - {op: jpeg, id: j, quality: {randint: [10, 90]}, p: 0.5}
store: {lr: native, up: {size: 32, filter: bicubic, antialias: true}}
"""
RECIPE = """method: fskd
about: x
options: {lambda: 20.0}
train: {lr: 0.1, batch_size: 8, milestones: [2, 3]}
"""
PICTURES = ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
LFW_PICTURES = tuple(
    f"{name}/{name}_000{number}.jpg" for name in ("A_B", "C_D", "E_F") for number in (1, 2, 3)
)
LANDMARKS = "a 10.5 20 30 20 20 30 12 40 28 40\nb\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\n"
LFW = "2\t1\nA_B\t1\t2\nA_B\t1\tC_D\t2\nE_F\t1\t3\nA_B\t3\tC_D\t1\n"
TSV = "left\tright\tsame\na/1.jpg\ta/2.jpg\t1\na/1.jpg\tb/1.jpg\t0\n"
CSV = 'path,label,split\na/1.jpg,anna,train\nb/2.jpg,"b, c",test\n'
ATTRIBUTES = "key,male,smiling,age\na/1,1,0,33\nb/2,-1,1,\n"


def _read_words(path: Path) -> object:
    """List what a text behind --source names, and read two faces of it."""
    from itertools import islice

    from lrfr.pairs.executors.picture_limits import within_limits
    from lrfr.pairs.sources.table import open_source

    for number in range(2):
        (path.parent / f"faces/p{number}").mkdir(parents=True)
        (path.parent / f"faces/p{number}/0.jpg").write_bytes(beside(number))
    os.chdir(path.parent)
    words = path.read_bytes().decode("utf-8", "surrogatepass")
    source = open_source(words)
    if re.search(r"(ids|per_id|count)=\D?\d{4}", words):
        return None  # to list the faces of so many people takes as long as it must
    for face in islice(source.listing().faces, 2):
        within_limits(lambda face=face: source.read(face.place))
    return None


# ---- weights and runs


@cache
def _weights() -> dict[str, bytes]:
    import torch
    from safetensors.torch import save

    state = {"conv.weight": torch.arange(24.0).view(2, 3, 2, 2), "bn.running_var": torch.ones(2)}
    packed, stream = io.BytesIO(), io.BytesIO()
    torch.save(state, packed)
    torch.save(state, stream, _use_new_zipfile_serialization=False)
    return {
        "a.safetensors": save(state, {"input_range": "-1,1"}),
        "b.pth": packed.getvalue(),
        "c.pt": stream.getvalue(),
        "d.index.json": b'{"weight_map": {"conv.weight": "a.safetensors"}}',
    }


def _read_weights(path: Path) -> object:
    from lrfr.train.weights.foreign.names.weight_sets import open_weights

    held = open_weights(path)
    for one in held.sets:
        for name in list(one.shapes)[:4]:
            one.read(name)
    return held


@cache
def _onnx() -> dict[str, bytes]:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3 * 112 * 112])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )
    return {"a.onnx": helper.make_model(graph, ir_version=8).SerializeToString()}


def _read_onnx(path: Path) -> object:
    from lrfr.train.weights.foreign.runtimes.onnx_file import parsed

    return parsed(path)


JOURNAL = b'{"step": 1, "loss": {"total": 2.5}, "lr": 0.1}\n{"step": 2, "loss": {"total": 2.0}, "lr": 0.1}\n{"event": "end", "step": 2}\n'


def _read_journal(path: Path) -> object:
    from lrfr.train.engine.journal import loss_trace

    return loss_trace(path)


def _read_cache(path: Path) -> object:
    from lrfr.pairs.build.look.scan_cache import ScanCache

    with ScanCache(path) as held:
        return len(held)


def _read_again(path: Path) -> object:
    """The same command on a store whose cache or log was forged gives the same view."""
    root = path
    while not (root / "views").is_dir():
        root = root.parent
    made = build(root, ToySource(ids=3, per_id=3))
    assert made.done.rows == 9
    return None


TRACE = b'{"key": "a", "file": "a.png", "sha256": "00", "fit_px": 112, "px": [14, 14], "variant": 0, "seed": 1, "spec": "x", "steps": [{"id": "d", "op": "down", "params": {"size": 14}}]}\n'


@cache
def _result() -> dict[str, bytes]:
    """A result file as the evaluator writes it."""
    import tempfile

    from lrfr.eval.protocols.table import BENCHMARKS
    from lrfr.eval.result_files import write_results
    from tests.eval.world import quick_task

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_results(BENCHMARKS["synthetic"].run(None, quick_task(sizes=(112, 14))), path)
        return {"a.json": path.read_bytes()}


def _read_result(path: Path) -> object:
    import contextlib
    import io

    from lrfr.cli.main import run
    from lrfr.core.errors import DataError, LrfrError
    from lrfr.eval.result_files import read_results

    read_results([path])
    # what is read can be shown
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = run(["report", str(path), "--out", str(path.with_name("page.html")), "--dry-run"])
    if code == 1:
        raise AssertionError(said.getvalue()[-300:])
    if code:
        raise DataError(said.getvalue()[-300:] or "refused")
    assert LrfrError
    return None


def formats() -> dict[str, Format]:
    """Every format by name."""
    found = {name: Format(lambda good=good: good, _decode) for name, good in pictures().items()}
    found |= {
        "store json": Format(of_store(".json"), read_store, SEALED, around=store_files),
        "store shard": Format(of_store(".mdb"), read_store, around=store_files),
        "store table": Format(of_store(".npy", ".npz"), read_store, around=store_files),
        "store cache": Format(
            lambda: {n: d for n, d in store_files().items() if "cache/" in n or n == "run.log"},
            _read_again,
            around=store_files,
        ),
        "tar": Format(
            lambda: {"a.tar": _tar("w"), "b.tar.gz": _tar("w:gz"), "c.tar.xz": _tar("w:xz")}, _source("tar")
        ),
        "zip": Format(lambda: {"a.zip": _zip()}, _source("zip")),
        "recordio": Format(lambda: {"a.rec": _rec()}, _source("recordio")),
        "arrays": Format(lambda: {"a.npz": _npz(), "b.npy": _npy(), "c.mat": _mat()}, _source("arrays")),
        "bin": Format(lambda: {"a.bin": _bin()}, _source("bin")),
        "parquet": Format(
            lambda: {"a.parquet": _parquet("parquet"), "b.arrow": _parquet("arrow")}, _source("parquet")
        ),
        "lmdb": Format(_lmdb, _source("lmdb")),
        "csv": Format(_beside(CSV, "a.csv"), _source("csv"), TEXT, PICTURES),
        "list": Format(_beside("a/1.jpg 3\nb/2.jpg 4\n", "a.lst"), _source("list"), TEXT, PICTURES),
        "spec": Format(_beside(SPEC, "a.yaml"), _read_spec, TEXT),
        "recipe": Format(_beside(RECIPE, "a.yaml"), _read_recipe, TEXT),
        "experiment": Format(_experiments, _read_experiment, TEXT),
        "landmarks": Format(
            _beside(LANDMARKS, "a.tsv"), _read_list("lrfr.pairs.align.landmark_table:read_table"), TEXT
        ),
        "lfw list": Format(
            _beside(LFW, "pairs.txt"),
            _read_list("lrfr.eval.protocols.pair_lists:read_lfw_list"),
            TEXT,
            LFW_PICTURES,
        ),
        "pairs tsv": Format(
            _beside(TSV, "a.tsv"), _read_list("lrfr.eval.protocols.pair_lists:read_pairs_tsv"), TEXT, PICTURES
        ),
        "attributes": Format(
            _beside(ATTRIBUTES, "a.csv"),
            _read_list("lrfr.pairs.sources.listed.attribute_file:read_attributes"),
            TEXT,
        ),
        "result": Format(_result, _read_result, JSON),
        "weights": Format(_weights, _read_weights),
        "onnx": Format(_onnx, _read_onnx),
        "journal": Format(lambda: {"journal.jsonl": JOURNAL}, _read_journal, (*RAW, lines)),
        "trace": Format(
            lambda: {"trace.jsonl": TRACE},
            _read_list("lrfr.degrade.inspect.trace_file:read_traces"),
            (*RAW, *JSON_LINES),
        ),
    }
    found |= {
        name: Format(good, read, forges, around=around)
        for name, (good, read, forges, around) in kept().items()
    }
    found["command line"] = Format(
        lambda: {"line.json": GOOD_LINE}, run_line, (other_line,), around=line_world
    )
    found["source words"] = Format(
        _beside("synthetic:ids=2,per_id=2,seed=0", "words"), _read_words, (source_words,)
    )
    return found
