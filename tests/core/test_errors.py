"""Errors keep their place and hint in text, in JSON and on the way back from a worker process."""

import json
import pickle
import struct
import subprocess
import tarfile
import zipfile

import pytest

from lrfr.core import errors
from lrfr.core.errors import DataError, ImageFault

KINDS = [errors.SpecError, errors.DataError, errors.LockedError, errors.EnvironmentFault, errors.NumericFault]


@pytest.mark.parametrize("kind", KINDS)
def test_text_names_file_line_place_and_hint(kind):
    error = kind(
        "unknown key 'sgima'",
        file="a.yaml",
        line=3,
        column=5,
        path="pipeline[0]",
        hint="did you mean 'sigma'?",
    )
    assert str(error) == "a.yaml:3:5: pipeline[0]: unknown key 'sgima' (did you mean 'sigma'?)"


@pytest.mark.parametrize("kind", KINDS)
def test_survives_pickling_between_processes(kind):
    error = kind("m", file="f", line=1, column=None, path="p", hint="h")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind and back.as_dict() == error.as_dict() and back.exit_code == error.exit_code


def test_exit_codes_are_distinct_and_as_documented():
    assert [kind.exit_code for kind in KINDS] == [2, 3, 4, 5, 6]


def test_image_fault_survives_pickling_with_its_reason():
    back = pickle.loads(pickle.dumps(ImageFault("E_SIZE", "1x1", file="anna.jpg")))
    assert back.code == "E_SIZE" and "1x1" in str(back) and back.file == "anna.jpg"


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("magu", "maug"), ("turbulence", "turb"), ("cat", "catface"), ("q", None), (7, None)],
)
def test_an_unknown_word_meets_the_nearest_name(word, nearest):
    said = errors.did_you_mean(word, ["turb", "maug", "catface"])
    assert said.endswith("known: catface, maug, turb")
    assert said.startswith(f"did you mean '{nearest}'?" if nearest else "known:")


def _raised():
    import cv2
    import lmdb
    import numpy as np
    import torch
    import yaml
    import zstandard
    from safetensors import SafetensorError

    return [
        (MemoryError(), 5),
        (torch.OutOfMemoryError("CUDA out of memory"), 5),
        (lmdb.MapFullError("full"), 5),
        (lmdb.CorruptedError("damaged"), 3),
        (SafetensorError("header"), 3),
        (cv2.error("bad"), 3),
        (zstandard.ZstdError("bad"), 3),
        (zipfile.BadZipFile("bad"), 3),
        (tarfile.ReadError("bad"), 3),
        (json.JSONDecodeError("bad", "x", 0), 3),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), 3),
        (struct.error("short"), 3),
        (RecursionError("deep"), 3),
        (yaml.YAMLError("bad"), 2),
        (np.linalg.LinAlgError("singular"), 6),
        (subprocess.TimeoutExpired("x", 3), 5),
        (PermissionError(13, "denied", "x"), 5),
        (KeyError("a bug"), 1),
        (OSError(28, "No space left on device", "x"), 5),
        (AssertionError("a bug"), 1),
    ]


def test_every_class_of_error_has_its_exit_code_at_the_border(monkeypatch, capsys):
    from lrfr.cli import main

    for error, code in _raised():

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(main.cli, "main", fail)
        assert main.run(["doctor"]) == code, error
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "Traceback" not in said


def test_a_name_without_end_makes_no_message_without_end():
    error = DataError("m" * 100_000, file="/a/" + "x" * 100_000, path="p" * 100_000)
    assert len(str(error)) < 20_000 and str(error).startswith("/a/xx") and str(error).endswith("mm")
    assert len(str(DataError("m" * 5000))) == 5000
