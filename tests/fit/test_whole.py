"""A fit of distributions from end to end, and one that is killed on the way."""

import json
import os
import signal

import cv2
import pytest

import lrfr
from lrfr.core.progress import Hooks
from lrfr.experiment.steps.fitting import fit_here
from lrfr.fit.camera_fit import FitSettings
from tests.fit.cameras import seen, write, write_people
from tests.pairs.faults import forked


@pytest.fixture
def quick(monkeypatch):
    """Fits of few faces and steps: what they find is no good, how they find it is the same."""
    settings = FitSettings(bank=160, rounds=1, round_faces=40, groups=1)
    monkeypatch.setattr(fit_here, "FitSettings", lambda **given: settings)
    monkeypatch.setattr("lrfr.fit.structure_scan.FACES", 8)
    monkeypatch.setattr("lrfr.fit.last_figures.PRESETS", ("sensor",))
    monkeypatch.setattr("lrfr.fit.judge.two_sample._FOLDS", 2)
    monkeypatch.setattr("lrfr.fit.choosing._MAY_GO", ("read", "gamma"))
    monkeypatch.setattr("lrfr.fit.camera_fit._LEAST_FITTED", 25)
    monkeypatch.setattr("lrfr.fit.infer.matching._STEPS", 24)
    monkeypatch.setattr("lrfr.fit.infer.closing._STEPS", 6)


def fitted(place, folder, hooks):
    folder.mkdir(exist_ok=True)
    return lrfr.fit_camera(place / "crops", place / "faces", folder / "camera.yaml", hooks=hooks)


@pytest.mark.soak
def test_distributions_are_fitted_and_weighed_against_the_scan(tmp_path, quick):
    write(tmp_path / "crops", seen(50))
    write_people(tmp_path / "faces", 60)
    camera = fitted(tmp_path, tmp_path / "a", Hooks())
    assert {"structure scan", "fit", "fit, histograms"} <= set(camera.validation)
    nearer = [
        one
        for one, near in camera.validation.items()
        if near.energy < camera.validation["structure scan"].energy
    ]
    assert camera.kept == ("fit" if nearer else "structure scan")
    assert lrfr.load_spec(tmp_path / "a/camera.yaml").digest == camera.spec.digest
    assert bool(camera.laws) == (camera.kept != "structure scan")


def steps_of(place):
    """Return what a fit that is left alone tells of its way: phase and how much of it."""
    steps = []
    told = Hooks(lambda done, total, phase="", **_: steps.append((phase, done)))
    fitted(place, place / "whole", told)
    return steps


def ended(work):
    """Return the exit code of a child that does some work."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1])


@pytest.mark.soak
def test_a_fit_killed_again_and_again_gives_the_spec_of_one_left_alone(tmp_path, quick):
    """SIGKILL as each stage begins and goes on, then before each file that is put in its place at the end."""
    cv2.setNumThreads(1)  # a forked child waits for ever for threads that its parent had
    write(tmp_path / "crops", seen(100))
    write_people(tmp_path / "faces", 60)
    # in a process of its own, so that those that are killed have no threads of it either
    assert ended(lambda: (tmp_path / "steps").write_text(json.dumps(steps_of(tmp_path)))) == 0
    steps = [tuple(one) for one in json.loads((tmp_path / "steps").read_text())]
    phases = list(dict.fromkeys(phase for phase, _ in steps))
    each = [[one for one in steps if one[0] == phase] for phase in phases]
    moments = [moment for some in each for moment in dict.fromkeys((some[0], some[len(some) // 2]))]
    assert {"structure", "bank", "network 1", "round 1", "groups"} <= set(phases)

    def dying(at):
        def watch(done, total, phase="", **_):
            if (phase, done) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        return Hooks(watch)

    def killed(hooks, at_file=0):
        def work():
            replace, left = os.replace, [at_file]

            def counted(*given):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(*given)

            os.replace = counted
            fitted(tmp_path, tmp_path / "killed", hooks)

        return ended(work) == -signal.SIGKILL

    kills, files = sum(killed(dying(at)) for at in moments), 0
    while killed(Hooks(), files + 1):
        files += 1
    print(f"\nkills {kills} at work, {files} at files, phases {phases}")
    assert kills >= 10 and files >= 5
    for name in ("camera.yaml", "camera.fit/scan.yaml"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
