"""What this machine is and what it gives a process: cores, and a C allocator that keeps freed memory."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from lrfr.core.errors import EnvironmentFault

# numbers of <malloc.h>; 32 MB is the highest threshold that glibc takes
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MB = 1 << 20
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sha_ni", "asimd")

# of a command that another one started: the process without which it is to end
ENDS_WITH = "LRFR_ENDS_WITH"
_WATCH_S = 0.5
# read when the packages are imported: nothing is to be told to anybody, or kept in a home folder
_QUIET = {
    "ALBUMENTATIONS_NO_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

Item = TypeVar("Item")
Made = TypeVar("Made")


def quiet_libraries() -> None:
    """Turn off what libraries tell the world and write into a home folder; call it before one is imported.

    matplotlib keeps its list of fonts in a private folder of the temporary one; a folder that the user has
    named (``MPLCONFIGDIR``) stays.
    """
    os.environ.update(_QUIET)
    if "MPLCONFIGDIR" not in os.environ and (folder := private_folder("lrfr-matplotlib")):
        os.environ["MPLCONFIGDIR"] = folder


def end_with_caller() -> None:
    """Have this process end, by SIGTERM, as soon as the command that started it (:data:`ENDS_WITH`) has."""
    said = os.environ.pop(ENDS_WITH, "")  # not for this one's own children
    if not said.isdecimal():
        return
    caller = int(said)

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(_WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)

    # a thread, for the kernel's own way (PR_SET_PDEATHSIG) tells of the thread that started us
    threading.Thread(target=watch, name="lrfr-caller", daemon=True).start()


def private_folder(name: str) -> str | None:
    """Return a temporary folder of this user alone, the same in every process; None where none can be had."""
    path = os.path.join(tempfile.gettempdir(), f"{name}-{os.getuid()}")
    with suppress(FileExistsError, OSError):
        os.mkdir(path, 0o700)
    try:
        found = os.lstat(path)
    except OSError:
        return None
    # another user may have made a folder or link of this name first
    safe = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return path if safe else None


def usable_cores() -> int:
    """Return the cores that this process may use; all of the machine's where none can be asked (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def checked_device(device: str) -> str:
    """Return the name of a device that torch can use here: ``cpu``, ``cuda``, ``cuda:1``, ...; for ``auto`` a
    GPU where there is one, else the CPU.

    Raises:
        EnvironmentFault: it cannot; the message says what can be used.

    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
            raise RuntimeError("no such GPU")
        if found.type not in {"cpu", "cuda"}:
            torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError):
        count = torch.cuda.device_count()
        there = f"cpu, cuda:0 to cuda:{count - 1}" if count else "torch sees no GPU: --device cpu"
        raise EnvironmentFault(f"no device '{device}' here", hint=there) from None
    return device


def cores_of_process() -> int:
    """Return this process's part of :func:`usable_cores` among those that ``torchrun`` started on this
    machine.
    """
    peers = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, usable_cores() // max(1, int(peers))) if peers.isdecimal() else usable_cores()


@lru_cache(maxsize=4)
def started_by(name: str, search_path: str, python: str) -> str:
    """Return the words by which a shell starts this program: its name where it lies on ``search_path``, else
    the script of that name beside the interpreter ``python``, else the interpreter with ``-m``.
    """
    if shutil.which(name, path=search_path):
        return name
    script = Path(python).with_name(name)
    if not os.access(script, os.X_OK):
        return f"{shlex.quote(python)} -m {name}"
    with suppress(ValueError, OSError):
        script = script.relative_to(Path.cwd())
    return shlex.quote(str(script))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run torch on ``count`` threads for the time of the block; the caller's own number is put back.

    The sums of a product of matrices depend on the number of threads: what must give the same bytes
    everywhere runs on one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def own_draws() -> Iterator[None]:
    """Build CPU modules whose weights are loaded next: what this thread draws from torch for their first ones
    leaves no trace in torch's random state, which is the whole process's and may be a training's just now.
    """
    with _own_draws()():
        yield


@cache
def _own_draws() -> type[AbstractContextManager[Any]]:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    def takes(func: Any) -> bool:
        return any(argument.name == "generator" for argument in func._schema.arguments)

    class OwnDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Hands every random operation a generator of its own."""

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self._generator = torch.Generator().manual_seed(0)

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = dict(kwargs or {})
            if torch.Tag.nondeterministic_seeded in func.tags and given.get("generator") is None:
                func = func if takes(func) else getattr(func.overloadpacket, "generator", func)
                given |= {"generator": self._generator} if takes(func) else {}
            return func(*args, **given)

    return OwnDraws


def keep_freed_memory() -> None:
    """Let glibc keep freed memory (up to 2 GB), not hand every large tensor back and take it anew.

    Page faults are a fifth of a training step on a CPU otherwise. Does nothing on other systems, or where the
    environment sets the allocator (``MALLOC_...``, ``GLIBC_TUNABLES``).
    """
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
        return
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 32 * _MB)
        mallopt(_TRIM_THRESHOLD, 2048 * _MB - 1)
        mallopt(_TOP_PAD, 64 * _MB)


@dataclass(frozen=True)
class Machine:
    """What decides speed here, and what a report of a fault should hold.

    Attributes:
        platform: the operating system.
        cpu: name of the processor.
        cpu_flags: those of its abilities that numerics use.
        cores: of the machine.
        usable_cores: those that this process may use.
        threads: environment variables that limit threads.
        memory_gib: main memory; None where the system does not say it.
        disk_free_gib: free space.
        gpu: name of the first GPU; None without one.
        terminal: whether a person looks at the output.

    """

    platform: str
    cpu: str
    cpu_flags: list[str]
    cores: int | None
    usable_cores: int
    threads: dict[str, str]
    memory_gib: float | None
    disk_free_gib: float
    gpu: str | None
    terminal: bool


def this_machine(folder: Path) -> Machine:
    """Return what this machine is; the free disk is that of ``folder``."""
    present = set(_field("flags").split()) | set(_field("features").split())
    return Machine(
        platform=platform.platform(),
        cpu=_field("model name") or platform.processor() or platform.machine(),
        cpu_flags=[flag for flag in _CPU_FLAGS if flag in present],
        cores=os.cpu_count(),
        usable_cores=usable_cores(),
        threads={name: os.environ[name] for name in _THREADS if name in os.environ},
        memory_gib=_memory_gib(),
        disk_free_gib=round(shutil.disk_usage(folder).free / 2**30, 1),
        gpu=_gpu(),
        terminal=sys.stderr.isatty(),
    )


def _field(name: str, path: Path = Path("/proc/cpuinfo")) -> str:
    lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(name)), "")


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _gpu() -> str | None:
    """Return the first GPU's name from its driver: asking torch would take seconds."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return _field("model", cards[0]) if cards else None


def ahead(work: Callable[[Item], Made], items: Iterable[Item], *, threads: int, depth: int) -> Iterator[Made]:
    """Yield ``work(item)`` of every item, in order.

    Args:
        work: must be safe in threads. What it raises is raised here, in its turn.
        items: taken as they are needed.
        threads: how many work at once.
        depth: how many results may be done, or under way, before the first of them is taken.

    """
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lrfr-ahead")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # also when the taker leaves early: what has not begun never does, what runs is not waited for
        pool.shutdown(wait=False, cancel_futures=True)
