"""A signal ends a command wherever it comes: its exception is not lost on the way, and nobody sees a traceback."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from lrfr.cli import main
from lrfr.cli.output import command

def ask():
    os.kill(os.getpid(), signal.{number})

class Callback:
    def __del__(self):
        ask()

def swallowed():
    try:
        ask()
    except:
        pass

def in_a_destructor():
    Callback()

def told_otherwise():
    try:
        ask()
    except BaseException as error:
        raise ImportError("cannot load the library") from error

def in_code_of_text():
    exec("ask()")

@command("boom")
def boom(out):
    {where}()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.01)

module = type(sys)("boom_module")
module.boom = boom
sys.modules["boom_module"] = module
main.COMMANDS["boom"] = ("boom_module", "boom", "")
sys.argv[1:] = ["boom"]
main.main()
"""


@pytest.mark.parametrize(
    ("where", "number", "code"),
    [
        ("swallowed", "SIGINT", 130),
        ("swallowed", "SIGTERM", 143),
        ("in_a_destructor", "SIGINT", 130),
        ("told_otherwise", "SIGTERM", 143),
        ("in_code_of_text", "SIGINT", 130),
    ],
)
def test_no_signal_is_lost(where, number, code):
    program = PROGRAM.format(where=where, number=number)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    said = "interrupted" if code == 130 else "terminated"
    assert done.stderr.strip() == f"{said}; run the same command again to go on"


def test_an_ignored_signal_stays_ignored():
    program = PROGRAM.format(where="in_code_of_text", number="SIGINT").replace("+ 20", "+ 0")
    line = ["bash", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, program]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
