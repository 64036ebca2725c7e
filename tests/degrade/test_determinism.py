"""Same spec, same face: same bytes, whatever the process, the environment and the CPU features."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lrfr.degrade.ops.table import OPS
from tests.degrade import golden
from tests.degrade.samples import faces, keys, pipeline

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def here():
    return golden.digests()


def elsewhere(**environment):
    done = subprocess.run(
        [sys.executable, "-m", "tests.degrade.golden", "--print"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_every_op_has_a_golden_step():
    assert set(golden.STEPS) == {name for name, op in OPS.items() if op.portable}
    assert set(golden.NATIVE_STEPS) == {name for name, op in OPS.items() if not op.portable}


def test_no_pixel_moves_without_a_new_revision():
    record = json.loads(golden.FILE.read_text())
    ops = golden.comparable(record)
    if not ops:
        pytest.skip(f"golden values are of {record['versions']}; this is {golden.versions()}")
    assert not golden.moved(record["ops"], golden.golden(), ops)
    if golden.NATIVE_STEPS.keys() - ops:
        pytest.skip(f"the rest is of {record['processor']}; this is {golden.processor()}")


def test_moved_pixels_and_unrenewed_revisions_are_told_apart():
    known = {"a": [1, "x"], "b": [1, "x"], "c": [1, "x"]}
    found = {"a": [1, "x"], "b": [1, "y"], "c": [2, "y"], "d": [1, "z"]}
    faults = golden.moved(known, found, found)
    assert [fault[0] for fault in faults] == ["b", "c", "d"]
    assert "raise it" in faults[0]
    assert all("run: python -m tests.degrade.golden" in fault for fault in faults[1:])


def test_golden_values_of_moved_pixels_are_not_renewed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(golden, "FILE", tmp_path / "golden.json")
    monkeypatch.setattr(golden, "golden", lambda: {"jpeg": [1, "new"]})
    monkeypatch.setattr(golden, "comparable", lambda record: {"jpeg"})
    text = json.dumps({"ops": {"jpeg": [1, "old"]}})
    golden.FILE.write_text(text)
    assert golden.renew() == 1
    assert golden.FILE.read_text() == text
    assert "jpeg" in capsys.readouterr().err
    monkeypatch.setattr(golden, "golden", lambda: {"jpeg": [2, "new"]})
    assert golden.renew() == 0
    assert json.loads(golden.FILE.read_text())["ops"] == {"jpeg": [2, "new"]}


@pytest.mark.parametrize(("backwards", "batch"), [(True, 1), (False, 1), (True, 7)])
def test_batch_size_and_order(here, backwards, batch):
    assert golden.digests(backwards, batch) == here


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "0", "LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Auckland", "OMP_NUM_THREADS": "2"},
        {
            **{
                "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,AVX,FP16,SSE4.2,SSE4.1",
                "OPENCV_IPP": "disabled",
                "OPENCV_FOR_THREADS_NUM": "2",
            },
            **{
                "ATEN_CPU_CAPABILITY": "default",
                "JSIMD_FORCENONE": "1",
                "PYTHONHASHSEED": "77",
                "LC_ALL": "C",
            },
        },
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
            "TZ": "UTC",
        },
    ],
    ids=["hash seed, locale, threads", "opencv, torch and jpeg without SIMD", "numpy without SIMD"],
)
def test_environment_and_cpu_features_do_not_matter(here, environment):
    there = elsewhere(**environment)
    moved = {op for op in here if there[op] != here[op]}
    assert not moved


def _one_batch(rows):
    torch.set_num_threads(1)
    run = pipeline(CHAIN)
    images, names = faces(24), keys(24)
    return [
        hashlib.sha256(item.image.tobytes()).hexdigest()
        for item in run.run([names[r] for r in rows], [images[r] for r in rows], 1)
    ]


CHAIN = """\
  - {op: gaussian_blur, p: 0.5, sigma: {uniform: [0.2, 3.0]}}
  - {op: poisson_noise, p: 0.5, photons: {log_uniform: [16, 128]}}
  - {op: jpeg, p: 0.5, quality: {randint: [30, 95]}}
  - {op: down, size: {choice: [7, 14, 20]}, filter: bicubic, antialias: true}
"""


def test_the_number_of_workers_does_not_matter():
    alone = _one_batch(range(24))
    for workers in (2, 4):
        parts = [range(start, start + 6) for start in range(0, 24, 6)]
        with ProcessPoolExecutor(workers) as pool:
            assert [digest for part in pool.map(_one_batch, parts) for digest in part] == alone


def test_global_generators_are_neither_read_nor_moved():
    import random

    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    cv2.setRNGSeed(3)
    before = (np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state().numpy().tobytes())  # noqa: NPY002
    golden.digests(batch=18)
    after = (np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state().numpy().tobytes())  # noqa: NPY002
    assert before == after


def test_reading_a_spec_imports_no_heavy_library():
    code = (
        "import sys; from lrfr.degrade.spec.model import load_spec; from lrfr.degrade.spec.json_schema import spec_schema; from lrfr.degrade.ops.table import OPS;"
        "load_spec('surveillance'); spec_schema();"
        "print([name for name in ('torch', 'albumentations', 'scipy', 'cv2', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.strip() == "[]"
