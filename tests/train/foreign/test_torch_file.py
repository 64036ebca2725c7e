"""The reader of torch files: equal to what torch saved, in every form, and never more than data."""

import argparse
import collections
import io
import os
import pickle
import random
import resource
import struct
import zipfile

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.train.weights.foreign.torch_files.inert_pickle import read_pickle
from lrfr.train.weights.foreign.torch_files.inert_values import Caps, Inert, Refused, TensorRef
from lrfr.train.weights.foreign.torch_files.torch_file import TorchFile

BASE = torch.arange(24, dtype=torch.float32).view(4, 6) / 7
TENSORS = collections.OrderedDict(
    whole=BASE,
    strided=BASE[1:3, ::2],
    turned=BASE.t(),
    expanded=torch.ones(1).expand(3, 2),
    scalar=torch.tensor(3.5),
    empty=torch.empty(0, 3),
    half=BASE.half(),
    brain=BASE.bfloat16(),
    double=BASE.double(),
    long=torch.arange(-3, 4),
    int=torch.arange(5, dtype=torch.int32),
    short=torch.arange(5, dtype=torch.int16),
    int8=torch.arange(-2, 3, dtype=torch.int8),
    uint8=torch.arange(5, dtype=torch.uint8),
    flags=BASE > 1,
    parameter=torch.nn.Parameter(BASE.clone()),
)


class Odd:
    """A class that no reader may make."""

    def __init__(self):
        self.tensor = BASE


SAVED = {
    "state_dict": TENSORS,
    "epoch": 3,
    "lr": 1e-3,
    "big": 2**80,
    "negative": -(2**40),
    "text": "Gesicht ä",
    "bytes": b"\x00\xff",
    "nothing": None,
    "flag": True,
    "nested": [1, (2.5, [3])],
    "size": BASE.size(),
    "args": argparse.Namespace(width=64),
    "score": np.float64(0.5),
    "odd": Odd(),
    "dtype": torch.float32,
    "default": collections.defaultdict(list, a=1),
}


def tensors(file, tree):
    return {name: file.tensor(ref) for name, ref in tree.items() if isinstance(ref, TensorRef)}


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False])
def test_it_reads_what_torch_saved(tmp_path, new, protocol):
    path = tmp_path / "w.pth"
    torch.save(SAVED, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    with TorchFile(path) as file:
        found = tensors(file, file.root["state_dict"])
        assert list(found) == list(TENSORS)
        for name, wanted in TENSORS.items():
            wanted = wanted.detach()
            assert torch.equal(found[name], wanted) and found[name].dtype == wanted.dtype, name
            assert found[name].stride() == wanted.stride(), name
        assert found["whole"].data_ptr() == found["turned"].data_ptr(), "one storage, one memory"
        for name in ("epoch", "lr", "big", "negative", "text", "nothing", "flag", "nested"):
            assert file.root[name] == SAVED[name] and type(file.root[name]) is type(SAVED[name])
        assert file.root["size"] == (4, 6) and file.root["bytes"] == b"\x00\xff"
        assert isinstance(file.root["odd"], Inert) and file.root["odd"].name.endswith(".Odd")
        assert torch.equal(file.tensor(file.root["odd"].items["tensor"]), BASE)
        assert file.root["args"].items["width"] == 64


def test_archives_that_were_packed_again_are_read(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with TorchFile(tmp_path / "b.pth") as file:
        assert torch.equal(file.tensor(file.root["a"]), BASE)


def test_numbers_of_a_big_endian_machine_are_turned(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            if "/data/" in name:
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            new.writestr(name, data)
    with TorchFile(tmp_path / "b.pth") as file:
        assert torch.equal(file.tensor(file.root["a"]), BASE)


class Evil:
    def __init__(self, function, *given):
        self.made = (function, given)

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_nothing_is_called(tmp_path, protocol):
    path = tmp_path / "touched"
    data = pickle.dumps(
        [Evil(os.mkdir, str(path)), Evil(eval, f"__import__('os').mkdir({str(path)!r})")], protocol
    )
    value = read_pickle(data).value
    assert not path.exists() and [item.name.rpartition(".")[2] for item in value] == ["mkdir", "eval"]


def refused(data, words, **caps):
    with pytest.raises(Refused, match=words):
        read_pickle(data, 0, Caps(**caps))


def test_caps_of_the_stack():
    refused(b"(" * 300 + b".", "open marks")
    refused(b"N" * 50 + b".", "more than 40 steps", opcodes=40)
    refused(b"\x8b" + struct.pack("<i", 4096) + bytes(4096) + b".", "integer beyond")
    refused(b"I" + b"9" * 500 + b"\n.", "integer beyond")
    refused(b"X" + struct.pack("<I", 2**31) + b"a.", "ends early")
    refused(b"r" + struct.pack("<I", 5), "more values")
    refused(b"Nr" + struct.pack("<I", 2**31) + b".", "memo slot beyond")
    refused(b"h\x07.", "empty")
    refused(b"\x82\x01.", "opcode")
    refused(b"N", "ends early")
    refused(b"", "ends early")
    # one list that is copied again and again, each time under 5 bytes
    big = b"(" + b"N" * 1000 + b"lq\x00ccollections\nOrderedDict\nq\x01"
    refused(
        pickle.dumps(list(range(2000)), 2)[:-1]
        + b"q\x00cbuiltins\nlist\nq\x01"
        + b"h\x01h\x00\x85R" * 900
        + b".",
        "copies more",
        opcodes=900_000,
    )
    assert big
    # keys whose hash would cost the process its stack or its time
    refused(b"}" + b")" + b"\x85" * 3000 + b"Ns.", "key of a dictionary")
    refused(b"}\x8a\x09" + (2**65).to_bytes(9, "little") + b"Ns.", "key of a dictionary")
    refused(b"}]Ns.", "list as the key")


def view(offset=0, shape=(4, 6), strides=(6, 1), count=24):
    """A pickle of one tensor with numbers of our choice."""
    out = io.BytesIO()
    out.write(
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    )

    def integer(value):
        raw = value.to_bytes(9, "little", signed=True)
        out.write(b"\x8a\x09" + raw)

    integer(count)
    out.write(b"tQ")
    integer(offset)
    for numbers in (shape, strides):
        out.write(b"(")
        for number in numbers:
            integer(number)
        out.write(b"t")
    out.write(b"\x89}tR.")
    return out.getvalue()


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 1},
        {"offset": -1},
        {"shape": (5, 6)},
        {"strides": (7, 1)},
        {"strides": (-6, 1)},
        {"shape": (-4, 6)},
        {"shape": (4,)},
        {"shape": (2**40, 2**40), "strides": (0, 0)},
        {"count": -1},
        {"offset": 2**61, "shape": (1, 1)},
        {"shape": (1,) * 20, "strides": (1,) * 20},
    ],
    ids=str,
)
def test_views_that_leave_their_storage_are_refused(wrong):
    assert read_pickle(view()).value.shape == (4, 6)
    with pytest.raises(Refused):
        read_pickle(view(**wrong))


def rewritten(path, out, change):
    """Write the archive again with some records changed; sums are right."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = change(name.partition("/")[2], old.read(name))
            if data is not None:
                new.writestr(name, data)
    return out


def message(path):
    with pytest.raises(DataError) as caught, TorchFile(path) as file:
        tensors(file, file.root)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_files_of_torch(tmp_path):
    torch.save({"a": BASE, "b": BASE.half()}, tmp_path / "a.pth")
    good = tmp_path / "a.pth"
    assert "missing" in message(rewritten(good, tmp_path / "1", lambda n, d: None if n == "data/0" else d))
    assert "has 8 bytes of 96" in message(
        rewritten(good, tmp_path / "2", lambda n, d: d[:8] if n == "data/0" else d)
    )
    assert "without a data.pkl" in message(
        rewritten(good, tmp_path / "3", lambda n, d: None if "pkl" in n else d)
    )
    (tmp_path / "4").write_bytes(b"")
    assert "no bytes" in message(tmp_path / "4")
    (tmp_path / "5").write_bytes(bytes(257) + b"ustar" + bytes(300))
    assert "before 0.1.10" in message(tmp_path / "5")
    (tmp_path / "6").write_bytes(b"not a model at all" * 9)
    message(tmp_path / "6")
    (tmp_path / "7").write_bytes(good.read_bytes()[:-40])
    message(tmp_path / "7")
    (tmp_path / "8").write_bytes(pickle.dumps({"a": 1}))
    assert "does not begin as torch.save" in message(tmp_path / "8")
    damaged = bytearray(good.read_bytes())
    place = damaged.find(BASE.numpy().tobytes())
    damaged[place + 5] ^= 1
    (tmp_path / "9").write_bytes(damaged)
    assert "CRC" in message(tmp_path / "9")
    torch.save({"a": BASE}, tmp_path / "10", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "10").read_bytes()
    (tmp_path / "10").write_bytes(whole[:-1])
    assert "ends early" in message(tmp_path / "10")
    with pytest.raises(SpecError):
        TorchFile(tmp_path)
    with pytest.raises(SpecError):
        TorchFile(tmp_path / "none")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "11")
    assert "TorchScript" in message(tmp_path / "11")


def test_a_small_file_never_becomes_a_large_one(tmp_path):
    torch.save({f"t{k}": torch.ones(1).expand(512, 512) for k in range(40)}, tmp_path / "views.pth")
    assert "more than the cap" in message(tmp_path / "views.pth")
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"}.")
        archive.writestr("a/data/0", bytes(50_000_000))
    assert "unpack to more" in message(tmp_path / "bomb.pth")


def seeds(folder):
    """Small files of both formats, as bytes, and what makes an archive of a pickle."""
    found = []
    saved = {
        "state_dict": {"a": BASE, "b": BASE[1:, 2:].half(), "c": torch.tensor(3)},
        "n": [1, "x", 2.5],
        "odd": Odd(),
    }
    for new, protocol in ((True, 2), (False, 2), (False, 1), (False, 4)):
        torch.save(saved, folder / "seed", _use_new_zipfile_serialization=new, pickle_protocol=protocol)
        found.append((folder / "seed").read_bytes())
    return found


def mutant(generator, data):
    data = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        at = generator.randrange(len(data))
        kind = generator.randrange(6)
        if kind == 0:
            data[at] ^= 1 << generator.randrange(8)
        elif kind == 1:
            data[at] = generator.choice(b"\x00\xff\x7f\x80(.})]RbQtueoqrh\x8a\x8bXUKJM\x85\x86\x87\x93\x94")
        elif kind == 2:
            data[at : at + generator.randrange(1, 9)] = b""
        elif kind == 3:
            data[at:at] = bytes(generator.randrange(256) for _ in range(generator.randrange(1, 5)))
        elif kind == 4:
            start = generator.randrange(len(data))
            data[at:at] = data[start : start + generator.randrange(1, 40)]
        else:
            data[at : at + 4] = struct.pack("<I", generator.choice((0, 1, 2**16, 2**31 - 1, 2**32 - 1)))
        if not data:
            return b"x"
    return bytes(data)


def fuzz(folder, count, seed):
    """Every mutant ends as tensors or as one message; return how many of each."""
    generator, ends = random.Random(seed), collections.Counter()
    originals = seeds(folder)
    with zipfile.ZipFile(io.BytesIO(originals[0])) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in records if name.endswith("data.pkl"))
    path = folder / "mutant"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        if number % 2:  # a sound archive around a damaged pickle: otherwise its sums hide the machine
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as archive:
                for name, data in records.items():
                    archive.writestr(name, mutant(generator, data) if name == pickled else data)
            path.write_bytes(out.getvalue())
        else:
            path.write_bytes(mutant(generator, generator.choice(originals)))
        try:
            with TorchFile(path) as file:
                waiting, seen = [file.root], 0
                while waiting and seen < 1000:
                    value, seen = waiting.pop(), seen + 1
                    if isinstance(value, TensorRef):
                        assert file.tensor(value).float().sum() is not None
                    waiting += (
                        list(value.values())
                        if isinstance(value, dict)
                        else value
                        if isinstance(value, list)
                        else []
                    )
            ends["read"] += 1
        except LrfrError as error:
            assert "\n" not in str(error) and len(str(error)) < 500
            ends["refused"] += 1
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 256, grown_mib
    return ends


def test_three_thousand_damaged_files(tmp_path):
    ends = fuzz(tmp_path, 3000, 0)
    assert sum(ends.values()) == 3000 and min(ends["read"], ends["refused"]) > 100


@pytest.mark.soak
def test_two_hundred_thousand_damaged_files(tmp_path):
    ends = fuzz(tmp_path, 200_000, 1)
    print(dict(ends))
    assert sum(ends.values()) == 200_000
