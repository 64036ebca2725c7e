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
import urllib.request
from pathlib import Path

import pytest

from lrfr.pairs.sources.synthetic_photos import SyntheticPhotosSource
from tests.cli.every_command import every_command

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

    @property
    def trace(self) -> Path:
        return self.work.parent / "trace"

    def begun(self, *words: str) -> subprocess.Popen[str]:
        """Start a command line under strace."""
        watch = ["strace", "-f", "-qq", "-s", "512", "--seccomp-bpf", "-e", _TRACED, "-e", "signal=none"]
        return subprocess.Popen(
            [*watch, "-o", str(self.trace), sys.executable, "-m", "lrfr", *words],
            cwd=self.work,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def seen(self) -> list[str]:
        """Return what the last one did outside; shared memory and sockets of Python's own lie in /dev/shm."""
        return outside(self.trace.read_text(errors="replace"), [self.work, self.tmp, Path("/dev/shm")])

    def __call__(self, *words: str, most_s: float = 250) -> tuple[int, str, list[str]]:
        run = self.begun(*words)
        try:
            _, told = run.communicate(timeout=most_s)
        finally:
            run.kill()
        return run.returncode, told, self.seen()


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
degrade style-sheet
degrade turbulence-check
presets ls
presets show fskd
presets gallery --columns 2
spec check s.yaml fskd
spec diff fskd turb
spec schema
init mine.yaml
make-pairs --source synthetic:ids=8,per_id=4,seed=0 --spec s.yaml
make-pairs --source synthetic:ids=8,per_id=4,seed=0 --spec s.yaml --view p --executor process --workers 2
make-pairs --source synthetic:ids=9,per_id=4,seed=0 --extend default
make-pairs --plan --source synthetic:ids=3,per_id=2,seed=0 --spec s.yaml
store ls
store info default
store verify --deep
store repair
store upgrade
store card --out card.md
store gc
store compact default
store copy --view default --to copied
store diff store copied
store merge store copied --prefix x-
store export --to folders --out exported
store index --store copied
store forget --keys keys.txt
sources
doctor
detectors ls
detectors fetch
train ls
train show fskd
train baseline --max-steps 2 SHORT
train fskd --dry-run
train fskd --parent teacher=runs/baseline --set distance=embedding --set train.cache_teacher=always SHORT
train waveresnet --parent teacher=runs/baseline SHORT
train btnet-trunk SHORT
train btnet-branch --parent trunk=runs/btnet-trunk SHORT
train maug SHORT
train catface SHORT
train qualnet SHORT
train function-matching --parent teacher=runs/baseline SHORT
train octuplet --parent init=runs/baseline SHORT
train p2s --bank weak --steps 1
train cfsm --steps 1 --batch 2 --identity runs/baseline --threads 1
eval runs/baseline --sizes 112,14 --replicates 20
report results/baseline-synthetic.json --out page.html
figures runs/baseline --out figures
table fskd-3 results/baseline-synthetic.json
export runs/baseline --onnx
export runs/baseline --safetensors --out weights
import-weights weights/baseline-112.safetensors --check
make-list pairs default --out list.tsv
make-list gallery default --out lists
store quality runs/baseline
store choose default good --column quality --keep 0.8
store columns
align synthetic-photos:ids=2,per_id=1 --out aligned --landmarks photos.tsv
reproduce results/baseline-synthetic.json
quickstart nowhere
quickstart synthetic:ids=8,per_id=4 --minutes 0.5
route --at 14=runs/baseline --rest runs/baseline
eval runs/routed --sizes 112,14 --replicates 20
make-pairs --source mixup:count=5,of=folder:exported --spec s.yaml --view mixed
fit exported --source exported --budget 0.2
fit degraded --source exported --dry-run
studio s.yaml --faces exported --target degraded --dry-run
sweep baseline --over train.lr=0.1,0.2 --plan
sweep baseline --over train.lr=0.1,0.2 --sizes 112,14 SHORTER
demo --plan
experiment demo --plan
experiment e.yaml
""".strip().splitlines()
SHORTER = "--set train.unit=step --set train.length=2 --set train.milestones=[] --set train.batch_size=8"
SHORT = f"{SHORTER} --threads 1"
EXPERIMENT = """
version: 1
name: e
title: In small
views:
  few: {flags: {source: "synthetic:ids=8,per_id=4,seed=0", spec: fskd}, estimate_s: 5}
trainings:
  one: {method: baseline, view: few, recipe: tiny, set: {train.unit: step, train.length: 2, train.milestones: "[]", train.batch_size: 8}, estimate_s: 5}
evaluations:
  seen: {benchmark: synthetic, flags: {sizes: [112, 14]}, estimate_s: 5}
"""
# what is refused, or finds nobody, here; every other line is to end well
REFUSED = {"store diff store copied": 3, "detectors fetch": 5, "quickstart nowhere": 2}


def _marks() -> str:
    """Where the faces of the photographs that are aligned lie."""
    photos = SyntheticPhotosSource(2, 1)
    rows = ((face.key, *photos.landmarks(face.place).flatten()) for face in photos.faces())
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def test_every_command_is_in_the_life():
    missing = {
        words
        for words in every_command()
        if not any(tuple(line.split()[: len(words)]) == words for line in LINES)
    }
    assert missing == set()


@pytest.mark.soak
def test_no_command_writes_outside_or_calls_anybody(tmp_path):
    watched, wrong, codes = Watched(tmp_path), {}, {}
    # whoever asks for a package asks here, where nobody answers
    watched.env |= {"PIP_INDEX_URL": "http://127.0.0.1:9/", "LRFR_DATA": str(watched.work / "data")}
    (watched.work / "s.yaml").write_text(SPEC)
    (watched.work / "e.yaml").write_text(EXPERIMENT)
    (watched.work / "photos.tsv").write_text(_marks())
    (watched.work / "keys.txt").write_text("0000/00\n")
    for line in LINES:
        words = line.replace("SHORTER", SHORTER).replace("SHORT", SHORT).split()
        code, told, found = watched(*words, most_s=1800)
        print(code, line, *([told[-400:]] if code else []), flush=True)
        codes |= {line: code} if code else {}
        if found or list(watched.home.iterdir()):
            wrong[line] = [*found, *map(str, watched.home.rglob("*"))]
            print(wrong[line], flush=True)
            shutil.rmtree(watched.home)
            watched.home.mkdir()
    assert wrong == {}
    assert codes == REFUSED


@pytest.mark.soak
def test_the_page_listens_to_this_machine_alone(tmp_path):
    """The studio as it serves: its page is asked for, then it is interrupted."""
    watched = Watched(tmp_path)
    (watched.work / "s.yaml").write_text(SPEC)
    run = watched.begun("studio", "s.yaml")
    assert run.stderr is not None
    address = next(word for line in run.stderr for word in line.split() if word.startswith("http://"))
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.status == 200
    own = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(own[0]), signal.SIGINT)
    run.communicate(timeout=60)
    assert watched.seen() == []
    assert list(watched.home.iterdir()) == []


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
