"""Running specs: gates, containers, streams, batches, traces, replay."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lrfr.core.errors import DataError, SpecError
from lrfr.degrade.any_picture import key_text
from lrfr.degrade.ops.base import Op
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.pipeline import Applied, Trace, replay
from tests.degrade.samples import face, faces, keys, pipeline

TINY = np.full((4, 4, 3), 100, np.uint8)

CHAIN = """\
  - op: blur
    id: b1
    p: 0.5
    one_of:
      - {op: gaussian_blur, sigma: {uniform: [0.2, 3.0]}}
      - {op: motion_blur, length: {randint: [3, 15]}, angle: {uniform: [0, 180]}}
  - id: n1
    p: 0.5
    one_of:
      - {op: gaussian_noise, sigma: {uniform: [1, 30]}, gray_p: 0.4}
      - {op: poisson_noise, photons: {log_uniform: [16, 128]}}
  - {op: jpeg, id: j1, p: 0.5, quality: {randint: [30, 95]}}
  - {op: down, id: d1, size: {choice: [7, 14, 20]}, filter: bicubic, antialias: true}
"""


def ids(item):
    return [step.id for step in item.trace.steps]


def drawn(runs, step_id):
    return [next((step.params for step in item.trace.steps if step.id == step_id), None) for item in runs]


def many(steps, count, seed=1):
    return pipeline(steps, seed).run(keys(count), [TINY] * count)


def test_gates_fire_at_their_rate_and_independently():
    count = 25_000
    steps = "".join(
        f"  - {{op: brightness, id: s{k}, p: {p}, factor: 1}}\n" for k, p in enumerate((0.5, 0.2, 0.9))
    )
    fired = np.array([[f"s{k}" in ids(item) for k in range(3)] for item in many(steps, count)], float)
    for rate, p in zip(fired.mean(axis=0), (0.5, 0.2, 0.9), strict=True):
        assert abs(rate - p) < 3 * math.sqrt(p * (1 - p) / count)
    correlation = np.corrcoef(fired.T)[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < 0.02


def test_gates_of_variants_and_seeds_are_independent():
    steps = "  - {op: brightness, id: s, p: 0.5, factor: 1}\n"
    run = pipeline(steps)
    base = np.array([bool(item.trace.steps) for item in run.run(keys(5000), [TINY] * 5000)], float)
    for other in (run.run(keys(5000), [TINY] * 5000, 1), many(steps, 5000, seed=2)):
        assert abs(np.corrcoef(base, [bool(item.trace.steps) for item in other])[0, 1]) < 0.06


def test_one_of_follows_its_weights():
    steps = "  - {one_of: [{op: identity}, {op: grayscale}, {op: gamma, gamma: 1}], weights: [1, 1, 2]}\n"
    counts = Counter(ids(item)[0] for item in many(steps, 6000))
    assert (
        stats.chisquare(
            [counts[f"one_of#0/{name}#0"] for name in ("identity", "grayscale", "gamma")], [1500, 1500, 3000]
        ).pvalue
        > 1e-3
    )


def test_some_of_picks_that_many_of_all_alike_in_listed_order():
    steps = "  - {some_of: [{op: identity, id: a}, {op: identity, id: b}, {op: identity, id: c}], n: 2}\n"
    counts = Counter("".join(ids(item)) for item in many(steps, 3000))
    assert set(counts) == {"ab", "ac", "bc"}
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_shuffle_draws_all_orders_alike_and_keeps_what_is_in_order():
    three = "  - {shuffle: [{op: identity, id: a}, {op: identity, id: b}, {op: identity, id: c}]%s}\n"
    counts = Counter("".join(ids(item)) for item in many(three % "", 6000))
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    kept = Counter("".join(ids(item)) for item in many(three % ", in_order: [a, c]", 3000))
    assert set(kept) == {"abc", "acb", "bac"}
    assert stats.chisquare(list(kept.values())).pvalue > 1e-3


def test_shuffled_steps_run_in_the_recorded_order():
    steps = "  - {shuffle: [{op: brightness, id: a, factor: 2}, {op: gamma, id: g, gamma: 2}]}\n"
    outcomes = {"".join(ids(item)): item.image[0, 0, 0] for item in many(steps, 50)}
    assert outcomes == {"ag": round(255 * (200 / 255) ** 2), "ga": 2 * round(255 * (100 / 255) ** 2)}


def test_repeat_runs_again_with_new_draws():
    steps = "  - {repeat: 3, id: r, steps: [{op: brightness, factor: {uniform: [0.9, 1.1]}}]}\n"
    item = many(steps, 1)[0]
    assert ids(item) == ["r/brightness#0@0", "r/brightness#0@1", "r/brightness#0@2"]
    assert len({step.params["factor"] for step in item.trace.steps}) == 3
    lengths = Counter(
        len(item.trace.steps) for item in many(steps.replace("repeat: 3", "repeat: {randint: [1, 2]}"), 600)
    )
    assert set(lengths) == {1, 2}


def test_nested_repeats_have_streams_of_their_own():
    steps = (
        "  - {repeat: 2, id: r, steps: [{repeat: 2, id: q, steps: [{op: brightness, factor: {uniform: "
        "[0.9, 1.1]}}]}]}\n"
    )
    item = many(steps, 1)[0]
    assert len(set(ids(item))) == 4
    assert len({step.params["factor"] for step in item.trace.steps}) == 4


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_batches_and_orders_never_matter(size):
    run = pipeline(CHAIN)
    images, names = faces(70), keys(70)
    whole = run.run(names, images)
    order = np.random.default_rng(0).permutation(70)
    for start in range(0, 70, size):
        rows = order[start : start + size]
        for row, item in zip(rows, run.run([names[r] for r in rows], [images[r] for r in rows]), strict=True):
            np.testing.assert_array_equal(item.image, whole[row].image)
            assert item.trace == whole[row].trace


def test_inputs_are_left_alone():
    images = faces(16)
    before = [image.copy() for image in images]
    for image in images:
        image.flags.writeable = False
    pipeline(CHAIN).run(keys(16), images)
    for image, kept in zip(images, before, strict=True):
        np.testing.assert_array_equal(image, kept)


def test_changing_a_probability_or_inserting_a_step_moves_no_other_draw():
    base = pipeline(CHAIN).run(keys(60), faces(60))
    variants = {
        "p": CHAIN.replace("p: 0.5, quality", "p: 0.9, quality"),
        "gate off": CHAIN.replace("id: b1\n    p: 0.5", "id: b1\n    p: 0"),
        "range": CHAIN.replace("sigma: {uniform: [1, 30]}", "sigma: {uniform: [1, 3]}"),
        "insert": "  - {op: jpeg, p: 0.5, quality: {randint: [1, 9]}}\n  - {op: grayscale, p: 0.3}\n" + CHAIN,
        "append": CHAIN + "  - {op: gaussian_noise, sigma: {uniform: [0, 9]}}\n",
    }
    for name, text in variants.items():
        other = pipeline(text).run(keys(60), faces(60))
        for step_id in (
            "b1/gaussian_blur#0",
            "b1/motion_blur#0",
            "n1/gaussian_noise#0",
            "n1/poisson_noise#0",
            "j1",
            "d1",
        ):
            pairs = [
                (a, b) for a, b in zip(drawn(base, step_id), drawn(other, step_id), strict=True) if a and b
            ]
            assert pairs or name == "gate off"
            if not (name == "range" and step_id == "n1/gaussian_noise#0"):
                assert all(a == b for a, b in pairs), (name, step_id)


def test_replay_gives_the_recorded_bytes_from_the_json_alone():
    run = pipeline(CHAIN + "  - {op: jpeg, times: 2, quality: {randint: [20, 60]}}\n")
    for item, image in zip(run.run(keys(40), faces(40), 3), faces(40), strict=True):
        trace = Trace.read(json.loads(json.dumps(item.trace.as_json())))
        assert trace.as_json() == item.trace.as_json()
        np.testing.assert_array_equal(replay(trace, image), item.image)


@pytest.mark.parametrize(
    "damage",
    [
        {"seed": "x"},
        {"steps": [{"op": "nope", "id": "a", "params": {}}]},
        {"steps": [{"op": "jpeg"}]},
        {"steps": 3},
    ],
)
def test_a_damaged_trace_is_a_data_error(damage):
    trace = pipeline("  - {op: jpeg, quality: 5}").run(keys(1), faces(1))[0].trace
    with pytest.raises(DataError):
        replay(Trace.read({**trace.as_json(), **damage}), face())


def test_keys_of_any_bytes_survive_the_trace():
    for key in (b"a/b.jpg", "über".encode(), b"\xff\xfe\x00"):
        text = json.loads(json.dumps(key_text(key)))
        assert text.encode("utf-8", "surrogateescape") == key


def test_images_of_many_sizes_share_a_batch():
    images = [face(1, 112), face(2, 60, 90), face(3, 5), face(4, 250)]
    run = pipeline(CHAIN + "  - {op: defocus, radius: 3}\n  - {op: illumination, strength: 0.4, angle: 10}\n")
    shapes = [item.image.shape[0] for item in run.run(keys(4), images)]
    assert max(shapes) <= 20


def test_wrong_input_is_refused():
    run = pipeline("  - {op: identity}")
    with pytest.raises(SpecError, match="2 keys for 1 images"):
        run.run(keys(2), faces(1))
    with pytest.raises(SpecError, match=r"floats must lie in 0\.\.1"):
        run.run(keys(1), [face().astype(np.float32)])


def test_cost_and_portability_follow_the_tree():
    jpeg = OPS["jpeg"].cost_ms
    assert pipeline("  - {op: jpeg, p: 0.5, quality: 3}").cost_ms == pytest.approx(jpeg / 2)
    tree = "  - {repeat: 2, steps: [{one_of: [{op: jpeg, quality: 3}, {op: identity}], weights: [1, 3]}]}"
    assert pipeline(tree).cost_ms == pytest.approx(jpeg / 2)
    assert pipeline(CHAIN).portable
    assert not pipeline(
        CHAIN.replace("filter: bicubic, antialias: true", "filter: cubic, antialias: false")
    ).portable


def test_the_table_holds_every_op_and_every_op_is_documented():
    def leaves(kind):
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]

    shipped = {kind for kind in leaves(Op) if kind.__module__.startswith("lrfr.") and kind is not Op}
    assert shipped == set(OPS.values())
    assert len(set(OPS.values())) == len(OPS)
    assert all(kind.__doc__ and kind.cost_ms >= 0 for kind in OPS.values())


SEVERE = {name: op for name, op in OPS.items() if op.severity_range and op.portable}
EXTRA = {
    "motion_blur": ", angle: 20",
    "illumination": ", angle: 20",
    "kernel_mix": ", family: iso",
    "down": ", filter: bicubic, antialias: true",
    "down_up": ", filter: bicubic, antialias: true",
}


@pytest.mark.parametrize("name", SEVERE)
def test_severity_lowers_quality_step_by_step(name):
    from lrfr.degrade.inspect.contact_sheet import enlarge
    from lrfr.degrade.inspect.similarity import psnr_db
    from lrfr.degrade.spec.model import parse_spec

    up = parse_spec("version: 1\npipeline: [{op: identity}]").store.up
    means = []
    for severity in (0.0, 0.25, 0.5, 0.75, 1.0):
        run = pipeline(f"  - {{op: {name}, severity: {severity}{EXTRA.get(name, '')}}}").run(
            keys(6), faces(6)
        )
        means.append(
            np.mean(
                [psnr_db(image, enlarge(item.image, up)) for image, item in zip(faces(6), run, strict=True)]
            )
        )
    assert all(np.diff(means) < 0.2), means
    assert means[0] - means[-1] > 3


def test_a_drawn_severity_sets_the_parameters_that_it_stands_for():
    steps = "  - {op: gaussian_blur, id: g, severity: {uniform: [0.2, 0.4]}}"
    for item in pipeline(steps).run(keys(50), faces(50)):
        params = item.trace.steps[0].params
        assert 0.2 <= params["severity"] < 0.4
        assert params["sigma"] == pytest.approx(0.5 + 6 * params["severity"], rel=1e-6)


BROKEN = {
    "floats": lambda images: [image / 255.0 for image in images],
    "wide": lambda images: [image.astype(np.int64) for image in images],
    "gray": lambda images: [image[:, :, 0] for image in images],
    "four": lambda images: [np.concatenate([image, image[:, :, :1]], axis=2) for image in images],
    "flat": lambda images: [image[:0] for image in images],
    "few": lambda images: images[:-1],
    "none": lambda images: None,
    "nothings": lambda images: [None for _ in images],
    "generator": lambda images: (image for image in images),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("count", [1, 3])
def test_an_op_that_gives_no_images_is_named(kind, count, monkeypatch):
    class Broken(Op):
        """Somebody's op that is wrong."""

        @classmethod
        def apply(cls, images, params, streams):
            return BROKEN[kind](images)

    monkeypatch.setitem(OPS._entries, "broken", Broken)
    run = pipeline("  - {op: identity}\n  - {op: broken}\n  - {op: identity}").run
    with pytest.raises(SpecError, match="the op 'broken' gave"):
        run(keys(count), faces(count))
    with pytest.raises(SpecError, match="the op 'broken' gave"):
        replay(Trace("a", 0, 0, "", [Applied("broken#0", "broken", {})]), face())


def test_variants_end_where_streams_cannot_tell_them_apart():
    run = pipeline("  - {op: gaussian_noise, sigma: 5}").run
    last = run(keys(1), faces(1), 2**32 - 1)[0]
    assert last.image.tobytes() != run(keys(1), faces(1), 2**32 - 2)[0].image.tobytes()
    with pytest.raises(SpecError, match="variant: a whole number of 0 or more, at most 4294967295"):
        run(keys(1), faces(1), 2**32)
    with pytest.raises(DataError):
        replay(Trace("a", 2**32, 0, "", [Applied("gaussian_noise#0", "gaussian_noise", {})]), face())
