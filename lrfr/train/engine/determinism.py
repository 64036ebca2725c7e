"""CPU training is bit-reproducible for one thread count and one choice of kernels: pin both, and put them
back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lrfr.core.machine import cores_of_process, torch_threads

# number of threads, choice of kernels and torch's random state are the process's: trainings take turns
_TURN = threading.RLock()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with ``count`` CPU threads (0 = this process's part of the usable cores), while no other thread
    trains.
    """
    with _TURN, torch_threads(count or cores_of_process()):
        yield


@contextmanager
def own_random_state() -> Iterator[None]:
    """Draw from torch without a trace, while no other thread trains; of several GPUs only the one in use is
    asked, as asking opens it.
    """
    opened = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if opened else []
    with _TURN, torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def kernels(deterministic: bool = True) -> Iterator[None]:
    """Run without denormal numbers (slow on a CPU) and with the caller's random state untouched; with
    deterministic kernels, or with the fastest that cuDNN finds by trying.
    """
    deterministic_module: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    fill = deterministic_module.fill_uninitialized_memory
    tries = torch.backends.cudnn.benchmark
    # cuBLAS is reproducible only with a fixed workspace
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # a warning, not an error, where a kernel has no deterministic form: training goes on
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic
    # only a help in finding bugs, and it costs a pass over every new tensor
    deterministic_module.fill_uninitialized_memory = False
    # vanishing activations and moments become denormal, on which a CPU is many times slower
    torch.set_flush_denormal(True)
    try:
        with own_random_state():
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(before)
        deterministic_module.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = tries
