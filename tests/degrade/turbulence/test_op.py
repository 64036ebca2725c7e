"""The op: T8 identity, T9 determinism, parameters and refusals, traces, sequences, presets."""

import json
import math

import numpy as np
import pytest
import torch

from lrfr.core.errors import SpecError
from lrfr.degrade.pipeline import Pipeline, Trace, replay
from lrfr.degrade.spec.model import load_spec, parse_spec
from tests.degrade.turbulence.world import face

KEYS = [b"face/%d" % k for k in range(64)]


def spec_of(**op):
    op = {"op": "turbulence", "id": "t", **op}
    variants = op.pop("variants", 1)
    return parse_spec(
        json.dumps({"version": 1, "seed": 5, "variants": variants, "image": {"size": 112}, "pipeline": [op]})
    )


def run(images, keys, variant=0, **op):
    return [one.image for one in Pipeline(spec_of(**op)).run(keys, images, variant, fit=False)]


@pytest.fixture(scope="module")
def faces():
    return [face(112, k) for k in range(64)]


@pytest.mark.parametrize("mode", ["learned", "exact"])
def test_t8_no_turbulence_and_no_optics_is_the_identity(faces, mode):
    noise = np.random.default_rng(0).integers(0, 256, (33, 50, 3), dtype=np.uint8)
    for image in (faces[0], noise):
        (found,) = run([image], KEYS[:1], D_over_r0=0, optics="none", mode=mode)
        assert np.array_equal(found, image)
    (blurred,) = run([faces[0]], KEYS[:1], D_over_r0=0, mode=mode)
    assert not np.array_equal(blurred, faces[0]), "a perfect lens still blurs"


def test_optics_none_is_sharper_and_stays_in_range(faces):
    none, diffraction = (
        run(faces[:1], KEYS[:1], D_over_r0=1, optics=optics)[0].astype(float)
        for optics in ("none", "diffraction")
    )
    assert np.diff(none, axis=1).std() > 1.1 * np.diff(diffraction, axis=1).std()


@pytest.mark.parametrize("strength", [{"uniform": [0.25, 2]}, {"log_uniform": [0.5, 10]}])
def test_t9_same_bytes_for_any_batch_and_order(faces, strength):
    pipeline = Pipeline(spec_of(D_over_r0=strength))
    count = 64 if "uniform" in strength else 21
    whole = [one.image for one in pipeline.run(KEYS[:count], faces[:count])]
    sevens = [
        one.image
        for k in range(0, count, 7)
        for one in pipeline.run(KEYS[k : k + 7][: count - k], faces[k : k + 7][: count - k])
    ]
    backwards = [pipeline.run([KEYS[k]], [faces[k]])[0].image for k in reversed(range(count))][::-1]
    for a, b, c in zip(whole, sevens, backwards, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


def test_t9_other_keys_give_other_fields(faces):
    a, b = run([faces[0]] * 2, KEYS[:2], D_over_r0=2)
    assert not np.array_equal(a, b)
    from lrfr.core.streams import stream
    from lrfr.degrade.turbulence.field import normals_from_words

    noise = [normals_from_words(stream(5, key, 0, "t").words_u16(9000)) for key in KEYS[:8]]
    correlation = np.corrcoef(torch.stack(noise)) - np.eye(8)
    assert np.abs(correlation).max() < 0.05


def test_t9_threads(faces):
    from lrfr.core.machine import torch_threads
    from lrfr.degrade.turbulence.field import Geometry, field_model

    pipeline = Pipeline(spec_of(D_over_r0=2))
    before = torch.get_num_threads()
    results, nodes = [], []
    field = field_model(Geometry(112, 112))
    normals = torch.randn(field.num_normals(36), generator=torch.Generator().manual_seed(0))
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(pipeline.run(KEYS[:2], faces[:2])[1].image)
            assert torch.get_num_threads() == threads, "the caller's setting is restored"
            with torch_threads(1):
                nodes.append(field.zernike(normals, 36))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(nodes[0], nodes[1])
    assert np.abs(results[0].astype(int) - results[1].astype(int)).max() <= 1


def test_amplitude_follows_strength_with_the_same_seed():
    # T2: (D/r0)^(5/6) scaling, seen in the shifts that the simulator applies
    from lrfr.degrade.turbulence.field import Geometry
    from lrfr.degrade.turbulence.simulator import Simulator

    seen = []

    class Spy(Simulator):
        def warp(self, picture_chw, shifts_px):
            seen.append(shifts_px)
            return super().warp(picture_chw, shifts_px)

    one = Spy(Geometry(40, 40))
    normals = torch.randn(one.field.num_normals(66), generator=torch.Generator().manual_seed(0))
    picture = np.zeros((40, 40, 3), np.uint8)
    for strength, calibration in (
        (0.5, "physical"),
        (2.0, "physical"),
        (0.5, "p2s2021"),
        (0.5, "p2s2021_port"),
    ):
        one.run([picture], [strength], [calibration], [normals])
    assert torch.allclose(seen[1], seen[0] * 4 ** (5 / 6), rtol=1e-6, atol=1e-7)
    assert torch.allclose(seen[2], seen[0] * 1.41, rtol=1e-6, atol=1e-7)
    assert torch.allclose(seen[3], seen[0] * torch.tensor([1.77, 1.11]).view(2, 1, 1), rtol=1e-6, atol=1e-7)


def test_p2s2021_blurs_like_three_times_the_label(faces):
    def detail(**op):
        return np.mean(
            [np.diff(image.astype(float), axis=1).std() for image in run(faces[:6], KEYS[:6], **op)]
        )

    assert detail(D_over_r0=0.6, calibration="p2s2021") == pytest.approx(detail(D_over_r0=1.91), rel=0.06)


def test_trace_states_the_physics_and_replays(faces):
    (done,) = Pipeline(spec_of(D_over_r0={"uniform": [0.25, 2]})).run(KEYS[:1], faces[:1])
    params = done.trace.steps[0].params
    assert done.trace.seed == 5
    assert (
        params["aperture_m"] == 0.1
        and params["range_m"] == 800
        and params["wavelength_nm"] == 500
        and params["q"] == 2
    )
    assert params["r0_m"] == pytest.approx(0.1 / params["D_over_r0"], rel=1e-8)
    assert params["calibration"] == "physical" and len(params["sha256"]) == 64
    k = 2 * math.pi / 500e-9
    assert (0.423 * k**2 * params["Cn2"] * 3 * 800 / 8) ** (-3 / 5) == pytest.approx(params["r0_m"], rel=1e-6)
    assert np.array_equal(
        replay(Trace.read(json.loads(json.dumps(done.trace.as_json()))), faces[0]), done.image
    )


def test_strength_in_meters_is_the_same_strength(faces):
    a, b = (run(faces[:1], KEYS[:1], **strength)[0] for strength in ({"D_over_r0": 2.0}, {"r0_m": 0.05}))
    assert np.array_equal(a, b)
    k = 2 * math.pi / 500e-9
    cn2 = 0.05 ** (-5 / 3) / (0.423 * k**2 * 3 * 800 / 8)
    (c,) = run(faces[:1], KEYS[:1], Cn2=cn2)
    assert np.abs(a.astype(int) - c.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ({}, ["D_over_r0", "r0_m [m]", "Cn2", "none"]),
        ({"D_over_r0": 1, "r0_m": 0.05}, ["both D_over_r0 and r0_m"]),
        ({"D_over_r0": {"uniform": [0, 11]}}, ["11", "covers 0 to 10"]),
        ({"D_over_r0": 4, "calibration": "p2s2021"}, ["p2s2021", "3.14"]),
        ({"D_over_r0": -1}, ["[0, 100]"]),
        ({"r0_m": 0.001}, ["reaches 100", "aperture 0.1 m"]),
        ({"D_over_r0": 1, "range_m": 3000}, ["q = 7.5", "range 3000 m", "aperture 0.1 m", "pixel 0.002 m"]),
        ({"D_over_r0": 1, "range_m": 1200}, ["q = 3", "mode: exact", "pixel_m 0.003"]),
        ({"D_over_r0": 1, "mode": "fast"}, ["learned", "exact"]),
        ({"D_over_r0": 1, "wavelength_nm": 50}, ["200"]),
        ({"D_over_r0": 1, "temporal": {"frames": 4, "rho": 1.5}}, ["rho"]),
        ({"D_over_r0": 1, "corr": -0.1}, ["corr"]),
        ({"D_over_r0": 1, "sha256": "0" * 64}, ["not the one stated"]),
    ],
)
def test_impossible_parameters_are_refused_with_units(op, words):
    with pytest.raises(SpecError) as caught:
        spec_of(**op)
    for word in words:
        assert word in str(caught.value)


def test_other_geometries_run_exactly(faces):
    (wide,) = run(faces[:1], KEYS[:1], D_over_r0=1, mode="exact", range_m=1200)
    (near,) = run(faces[:1], KEYS[:1], D_over_r0=1, mode="exact")
    assert np.diff(wide.astype(float), axis=0).std() < np.diff(near.astype(float), axis=0).std()
    (bounded,) = run(faces[:1], KEYS[:1], D_over_r0=1, outer_scale_m=1.0)
    assert not np.array_equal(bounded, near)


def test_severity_stands_for_strength(faces):
    (done,) = Pipeline(spec_of(severity=1.0)).run(KEYS[:1], faces[:1])
    assert done.trace.steps[0].params["D_over_r0"] == 4.0


def test_frames_of_a_sequence_belong_together(faces):
    op = {"D_over_r0": {"uniform": [0.5, 4]}, "temporal": {"frames": 4, "rho": 0.9}, "variants": 8}
    pipeline = Pipeline(spec_of(**op))
    frames = [pipeline.run(KEYS[:1], faces[:1], variant)[0] for variant in range(8)]
    strengths = [one.trace.steps[0].params["D_over_r0"] for one in frames]
    assert len(set(strengths[:4])) == 1 and len(set(strengths[4:])) == 1 and strengths[0] != strengths[4]

    def distance(a, b):
        return np.abs(frames[a].image.astype(float) - frames[b].image.astype(float)).mean()

    independent = run([faces[0]] * 2, KEYS[10:12], D_over_r0=strengths[0])
    apart = np.abs(independent[0].astype(float) - independent[1].astype(float)).mean()
    assert 0 < distance(0, 1) < 0.7 * apart
    assert distance(0, 1) < distance(0, 3)
    # random access: the third frame alone is the third frame
    assert np.array_equal(Pipeline(spec_of(**op)).run(KEYS[:1], faces[:1], 2)[0].image, frames[2].image)


def test_presets():
    turb = load_spec("turb.yaml")
    (step,) = turb.as_json()["pipeline"]
    assert (
        step["op"] == "turbulence"
        and step["D_over_r0"] == {"uniform": [0.25, 2.0]}
        and step["calibration"] == "physical"
    )
    assert load_spec("turb-strong").as_json()["pipeline"][0]["D_over_r0"] == {"log_uniform": [2.0, 10.0]}
    video = load_spec("turb-video")
    assert video.variants == video.as_json()["pipeline"][0]["temporal"]["frames"] == 16
    assert not Pipeline(turb).portable
