"""Every row of every paper: named, made by commands that exist, and the page of them as it is written."""

import re
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pydantic import TypeAdapter

from lrfr.cli.main import cli
from lrfr.core.errors import SpecError
from lrfr.degrade.spec.model import load_spec
from lrfr.eval.protocols.table import BENCHMARKS
from lrfr.eval.published.papers import FAMILIES, find_table, side_by_side, tables
from lrfr.eval.result_files import write_results
from lrfr.experiment.models import open_recognizer
from lrfr.experiment.paper_rows import CITED, every_command, made_by, page, paper, paper_rows
from lrfr.experiment.steps.paper_gaps import gap_parts
from lrfr.train import checkpoint
from lrfr.train.backbones.branched import select_branch
from lrfr.train.methods.table import METHODS
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.routes.router import write_routes
from tests.eval.test_published import result as one_result

ROOT = Path(__file__).parents[2]
COMMANDS = every_command()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_row_of_every_table_is_there_once(name):
    known = paper(name)
    assert set(known.tables) == {one for one in tables() if one.startswith(f"{name}-")}
    for table_id, listed in known.tables.items():
        assert len(listed.rows) == len(find_table(table_id).rows), table_id
    rows = paper_rows(name)
    assert len(rows) == sum(len(find_table(one).rows) for one in known.tables)
    used = {row.training.split()[0] for row in rows}
    reached = {parent for one in known.trainings.values() for parent in one.parents.values()}
    routed = {run for route in known.routes.values() for run in (*route.at.values(), route.rest)}
    drawn = {run for figure in known.figures for run in re.findall(r"runs/([\w.-]+)", figure.command)}
    made = set(known.trainings) | set(known.routes)
    assert (used - {CITED}) | reached | routed <= made
    assert made <= used | reached | routed | drawn


def test_the_method_of_a_row_is_the_one_of_the_table():
    """Labels like FitNet, A-SKD and QualNet-LM are told apart where tables name methods."""
    distance = {"FitNet": "fitnet", "RKD": "rkd", "A-SKD": "askd", "F-SKD": "cosine"}
    for name in ("fskd-agedb-single", "fskd-agedb-multi", "fskd-tinyface", "fskd-svhn"):
        table, known = find_table(name), paper("fskd")
        for printed, entry in zip(table.rows, known.tables[name].rows, strict=True):
            one = known.trainings[entry]
            kind = printed[table.columns.index("type")].split(",")[0]
            teacher = printed[table.columns.index("teacher")]
            recipe = load_recipe(one.method, one.recipe, one.set | ({"step": one.step} if one.step else {}))
            if kind in distance:
                assert recipe.method == "fskd" and recipe.options["distance"] == distance[kind]
                above = known.trainings[one.parents["teacher"]]
                assert ("Dec" in teacher) == (above.method == "qualnet")
                assert ("CBAM" in teacher) == ("cbam" in str(above.set.get("backbone", "")))
            elif kind == "QualNet-LM":
                assert recipe.method == "qualnet" and recipe.options["step"] == 2
            else:
                assert recipe.method in {"baseline", "qualnet"} and "teacher" not in one.parents
            if "resolution" in table.columns and name == "fskd-agedb-single":
                side = printed[0].split(")")[-1].strip()
                assert side == "112" or known.views[one.view].set == [f"pipeline.d1.size={side}"]


def parsed(words):
    """Parse a command line without running it."""
    command, rest = cli, list(words[1:])
    context = command.make_context("lrfr", rest, resilient_parsing=False) if not rest else None
    while hasattr(command, "get_command"):
        name = rest.pop(0)
        command = command.get_command(context, name)
        assert command is not None, words
    command.make_context(words[1], rest)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_command_parses_and_resolves(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (command for command, of in COMMANDS.items() if of == name):
        options = dict(pairwise(command))
        if command[1] in {"train", "sweep"}:
            dry = "--dry-run" if command[1] == "train" else "--plan"
            done = CliRunner().invoke(cli, [*command[1:], dry])
            assert done.exit_code == 0, (command, done.output)
        else:
            parsed(command)
        if command[1] == "make-pairs":
            load_spec(options["--spec"], [b for a, b in pairwise(command) if a == "--set"])
        if command[1] == "eval" and "--benchmark" in options:
            assert options["--benchmark"] in BENCHMARKS


def test_what_was_missing_is_reached_by_commands_that_parse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [row for part in gap_parts() for row in part.rows]
    assert [part.part for part in gap_parts()] == ["Corrected", "Added", "For GPUs"] and len(rows) > 30
    for words in (shlex.split(row.command) for row in rows):
        if words[0] == "lrfr" and words[1] == "train" and words[2] in METHODS:
            done = CliRunner().invoke(cli, [*words[1:], "--dry-run"])
            assert done.exit_code == 0, (words, done.output, done.exception)
        elif words[0] == "lrfr":
            parsed(words)
        else:
            assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file()


def stand_in(name, folder):
    """Save an untrained checkpoint of a method, small, in the place of a training of the page."""
    parts = {"attribute_names": ("Male", "Bald")} if name == "catface" else {}
    method = load_recipe(name, "tiny").make()
    options = TypeAdapter(type(method)).dump_python(method, mode="json")
    identity = ModelIdentity(name, options, num_classes=4, **parts)
    tensors = checkpoint.model_tensors(method.build(4, None, parts.get("attribute_names", ())))
    checkpoint.save(folder, checkpoint.Checkpoint(identity.as_dict(), tensors, {}, {}, {}))


def test_every_measurement_and_figure_opens_its_model(tmp_path, monkeypatch):
    """Dry runs over stand-ins of the same methods; lines that differ in a run's name alone count once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATA").mkdir()
    # what a benchmark's folder must hold is for its own tests
    monkeypatch.setattr("lrfr.experiment.evaluate.rehearse", lambda *given: None)
    methods = {name: one.method for family in FAMILIES for name, one in paper(family).trainings.items()}
    for name in set(methods.values()):
        stand_in(name, tmp_path / "kinds" / name)
    (tmp_path / "runs").mkdir()
    for name, kind in methods.items():
        (tmp_path / "runs" / name).symlink_to(tmp_path / "kinds" / kind)
    write_results([one_result("lfw", "accuracy", 0.8)], tmp_path / "sweeps/btnet-branch/results/lfw.json")
    write_routes(tmp_path / "runs/mm", [(28, tmp_path / "runs/phi-28"), (None, tmp_path / "runs/bt-hr")])
    seen = set()
    for command in COMMANDS:
        if command[1] not in {"eval", "figures", "route"}:
            continue
        kinds = tuple(methods.get(word.removeprefix("runs/"), word) for word in command)
        if kinds not in seen:
            seen.add(kinds)
            done = CliRunner().invoke(cli, [*command[1:], "--dry-run"], obj=list(command[1:]))
            assert done.exit_code == 0, (command, done.output, done.exception)
    assert len({kinds[1] for kinds in seen}) == 3 and len(seen) > 30


def test_the_page_is_the_one_that_the_rows_give():
    assert (ROOT / "docs/papers.md").read_text() == page(), (
        "run: python -m lrfr.experiment.paper_rows > docs/papers.md"
    )


def test_rows_are_listed():
    done = CliRunner().invoke(cli, ["train", "ls", "--paper", "fskd"])
    assert done.exit_code == 0 and "fskd-dec-14" in done.output and "CASIA-WebFace" in done.output
    wrong = CliRunner().invoke(cli, ["train", "ls", "--paper", "fsk"])
    assert isinstance(wrong.exception, SpecError) and "did you mean 'fskd'" in str(wrong.exception)
    line = made_by(paper("btnet"), "mm")
    assert shlex.join(line) == (
        "lrfr route --at 7=runs/phi-7 --at 14=runs/phi-14 --at 28=runs/phi-28 --rest runs/bt-hr --out runs/mm"
    )


def test_one_btnet_is_measured_by_nine_rules(tmp_path):
    """Table 2: rules are chosen when it is measured; each has a name, and results of another one have another."""
    path = tmp_path / "bt"
    method = load_recipe("btnet-branch", "tiny", {"branches_px": [28, 14]}).make()
    options = TypeAdapter(type(method)).dump_python(method, mode="json")
    identity = ModelIdentity("btnet-branch", options, num_classes=4)
    torch.manual_seed(0)
    tensors = checkpoint.model_tensors(method.build(4))
    checkpoint.save(path, checkpoint.Checkpoint(identity.as_dict(), tensors, {}, {}, {}))
    faces = [np.random.default_rng(1).integers(0, 256, (14, 30, 3), dtype=np.uint8)]
    made = {}
    for indicator in ("max", "min", "avg"):
        for rule in ("ceil", "floor", "near"):
            opened = open_recognizer(path, changes={"indicator": indicator, "rule": rule})
            assert opened.model.changes == {"indicator": indicator, "rule": rule}
            side, _ = opened.embed.route(14, 30)
            assert side == select_branch(14, 30, (112, 28, 14), indicator, rule)
            made[indicator, rule] = (opened.model.digest, opened.embed(faces).tobytes())
    assert len({digest for digest, _ in made.values()}) == 9
    assert len({pixels for _, pixels in made.values()}) == 3  # 112, 28 and 14 px
    assert open_recognizer(path).model.digest not in {digest for digest, _ in made.values()}
    with pytest.raises(SpecError, match="can set indicator, rule"):
        open_recognizer(path, changes={"branches_px": "[7]"})
    with pytest.raises(SpecError, match="rule"):
        open_recognizer(path, changes={"rule": "upwards"})


def test_each_distance_stands_in_the_rows_of_its_own_name(tmp_path):
    """A FitNet or norm run is no F-SKD, and fills the rows that the tables have for it."""
    names = {
        "cosine": "fskd",
        "fitnet": "fitnet",
        "norm": "norm-kd",
        "rkd": "rkd",
        "askd": "a-skd",
        "at": "at",
    }
    for distance, name in names.items():
        method = load_recipe("fskd", "tiny", {"distance": distance, "backbone": "tiny-cbam"}).make()
        options = TypeAdapter(type(method)).dump_python(method, mode="json")
        saved = checkpoint.Checkpoint(ModelIdentity("fskd", options).as_dict(), {}, {}, {}, {})
        saved.model.update(checkpoint.model_tensors(method.build(0)))
        checkpoint.save(tmp_path / name, saved)
        model = open_recognizer(tmp_path / name).model
        assert (model.method, model.published) == ("fskd", name)
        result = one_result("agedb-30", "accuracy", 0.777, (28, 28))
        columns, rows, _ = side_by_side(find_table("fskd-components"), [replace(result, model=model)])
        assert len(columns) == 2  # no network of the table: a row of its own
        known = find_table("fskd-agedb-single")
        fit = replace(model, backbone="iresnet50-cbam" if distance == "askd" else "iresnet50")
        columns, rows, _ = side_by_side(known, [replace(result, model=fit)])
        filled = {row[1] for row in rows if len(row) > 4 and row[4]}
        words = {kind for kind, word in known.methods.items() if word == name}
        assert filled == words, distance
