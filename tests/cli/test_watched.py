"""What commands do to the machine, as the kernel sees it: files are written in the output folder and the temporary one
and nowhere else, and no socket leads out.
"""

import ipaddress
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lrfr.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
_WRITES = re.compile(
    r'(?:openat|open|creat)\((?:AT_FDCWD, |\d+<[^>]*>, )?"(?P<path>[^"]*)", (?P<how>[A-Z_|]+)'
)
_CHANGES = re.compile(
    r"(?:mkdir|rename|unlink|rmdir|symlink|link|truncate|chmod|chown|mknod)\w*\((?P<args>.*)\)\s+= 0"
)
_CONNECTS = re.compile(
    r'(?:connect|sendto|bind)\(.*sin6?_port=htons\((?P<port>\d+)\).*?"(?P<host>[0-9a-f.:]+)"'
)
_TRACED = (
    "trace=openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat"
)
_TRACED += ",link,linkat,truncate,mknod,mknodat,connect,sendto,bind"

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


def outside(trace: str, folders: list[Path]) -> list[str]:
    """Return what a trace shows of writes outside of some folders, and of sockets that lead out."""
    roots = [os.path.realpath(folder) for folder in folders]
    found = []
    for line in trace.splitlines():
        opened = _WRITES.search(line)
        if (
            opened
            and {"O_WRONLY", "O_RDWR", "O_CREAT"} & set(opened["how"].split("|"))
            and " = -1" not in line
        ):
            found += _out(opened["path"], roots)
        changed = _CHANGES.search(line)
        if changed and "getcwd" not in line:
            found += [
                path for text in re.findall(r'"([^"]*)"', changed["args"]) for path in _out(text, roots)
            ]
        met = _CONNECTS.search(line)
        if met and not ipaddress.ip_address(met["host"]).is_loopback and met["host"] not in {"0.0.0.0", "::"}:
            found.append(f"socket to {met['host']}:{met['port']}")
    return found


def _out(path: str, roots: list[str]) -> list[str]:
    # a relative path lies in the current folder, which is the output's, or at a descriptor that was opened
    if not path.startswith("/") or path.startswith(("/dev/", "/proc/", "/sys/")):
        return [path] if ".." in path.split("/") else []
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return [] if any(real == root or real.startswith(f"{root}/") for root in roots) else [path]


class Watched:
    """Run command lines under strace in a folder of their own; ``home`` is a home that must stay empty."""

    def __init__(self, folder: Path) -> None:
        self.work, self.tmp, self.home = (folder / name for name in ("work", "tmp", "home"))
        for made in (self.work, self.tmp, self.home):
            made.mkdir(parents=True)
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        self.env = {**keep, "HOME": str(self.home), "TMPDIR": str(self.tmp), "PYTHONPATH": str(ROOT)}
        self.env |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def __call__(self, *words: str, most_s: float = 250) -> tuple[int, str, list[str]]:
        trace = self.work.parent / "trace"
        command = [
            "strace",
            "-f",
            "-qq",
            "-s",
            "512",
            "--seccomp-bpf",
            "-e",
            _TRACED,
            "-e",
            "signal=none",
            "-o",
            str(trace),
        ]
        done = subprocess.run(
            [*command, sys.executable, "-m", "lrfr", *words],
            cwd=self.work,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=most_s,
            check=False,
        )
        # where shared memory and the sockets of Python's own processes lie
        allowed = [self.work, self.tmp, Path("/dev/shm")]
        return done.returncode, done.stderr, outside(trace.read_text(errors="replace"), allowed)


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


SPEC = "version: 1\nname: s\npipeline:\n  - {op: down, id: d, size: 14, filter: bicubic, antialias: true}\n"


def test_making_pairs_writes_nothing_outside_and_calls_nobody(watched):
    (watched.work / "s.yaml").write_text(SPEC)
    words = (
        "make-pairs",
        "--source",
        "synthetic:ids=2,per_id=2,seed=0",
        "--spec",
        "s.yaml",
        "--executor",
        "serial",
    )
    code, told, found = watched(*words)
    assert code == 0, told
    assert found == []
    assert list(watched.home.iterdir()) == []
    assert [path.name for path in watched.tmp.iterdir() if not path.name.startswith("lrfr-matplotlib")] == []


def test_the_watch_sees(tmp_path):
    lines = [
        'openat(AT_FDCWD, "/etc/new", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3',
        f'openat(AT_FDCWD, "{tmp_path}/in", O_RDWR|O_CREAT, 0666) = 3',
        'openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3',
        'openat(AT_FDCWD, "/root/no", O_RDWR) = -1 EACCES (Permission denied)',
        'mkdir("/home/x/.cache", 0777) = 0',
        f'rename("{tmp_path}/a", "/var/b") = 0',
        'unlink("/etc/gone") = -1 ENOENT (No such file)',
        'connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("93.184.216.34")}, 16) = 0',
        'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        'connect(3, {sa_family=AF_INET6, sin6_port=htons(53), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = 0',
        'openat(AT_FDCWD, "../up", O_WRONLY|O_CREAT, 0666) = 3',
    ]
    found = outside("\n".join(lines), [tmp_path])
    wanted = ["socket to 93.184.216.34:443", "socket to 2001:db8::1:53"]
    assert [item for item in found if "socket" not in item] == ["/etc/new", "/home/x/.cache", "/var/b"] + (
        ["../up"] if "../up" in found else []
    )
    assert [item for item in found if "socket" in item] == wanted


# a life of the command line, in order; each is watched
LINES = """
degrade --spec s.yaml --out degraded
presets ls
spec check s.yaml fskd
spec diff fskd turb
init mine.yaml
make-pairs --source synthetic:ids=8,per_id=4,seed=0 --spec s.yaml
make-pairs --source synthetic:ids=8,per_id=4,seed=0 --spec s.yaml --view p --executor process --workers 2
make-pairs --source synthetic:ids=9,per_id=4,seed=0 --extend default
make-pairs --plan --source synthetic:ids=3,per_id=2,seed=0 --spec s.yaml
store ls
store info default
store verify --deep
store repair
store card --out card.md
store gc
store compact default
store copy --view default --to copied
store diff store copied
store export --to folders --out exported
store index --store copied
store forget --keys keys.txt
store columns
sources
doctor
detectors ls
train ls
train baseline --max-steps 2 --set train.batch_size=8 --threads 1
train fskd --dry-run
eval runs/baseline --sizes 112,14 --replicates 20
report results/baseline-synthetic.json --out page.html
figures runs/baseline --out figures
table fskd-3 results/baseline-synthetic.json
export runs/baseline --onnx
export runs/baseline --safetensors --out weights
import-weights weights/baseline.safetensors --check
make-list pairs default --out list.tsv
align synthetic-photos:ids=2,per_id=1 --out aligned --landmarks none.tsv
reproduce results/baseline-synthetic.json
quickstart nowhere
route --at 14=runs/baseline --rest runs/baseline
eval runs/routed --sizes 112,14 --replicates 20
make-pairs --source mixup:count=5,of=folder:exported --spec s.yaml --view mixed
train fskd --parent teacher=runs/baseline --set distance=embedding --set train.cache_teacher=always --max-steps 1 --set train.batch_size=8 --threads 1
fit exported --source exported --budget 0.2
fit degraded --source exported --dry-run
studio s.yaml --faces exported --target degraded --dry-run
sweep baseline --over train.lr=0.1,0.2 --plan
demo --plan
experiment demo --plan
""".strip().splitlines()


def test_every_command_is_in_the_life():
    assert {line.split()[0] for line in LINES} == set(COMMANDS)


@pytest.mark.soak
def test_no_command_writes_outside_or_calls_anybody(tmp_path):
    watched, wrong, codes = Watched(tmp_path), {}, {}
    (watched.work / "s.yaml").write_text(SPEC)
    (watched.work / "keys.txt").write_text("0000/00\n")
    for line in LINES:
        code, told, found = watched(*line.split(), most_s=900)
        codes[line] = code
        assert code != 1, (line, told[-600:])
        if found or list(watched.home.iterdir()):
            wrong[line] = [*found, *map(str, watched.home.rglob("*"))]
    print(codes)
    assert wrong == {}


@pytest.mark.soak
def test_a_killed_ray_run_leaves_nothing_behind_once_another_has_begun(tmp_path):
    """SIGKILL while Ray works; the next run removes what it left in the temporary folder."""
    pytest.importorskip("ray")
    watched = Watched(tmp_path)
    # sockets of Ray lie in it, and their paths may be no longer than 107 bytes
    watched.env["TMPDIR"] = "/tmp"
    (watched.work / "s.yaml").write_text(SPEC)
    before = {path.name for path in Path("/tmp").glob("lrfr-ray-*")}
    words = "make-pairs --source synthetic:ids=40,per_id=4,seed=0 --spec s.yaml --executor ray --workers 1".split()
    run = subprocess.Popen(
        [sys.executable, "-m", "lrfr", *words],
        cwd=watched.work,
        env=watched.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and not {path.name for path in Path("/tmp").glob("lrfr-ray-*")} - before:
        time.sleep(0.2)
    time.sleep(3)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    left = {path.name for path in Path("/tmp").glob("lrfr-ray-*")} - before
    assert left, "the run had not begun"
    done = subprocess.run(
        [sys.executable, "-m", "lrfr", *words],
        cwd=watched.work,
        env=watched.env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert {path.name for path in Path("/tmp").glob("lrfr-ray-*")} - before == set()
