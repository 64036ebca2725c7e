"""What an experiment file may declare: imports, routes, places, common settings, the embedded part, and its
errors.
"""

import re
from pathlib import Path

import pytest

from lrfr.core.errors import SpecError
from lrfr.experiment.declare import load_declaration
from lrfr.experiment.experiment import SHIPPED
from lrfr.experiment.steps.command_plan import steps_of, without_parts

SMALL = """
version: 1
name: small
views: {all: {}}
trainings:
  teacher: {method: baseline, view: all}
  student: {method: fskd, view: all, set: {lambda: 5, deep: true}, parents: {teacher: teacher}}
evaluations: {}
"""

MIXED = """
version: 1
name: mixed
places: {faces: faces, splits: "{faces}"}
imports:
  strong: {source: "{faces}/weights.onnx"}
views:
  all: {flags: {source: "csv:{faces}/list.csv,root={faces}/aligned", split: train}}
trainings:
  small: {method: fskd, view: all, seeds: [3, 4], parents: {teacher: strong, init: strong}}
routes:
  routed: {at: {20: small}, rest: strong}
evaluations:
  dev: {benchmark: pairs, flags: {data: "{faces}/dev.tsv", literal: "{other}"}}
embedded:
  imports: null
  routes: null
  views: {all: {flags: {source: synthetic, split: null}}}
  trainings: {strong: {method: baseline, view: all}, small: {seeds: [3]}}
"""


def lines_of(tmp_path, **options):
    (tmp_path / "mixed.yaml").write_text(MIXED)
    return {step.id: step for step in steps_of(load_declaration(tmp_path / "mixed.yaml", **options))}


def test_imports_routes_and_places(tmp_path):
    steps = lines_of(tmp_path, places={"faces": "/data/f"})
    assert (
        " ".join(steps["pairs-all"].argv)
        == "make-pairs --view all --source csv:/data/f/list.csv,root=/data/f/aligned --split train"
    )
    assert " ".join(steps["import-strong"].argv) == "import-weights /data/f/weights.onnx --out runs/strong"
    assert steps["train-small-s4"].needs == ("pairs-all", "import-strong", "import-strong")
    assert "--parent teacher=runs/strong --parent init=runs/strong" in " ".join(steps["train-small-s4"].argv)
    assert (
        " ".join(steps["route-routed"].argv)
        == "route --at 20=runs/small-s3 --rest runs/strong --out runs/routed"
    )
    assert set(steps["route-routed"].needs) == {"train-small-s3", "import-strong"}
    assert {name for name in steps if name.startswith("eval")} == {
        f"eval-dev-{name}" for name in ("strong", "small-s3", "small-s4", "routed")
    }
    assert steps["eval-dev-routed"].needs == ("route-routed",)
    assert "--literal {other}" in " ".join(steps["eval-dev-routed"].argv)


def test_the_embedded_part_is_laid_over_the_rest(tmp_path):
    steps = lines_of(tmp_path, embedded=True)
    assert " ".join(steps["pairs-all"].argv) == "make-pairs --view all --source synthetic"
    assert "import-strong" not in steps and "route-routed" not in steps
    assert (
        "--parent teacher=runs/strong-s0" in " ".join(steps["train-small-s3"].argv)
        and "train-small-s4" not in steps
    )
    with pytest.raises(SpecError, match="embedded"):
        (tmp_path / "mixed.yaml").write_text(MIXED[: MIXED.index("embedded:")])
        load_declaration(tmp_path / "mixed.yaml", embedded=True)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rest: strong", "rest: strnog", "did you mean 'strong'"),
        ("at: {20: small}", "at: {20: smal}", "routes.routed.at[20]"),
        ("routed: {at", "small: {at", "two models are called 'small'"),
        ('{source: "{faces}/weights.onnx"}', "{sourc: x}", "did you mean 'source'"),
    ],
)
def test_names_in_routes_and_imports_are_checked(tmp_path, old, new, said):
    (tmp_path / "mixed.yaml").write_text(MIXED.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_declaration(tmp_path / "mixed.yaml")
    assert said in str(caught.value)


def test_common_settings_are_under_each_trainings_own(tmp_path):
    common = "common: {set: {train.length: 3, lambda: 1}, flags: {threads: 1}}\ntrainings:"
    (tmp_path / "small.yaml").write_text(SMALL.replace("trainings:", common))
    steps = {step.id: " ".join(step.argv) for step in steps_of(load_declaration(tmp_path / "small.yaml"))}
    assert steps["train-teacher-s0"].endswith(
        "--set train.seed=0 --set train.length=3 --set lambda=1 --threads 1"
    )
    assert steps["train-student-s0"].endswith(
        "--set train.length=3 --set lambda=5 --set deep=true --threads 1"
    )


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (
            (),
            "import-strong pairs-all train-small-s3 train-small-s4 route-routed eval-dev-strong eval-dev-small-s3",
        ),
        (
            ("routed",),
            "import-strong pairs-all train-small-s3 train-small-s4 eval-dev-strong eval-dev-small-s3",
        ),
        (("small",), "import-strong pairs-all eval-dev-strong"),
        (("all",), "import-strong eval-dev-strong"),
        (("strong",), "pairs-all"),
        (("dev", "routed"), "import-strong pairs-all train-small-s3 train-small-s4"),
    ],
)
def test_a_part_is_left_out_with_all_that_builds_on_it(tmp_path, names, left):
    (tmp_path / "mixed.yaml").write_text(MIXED)
    declared = without_parts(load_declaration(tmp_path / "mixed.yaml"), names)
    found = [step for step in steps_of(declared) if step.id not in {"eval-dev-small-s4", "eval-dev-routed"}]
    assert {step.id for step in found} - {"report"} == set(left.split())
    shown = " ".join(next((step.argv for step in found if step.id == "report"), ()))
    assert all((f"results/{step.id[5:]}.json" in shown) == step.id.startswith("eval-") for step in found)


def test_who_is_named_of_several_goes_and_what_nobody_is_called_is_refused(tmp_path):
    text = MIXED.replace("{benchmark: pairs, ", "{benchmark: pairs, of: [strong, small], ")
    (tmp_path / "mixed.yaml").write_text(text)
    declared = load_declaration(tmp_path / "mixed.yaml")
    assert without_parts(declared, ["small"]).evaluations["dev"].of == ["strong"]
    assert without_parts(declared, ["strong"]).evaluations == {}
    with pytest.raises(SpecError, match=r"no 'smal'.*small"):
        without_parts(declared, ["smal"])


def test_an_unknown_place_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no place 'face'"):
        lines_of(tmp_path, places={"face": "/data"})


@pytest.mark.parametrize("embedded", [False, True])
def test_the_file_of_the_documentation_and_the_shipped_ones_are_plans(tmp_path, embedded):
    page = (Path(__file__).parents[2] / "docs/experiments.md").read_text()
    (tmp_path / "page.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    for path in (tmp_path / "page.yaml", *SHIPPED.glob("*.yaml")):
        if embedded and "\nembedded:" not in path.read_text():
            continue
        steps = steps_of(load_declaration(path, embedded=embedded))
        assert len({step.id for step in steps}) == len(steps) and steps[-1].id == "report"
        loose = [
            word
            for step in steps
            for word in step.argv
            if "{" in re.sub(r"{(choice|uniform|randint):", "", word)
        ]
        assert not loose, path
        assert not (embedded and any("faces/" in word for step in steps for word in step.argv)), path


def test_crops_come_before_what_takes_them_and_given_models_need_no_step(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text("""
version: 1
name: crops
alignments: {crops: {photos: /data/photos, flags: {face: center}}}
given: {strong: /data/runs/r50}
views: {mine: {of: crops, flags: {spec: maug}}, listed: {of: crops, flags: {source: "csv:a.csv,root=crops"}}}
pictures: {look: {caption: look, of: crops}, other: {caption: other, faces: /data/faces}}
trainings: {small: {method: fskd, view: mine, parents: {teacher: strong}}}
routes: {both: {at: {28: small}, rest: strong}}
evaluations: {held: {benchmark: view, flags: {view: listed}}}
""")
    found = {step.id: step for step in steps_of(load_declaration(path))}
    assert found["align-crops"].argv == ("align", "/data/photos", "--out", "crops", "--face", "center")
    assert found["pairs-mine"].argv == ("make-pairs", "--view", "mine", "--source", "crops", "--spec", "maug")
    assert found["pairs-listed"].argv[3:5] == ("--source", "csv:a.csv,root=crops")
    assert found["pairs-mine"].needs == found["picture-look"].needs == ("align-crops",)
    assert found["picture-look"].argv[:2] == ("degrade", "crops") and found["picture-other"].needs == ()
    assert "teacher=/data/runs/r50" in found["train-small-s0"].argv
    assert found["train-small-s0"].needs == ("pairs-mine",)
    assert found["route-both"].argv[-4:] == ("--rest", "/data/runs/r50", "--out", "runs/both")
    strong = found["eval-held-strong"]
    assert strong.argv[1:4] == ("/data/runs/r50", "--name", "strong") and strong.needs == ("pairs-listed",)
    assert "crops-sheet.png=" in " ".join(found["report"].argv)


def test_a_view_of_crops_that_nobody_makes_is_refused(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(
        "version: 1\nname: x\nviews: {mine: {of: crop}}\nalignments: {crops: {photos: p}}\n"
        "trainings: {}\nevaluations: {}\n"
    )
    with pytest.raises(SpecError, match=r"'crop' is no alignment.*crops"):
        load_declaration(path)


def test_a_view_takes_the_spec_of_a_fitted_camera(tmp_path):
    path = tmp_path / "e.yaml"
    head = "version: 1\nname: x\nfits: {gate: {crops: c, source: s, flags: {seed: 3}}}\ntrainings: {}\nevaluations: {}\n"
    path.write_text(head + "views: {mine: {camera: gate, flags: {source: s}}}\n")
    found = {step.id: step for step in steps_of(load_declaration(path))}
    fit = ("fit", "c", "--source", "s", "--out", "fits/gate.yaml", "--seed", "3")
    assert found["fit-gate"].argv == fit and found["pairs-mine"].needs == ("fit-gate",)
    assert found["pairs-mine"].argv[-2:] == ("--spec", "fits/gate.yaml")
    path.write_text(head + "views: {mine: {camera: gate, scan: true, flags: {source: s}}}\n")
    assert steps_of(load_declaration(path))[1].argv[-1] == "fits/gate.fit/scan.yaml"
    path.write_text(head + "views: {mine: {camera: gat, flags: {source: s}}}\n")
    with pytest.raises(SpecError, match=r"'gat' is no fit.*gate"):
        load_declaration(path)
