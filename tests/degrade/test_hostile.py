"""Mutated and hostile specs: a spec or one SpecError, quickly, and nothing else."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from lrfr.core.errors import SpecError
from lrfr.degrade.spec.model import load_spec, parse_spec
from lrfr.degrade.spec.resolve import preset_text

SOURCES = [
    "\n".join(line for line in preset_text(name).splitlines() if not line.startswith("#"))
    for name in (
        "waveresnet-aa",
        "adaface-aug",
        "maug-paper",
        "fskd-random",
        "btnet-v2",
        "waveresnet-noaa",
        "digits",
        "fskd-eval",
    )
]
TOKENS = [
    "{", "}", "[", "]", ":", ",", "- ", "&a ", "*a", "!!python/object/apply:os.getcwd ", "!x ", "<<: ", "|", ">", "?", "#", "'", '"', "\t", "\n",
    "\0", "é", "null", "true", "no", ".nan", "-.inf", "1e999", "9" * 60, "-1", "0", "0x1f", "1_000", "2001-99-99", "one_of: ", "repeat: 9", "severity: 0.5",
    "{uniform: [1, 0]}", "{choice: []}", "id: d1", "p: 2", "op: ", "antialias: maybe", "extends: maug", "set: {a.b: 1}", "version: 2", "%YAML 1.1", "---\n", "...",
]  # fmt: skip
TIME_LIMIT_S = 1.0


def mutate(text: str, rng: random.Random) -> str:
    """Damage a spec in one to three places."""
    for _ in range(rng.randint(1, 3)):
        spot = rng.randrange(len(text) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            text = text[:spot] + rng.choice(TOKENS) + text[spot:]
        elif kind == 1:
            text = text[:spot] + text[spot + rng.randint(1, 30) :]
        elif kind == 2:
            text = (
                text[:spot]
                + chr(rng.choice([0, 9, 10, 32, 45, 58, 91, 123, 233, 0x2028, 0xD800, 0x1F600]))
                + text[spot + 1 :]
            )
        elif kind == 3:
            lines = text.split("\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        elif kind == 4:
            words = text.split(" ")
            words[rng.randrange(len(words))] = rng.choice(TOKENS)
            text = " ".join(words)
        else:
            end = rng.randrange(len(text) + 1)
            text = text[: min(spot, end)] + text[min(spot, end) : max(spot, end)] * 2 + text[max(spot, end) :]
    return text


def outcome(text: str | bytes) -> str:
    """Return 'ok' or the message; anything but a SpecError propagates."""
    start = time.process_time()
    try:
        spec = parse_spec(text, "hostile.yaml")
        result = "ok"
        assert parse_spec(spec.canonical()).digest == spec.digest
    except SpecError as error:
        result = str(error)
        assert result.strip()
        assert len(result) < 12_000
    assert time.process_time() - start < TIME_LIMIT_S * 3, "the slow way out"
    return result


@pytest.mark.parametrize("part", range(5))
def test_a_thousand_mutants_end_as_spec_or_spec_error(part):
    rng = random.Random(part)
    outcomes = [outcome(mutate(rng.choice(SOURCES), rng)) for _ in range(1000)]
    refused = sum(text != "ok" for text in outcomes)
    assert 300 < refused < 1000, "mutants that are all good or all bad test nothing"


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(8)
)
HEAD = "version: 1\npipeline:\n"
HOSTILE = {
    "alias bomb": BOMB,
    "alias bomb in pipeline": BOMB + "version: 1\npipeline: *i\n",
    "brackets": "[" * 200_000,
    "braces": "{" * 200_000,
    "brackets below the cap": "[" * 100_000,
    "closed brackets": "[" * 5_000 + "]" * 5_000,
    "nested maps by indent": "".join(" " * k + "a:\n" for k in range(400)),
    "nested dashes": "- " * 30_000,
    "5,000 digits": "seed: " + "9" * 5_000,
    "5,000 digits in a list": HEAD + "  - {op: jpeg, quality: {choice: [" + "7" * 5_000 + "]}}",
    "negative zero": HEAD + "  - {op: gaussian_blur, sigma: -0.0}",
    "hex": "version: 0x1\npipeline: [{op: identity}]",
    "octal": "version: 01\npipeline: [{op: identity}]",
    "sexagesimal": HEAD + "  - {op: gaussian_blur, sigma: 1:30}",
    "date": "version: 2001-99-99",
    "a real date": "name: 2001-01-01\nversion: 1\npipeline: [{op: identity}]",
    "infinity": HEAD + "  - {op: gaussian_blur, sigma: .inf}",
    "nan": HEAD + "  - {op: gaussian_blur, sigma: .nan}",
    "nan probability": HEAD + "  - {op: identity, p: .nan}",
    "overflow": HEAD + "  - {op: gaussian_blur, sigma: 1e999}",
    "tiny": HEAD + "  - {op: gaussian_blur, sigma: 1e-320}",
    "python tag": "!!python/object/apply:os.system [id]",
    "python name": "version: !!python/name:os.system",
    "binary tag": "version: !!binary aGk=",
    "set tag": "version: !!set {a, b}",
    "omap tag": "version: !!omap [a: 1]",
    "local tag": "version: !lrfr 1",
    "str tag": "version: !!str 1\npipeline: [{op: identity}]",
    "duplicate keys": "version: 1\nversion: 1\npipeline: [{op: identity}]",
    "duplicate nested": HEAD + "  - {op: jpeg, quality: 1, quality: 2}",
    "merge key": "a: &a {op: identity}\nversion: 1\npipeline: [{<<: *a}]",
    "cyclic anchor": "version: 1\npipeline: &p [*p]",
    "cyclic map": "&m {version: 1, pipeline: [*m]}",
    "undefined alias": "version: *x",
    "anchor twice": "a: &a 1\nb: &a 2\nversion: *a",
    "complex key": "? [a, b]\n: 1",
    "null key": "~: 1\nversion: 1",
    "number key": "1: 2",
    "bool key": "true: 2",
    "empty": "",
    "only comment": "# nothing",
    "only null": "null",
    "scalar": "down",
    "two documents": "version: 1\n---\nversion: 1",
    "directive": "%YAML 3.0\n---\nversion: 1",
    "unknown directive": "%FOO bar\n---\nversion: 1",
    "NUL": "version: 1\0",
    "BOM": "\ufeffversion: 1\npipeline: [{op: identity}]",
    "control": "version: \x07",
    "tab indent": "version: 1\npipeline:\n\t- {op: identity}",
    "not UTF-8": b"version: \xff\xfe",
    "UTF-16": "version: 1".encode("utf-16"),
    "latin-1": "name: Z\xfcrich".encode("latin-1"),
    "surrogate": "name: \ud800",
    "1 MiB": "#" * (1 << 20),
    "long string": "name: " + "x" * 100_000 + "\nversion: 1\npipeline: [{op: identity}]",
    "many steps": HEAD + "  - {op: identity}\n" * 6_000,
    "many choices": HEAD + "  - {op: jpeg, quality: {choice: [" + ",".join(["7"] * 40_000) + "]}}",
    "deep containers": HEAD + "  - " + "{steps: [" * 30 + "{op: identity}" + "]}" * 30,
    "repeat tower": HEAD + "  - " + "{repeat: 16, steps: [" * 12 + "{op: identity}" + "]}" * 12,
    "extends device": "extends: /dev/zero",
    "extends folder": "extends: /",
    "extends url": "extends: https://example.org/x.yaml",
    "extends upwards": "extends: ../../../../etc/passwd",
    "set nowhere": "version: 1\npipeline: [{op: identity}]\nset: {pipeline.x.y: 1}",
    "set deep": "version: 1\npipeline: [{op: identity}]\nset: {" + "a." * 3000 + "b: 1}",
    "set everything": "version: 1\npipeline: [{op: identity}]\nset: {pipeline: 3}",
    "id with slash": HEAD + "  - {op: identity, id: ../x}",
    "op is a list": HEAD + "  - {op: [identity]}",
    "op is a map": HEAD + "  - {op: {a: 1}}",
    "op is huge": HEAD + "  - {op: " + "x" * 50_000 + "}",
    "plug-in path": HEAD + "  - {op: os.system}",
    "label is a map": HEAD + "  - {op: {a: 1}, steps: [{op: identity}]}",
    "albumentations code": HEAD + "  - {op: albumentations, transform: __import__}",
}
GOOD = {"negative zero", "octal", "BOM", "a real date", "tiny"}


def test_there_are_sixty_of_them():
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_specs_end_as_spec_or_spec_error(name):
    assert (outcome(HOSTILE[name]) == "ok") == (name in GOOD | {"albumentations code"})


def test_a_pipe_or_device_as_spec_does_not_block(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    for source in (pipe, "/dev/zero", "/dev/stdin"):
        with pytest.raises(SpecError):
            load_spec(source)


@pytest.mark.parametrize(
    "name", ["alias bomb", "brackets", "python tag", "5,000 digits", "not UTF-8", "deep containers"]
)
def test_the_command_says_it_once_and_exits_2(name, tmp_path):
    text = HOSTILE[name]
    path = tmp_path / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = set(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "lrfr", "degrade", "--spec", str(path), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert set(tmp_path.iterdir()) == before
