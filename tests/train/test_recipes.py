"""Recipes: the papers' numbers, overrides, refusals with file and line, schedules."""

import pytest

from lrfr.core.errors import SpecError
from lrfr.train.methods.table import METHODS, recipe_names
from lrfr.train.recipe import load_recipe, method_from
from lrfr.train.settings import TrainSettings


@pytest.mark.parametrize("method", METHODS)
def test_every_shipped_recipe_resolves_and_survives_a_round_trip(method):
    for name in recipe_names(method):
        recipe = load_recipe(method, name)
        assert method_from(method, recipe.options) == recipe.make()
        assert recipe.about


def test_numbers_of_the_papers():
    fskd = load_recipe("fskd", "paper")
    assert (fskd.options["lambda_"], fskd.settings.length, fskd.settings.batch_size) == (5, 47000, 256)
    assert fskd.settings.milestones == (18000, 28000, 36000, 44000)
    assert load_recipe("fskd", "official").options["lambda_"] == 20
    maug = load_recipe("maug", "paper")
    assert (maug.options["head"]["scale"], maug.options["head"]["margin"], maug.settings.length) == (
        48,
        0.4,
        28,
    )
    wave = load_recipe("waveresnet", "paper")
    assert (wave.options["lambda1"], wave.options["lambda2"], wave.settings.milestones) == (
        1,
        0.05,
        (10, 13, 16),
    )
    assert load_recipe("btnet-branch", "paper").options["distill"] == 0.5


def test_overrides_go_where_they_belong():
    recipe = load_recipe(
        "fskd",
        "tiny",
        ["lambda=20", "lr=0.05", "head.scale=64", "parents.teacher.train.length=2", "train.seed=9"],
    )
    assert recipe.options["lambda_"] == 20
    assert recipe.options["head"] == {
        **recipe.options["head"],
        "scale": 64,
        "margin": 0.25,
        "kind": "cosface",
    }
    assert (recipe.settings.lr, recipe.settings.seed) == (0.05, 9)
    assert recipe.parents["teacher"].settings.length == 2
    assert load_recipe("catface", "tiny", ["step=2"]).parents["step1"].options["step"] == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lamda=1", "did you mean 'lambda'"),
        ("train.lrr=1", "--set train.lrr: unknown key 'lrr' (did you mean 'lr'?"),
        ("epochs=5", "did you mean 'length'?"),
        ("train.learning_rate=1", "did you mean 'lr'?"),
        ("parents.teacher.train.epochs=1", "did you mean 'length'?"),
        ("lr=fast", "lr"),
        ("head.scal=1", "scal"),
        ("head.kind=arc", "unknown name 'arc'"),
        ("batch_size=0", "must be positive"),
        ("accumulate=3", "not a multiple"),
        ("lambda=.nan", "finite"),
        ("head.scale=.inf", "finite"),
        ("contrast_queue=0", "contrast_queue positive"),
        ("momentum=0", "nesterov needs"),
        ("nonsense", "expected place=value"),
        ("parents.master.recipe=tiny", "unknown key 'master'"),
    ],
)
def test_wrong_overrides_are_refused(override, message):
    with pytest.raises(SpecError) as caught:
        load_recipe("fskd", "tiny", [override])
    assert message in str(caught.value)


def test_a_wrong_recipe_file_names_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("method: fskd\ntrain:\n  batch_size: 8\n  momentun: 0.9\n")
    with pytest.raises(SpecError) as caught:
        load_recipe("fskd", str(path))
    assert (caught.value.file, caught.value.line) == (str(path), 4)
    assert "did you mean 'momentum'" in str(caught.value)
    with pytest.raises(SpecError, match="this recipe is for 'fskd'"):
        load_recipe("maug", str(path))


def test_poly_schedule_of_btnet():
    settings = load_recipe("btnet-trunk", "paper").settings
    steps = 10_116
    assert settings.total_steps(steps) == 252_900
    rates = [settings.lr_at(epoch * steps, steps) for epoch in (1, 2, 10, 24)]
    assert rates == pytest.approx([0.1, 0.2, 0.085066, 0.000378], abs=1e-6)
    assert settings.lr_at(0, steps) == 0


def test_step_schedule_changes_at_the_milestone():
    settings = load_recipe("fskd", "paper").settings
    assert [settings.lr_at(step, 1917) for step in (17_999, 18_000, 43_999, 44_000)] == pytest.approx(
        [0.1, 0.01, 1e-4, 1e-5]
    )


def test_cosine_schedule_ends_at_zero():
    settings = TrainSettings(schedule="cosine", length=10, warmup=1, lr=1.0)
    rates = [settings.lr_at(step, 100) for step in range(1000)]
    assert rates[50] == pytest.approx(0.5)
    assert max(rates) == rates[100] == pytest.approx(1.0)
    assert rates[550] == pytest.approx(0.5, abs=1e-3)
    assert rates[-1] < 1e-4
