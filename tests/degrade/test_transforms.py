"""Degrading from Python: every kind of picture in, the same kind out, and draws that only the key decides."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest
from PIL import Image

from lrfr.core.errors import ImageFault, SpecError
from lrfr.core.image import encode_png, square_fit
from lrfr.degrade.pipeline import Pipeline, replay
from lrfr.degrade.spec.model import load_spec
from lrfr.degrade.transforms import Degrade, degrade_images, presets
from tests.degrade.samples import face, faces, keys

TEXT = """\
version: 1
image: {size: 64}
pipeline:
  - {op: gaussian_noise, id: n, sigma: {uniform: [1, 30]}}
  - {op: down, id: d, size: {choice: [7, 14, 20]}, filter: bicubic, antialias: true}
"""


def expected(image, key=b"k", variant=0, spec=TEXT):
    pipeline = Pipeline(spec)
    fitted = square_fit(image, pipeline.spec.image.size_px)
    return pipeline.run([key], [fitted], variant, fit=False)[0].image


def test_presets_are_named():
    assert {"maug-paper", "sensor"} <= set(presets())


@pytest.mark.parametrize("size", [(64, 64), (112, 112), (90, 130), (250, 40)])
def test_an_array_gives_what_the_pipeline_gives_for_its_fitted_square(size):
    image = face(3, *size)
    result = degrade_images(image, TEXT, keys=b"k", variant=2)
    np.testing.assert_array_equal(result, expected(image, variant=2))


def test_the_kind_that_came_comes_back(tmp_path):
    image = face(1, 80)
    pil = degrade_images(Image.fromarray(image), TEXT, keys="k")
    assert isinstance(pil, Image.Image)
    np.testing.assert_array_equal(np.asarray(pil), expected(image))
    floats = degrade_images((image / 255).astype(np.float32), TEXT, keys="k")
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(np.rint(floats * 255), expected(image))
    path = tmp_path / "k"
    path.write_bytes(encode_png(image))
    for given in (path, str(path)):
        np.testing.assert_array_equal(degrade_images(given, TEXT), expected(image))


def test_gray_pictures_come_back_in_three_channels():
    gray = face(1, 80)[:, :, 0]
    whole = np.repeat(gray[:, :, None], 3, axis=2)
    for given in (gray, gray[:, :, None], Image.fromarray(gray), gray / 255.0):
        result = np.asarray(degrade_images(given, TEXT, keys=b"k"), np.float64)
        result = np.rint(result * 255) if getattr(given, "dtype", None) == np.float64 else result
        np.testing.assert_array_equal(result, expected(whole))


def test_views_read_only_arrays_and_palettes_are_taken_for_their_pixels():
    image = face(1, 80)
    frozen = image.copy()
    frozen.flags.writeable = False
    strided = np.repeat(image, 2, axis=1)[:, ::2]
    palette = Image.fromarray(image).quantize(64)
    colors = np.asarray(palette.convert("RGB"))
    for given, whole in ((frozen, image), (strided, image), (np.asfortranarray(image), image)):
        before = given.copy()
        np.testing.assert_array_equal(degrade_images(given, TEXT, keys=b"k"), expected(whole))
        np.testing.assert_array_equal(given, before)
    np.testing.assert_array_equal(np.asarray(degrade_images(palette, TEXT, keys="k")), expected(colors))


def test_keys_come_in_every_kind_and_may_repeat():
    image = face(1, 64)
    for key in ("7", b"7", 7, np.int64(7)):
        np.testing.assert_array_equal(degrade_images(image, TEXT, keys=key), expected(image, b"7"))
    one, other = degrade_images([image, image], TEXT, keys=["k", "k"])
    np.testing.assert_array_equal(one, other)
    for keys_, words in (
        (["a"], "1 keys for 2 pictures"),
        ("ab", "expected a list of keys|keys for 2"),
        ((key for key in "ab"), "expected a list of keys, got generator"),
        ([1.5, 2.5], "a key is"),
        (7, "expected a list of keys|keys for 2"),
    ):
        with pytest.raises(SpecError, match=words):
            degrade_images([image, image], TEXT, keys=keys_)


def test_transparent_pictures_are_composited_over_black():
    pixels = np.dstack([face(1, 80), np.tile(np.arange(80, dtype=np.uint8) * 3, (80, 1))])
    result = np.asarray(degrade_images(Image.fromarray(pixels), "version: 1\npipeline: [{op: identity}]"))
    assert result[:, 0].max() == 0
    assert result[:, -1].max() > 60


def test_lists_and_batches_give_lists():
    images = faces(3, 64)
    alone = [degrade_images(image, TEXT, keys=key) for image, key in zip(images, keys(3), strict=True)]
    for given in (images, tuple(images), np.stack(images)):
        results = degrade_images(given, TEXT, keys=keys(3))
        assert isinstance(results, list)
        for result, one in zip(results, alone, strict=True):
            np.testing.assert_array_equal(result, one)
    assert degrade_images([], TEXT) == []


def test_without_keys_neither_order_nor_batch_matters_and_contents_differ():
    images = faces(4, 64)
    forth, back = degrade_images(images, TEXT), degrade_images(images[::-1], TEXT)[::-1]
    for one, other, image in zip(forth, back, images, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, degrade_images(image, TEXT))
    _, traces = degrade_images(images, TEXT, trace=True)
    assert len({trace.steps[0].params["sigma"] for trace in traces}) == 4


TREE = """\
version: 1
image: {size: 40}
pipeline:
  - shuffle:
      - {op: gaussian_blur, sigma: {uniform: [0.2, 6.0]}}
      - {op: motion_blur, length: {uniform: [1, 31]}, angle: {uniform: [-180, 180]}, p: 0.7}
      - some_of:
          - {op: gaussian_noise, sigma: {uniform: [1, 30]}, gray_p: 0.5}
          - {op: poisson_noise, photons: {log_uniform: [16, 128]}, scale: {choice: [1.0, 2.0]}}
          - {op: speckle, sigma: 0.1}
        n: {randint: [0, 3]}
      - {op: sharpen, amount: 0.5, p: 0.3}
  - repeat: {randint: [1, 2]}
    steps:
      - one_of:
          - {op: jpeg, quality: {randint: [5, 95]}, times: {randint: [1, 3]}, subsampling: {choice: ["420", "444"]}}
          - {op: down_up, ratio: {uniform: [0.3, 1.0]}, filter: {choice: [bilinear, bicubic, box]}, antialias: true}
          - {op: kernel_mix, family: {choice: [iso, aniso, sinc]}, size: {randint: [3, 13]}}
        weights: [2, 1, 1]
  - {op: down, size: {choice: [7, 10, 40]}, filter: {choice: [bilinear, bicubic]}, antialias: true}
"""


@pytest.mark.parametrize("up", [False, True])
def test_a_face_alone_is_the_face_in_a_batch_with_all_that_was_drawn_for_it(up):
    pictures = [face(number, 40 + number % 3, 40 + number % 2) for number in range(24)]
    names, spec = keys(24), load_spec(TREE)
    batch, traces = degrade_images(pictures, spec, keys=names, variant=3, up=up, trace=True)
    engine = Pipeline(spec).run(names, pictures, 3)
    transform = Degrade(spec, up=up)
    transform.set_epoch(3)
    for number, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        alone, trace = degrade_images(picture, spec, keys=name, variant=3, up=up, trace=True)
        np.testing.assert_array_equal(alone, batch[number])
        np.testing.assert_array_equal(transform(picture, name), batch[number])
        assert trace == traces[number] == engine[number].trace
        if not up:
            np.testing.assert_array_equal(replay(trace, square_fit(picture, 40), spec), alone)
    assert len({tuple(step.id for step in trace.steps) for trace in traces}) > 12


def test_traces_and_the_way_up():
    image = face(1, 64)
    result, trace = degrade_images(image, TEXT, keys="k", trace=True, up=True)
    assert result.shape == (64, 64, 3)
    assert trace.key == "k"
    assert [step.op for step in trace.steps] == ["gaussian_noise", "down"]
    results, traces = degrade_images([image], TEXT, keys=["k"], trace=True)
    assert (len(results), traces[0]) == (1, trace)


def test_specs_come_as_names_paths_texts_specs_and_pipelines(tmp_path):
    (tmp_path / "mine.yaml").write_text(TEXT)
    image, spec = face(1, 64), load_spec(TEXT)
    results = [
        degrade_images(image, given, keys=b"k")
        for given in (TEXT, tmp_path / "mine.yaml", str(tmp_path / "mine.yaml"), spec, Pipeline(spec))
    ]
    assert all(np.array_equal(result, results[0]) for result in results)
    assert load_spec(TEXT).name == "unnamed"
    assert Pipeline("maug").spec.digest == load_spec("maug").digest
    assert (
        load_spec("extends: maug").digest == load_spec("{extends: maug}").digest == load_spec("maug").digest
    )


def test_set_takes_a_mapping_or_texts():
    by_text = load_spec("fskd", ["pipeline.0.size=20", "seed=4"])
    assert load_spec("fskd", {"pipeline.0.size": 20, "seed": 4}).digest == by_text.digest
    assert load_spec(TEXT, set={"pipeline.d.size": {"choice": (7, 14)}}).as_json()["pipeline"][1]["size"] == {
        "choice": [7, 14],
        "weights": [1.0, 1.0],
    }
    for wrong, words in (
        ({"pipeline.0.size": object()}, "not plain data"),
        ({"pipeline.0.size": -3}, "set pipeline.0.size:1:1"),
        ({"pipeline.x.size": 3}, "there is no step 'x'"),
        ("seed=3", "place=value texts"),
    ):
        with pytest.raises(SpecError, match=words):
            load_spec("fskd", wrong)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((3, 64, 64), np.uint8), "channels go last"),
        (np.zeros((64, 64, 4), np.uint8), r"got uint8 \[64, 64, 4\]"),
        (np.zeros((64, 64, 3), np.int32), "got int32"),
        (np.full((64, 64, 3), 128.0), r"floats must lie in 0\.\.1"),
        (np.full((64, 64, 3), np.nan), r"floats must lie in 0\.\.1"),
        (np.zeros((0, 64, 3), np.uint8), "expected a PIL image"),
        (17, "got int"),
        (Image.fromarray(np.full((64, 64), 4000, np.uint16)), "8 bits a channel, got mode I;16"),
        (Image.fromarray(np.full((64, 64), 0.5, np.float32)), "8 bits a channel, got mode F"),
        ((picture for picture in ()), "got generator"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(picture, words):
    for call in (lambda: degrade_images(picture, TEXT), lambda: Degrade(TEXT)(picture)):
        with pytest.raises(SpecError, match=words):
            call()


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ImageFault, match=r"notes\.txt: E_FORMAT"):
        degrade_images(tmp_path / "notes.txt", TEXT)


def test_tensors_are_told_how_to_become_arrays():
    import torch

    with pytest.raises(SpecError, match="permute"):
        degrade_images(torch.zeros(3, 64, 64), TEXT)


def test_the_engine_says_what_it_wants():
    pipeline, image = Pipeline(TEXT), face(1, 64)
    for arguments in ((image,), (["k"], image), ("k", [image]), (["k", "l"], [image])):
        with pytest.raises(SpecError):
            pipeline.run(*arguments)
    with pytest.raises(SpecError, match="a key is"):
        pipeline.run([1.5], [image])
    same = [pipeline.run([key], [image])[0] for key in ("7", b"7", 7, np.int64(7))]
    assert all(item.trace == same[0].trace for item in same)


def test_every_call_draws_anew_and_epochs_repeat():
    degrade, image = Degrade(TEXT, up=False), face(1, 64)
    results = [degrade(image) for _ in range(6)]
    assert len({result.tobytes() for result in results}) == 6
    again = Degrade(TEXT, up=False)
    assert all(np.array_equal(again(image), result) for result in results)
    degrade.set_epoch(3)
    third = degrade(image)
    np.testing.assert_array_equal(third, degrade(image))
    np.testing.assert_array_equal(third, results[3])
    degrade.set_epoch(4)
    np.testing.assert_array_equal(degrade(image), results[4])


def test_a_key_takes_the_place_of_the_content():
    degrade, image = Degrade(TEXT, up=False), face(1, 64)
    degrade.set_epoch(5)
    np.testing.assert_array_equal(degrade(image, 17), expected(image, b"17", 5))
    assert not np.array_equal(degrade(image, 17), degrade(image, 18))
    pair = degrade([image, image], [17, 18])
    assert [np.array_equal(one, degrade(image, key)) for one, key in zip(pair, (17, 18), strict=True)] == [
        True
    ] * 2


def test_the_seed_and_the_way_up():
    image = face(1, 64)
    one, other = (Degrade(TEXT, seed=seed)(image) for seed in (1, 2))
    assert one.shape == other.shape == (64, 64, 3)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(one, Degrade(load_spec(TEXT))(image))


def test_a_share_stays_as_it_is():
    images = [face(number, 64) for number in range(40)]
    kept = [np.array_equal(Degrade(TEXT, p=0.5)(image), image) for image in images]
    assert 8 <= sum(kept) <= 32
    assert not any(np.array_equal(Degrade(TEXT)(image), image) for image in images)
    assert all(np.array_equal(Degrade(TEXT, p=0.0)(image), image) for image in images)
    with pytest.raises(SpecError, match="probability"):
        Degrade(TEXT, p=1.5)


def test_pickles_keep_spec_and_epoch():
    degrade, image = Degrade(TEXT, p=0.9, seed=7), face(1, 64)
    degrade.set_epoch(2)
    copy = pickle.loads(pickle.dumps(degrade))
    np.testing.assert_array_equal(copy(image), degrade(image))


def _serve(degrade, images, orders, results):
    for rows in iter(orders.get, None):
        results.put({row: degrade(images[row], row).tobytes() for row in rows})


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_workers_that_live_on_see_the_next_epoch_and_share_no_draws(method):
    context = multiprocessing.get_context(method)
    degrade, images = Degrade(TEXT, up=False), [face(1, 64)] * 4
    orders, results = context.Queue(), context.Queue()
    worker = context.Process(target=_serve, args=(degrade, images, orders, results), daemon=True)
    worker.start()
    try:
        for epoch in (0, 1):
            degrade.set_epoch(epoch)
            orders.put([2, 3])
            there = results.get(timeout=60)
            here = {row: degrade(images[row], row).tobytes() for row in (0, 1, 2, 3)}
            assert there == {row: here[row] for row in (2, 3)}
            assert len(set(here.values())) == 4
    finally:
        orders.put(None)
        worker.join(30)


class Rows:
    """A data set as users write it."""

    def __init__(self, transform):
        self.images, self.transform = [face(number, 64) for number in range(8)], transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        return self.transform(self.images[row])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loader_gives_the_same_epoch_with_any_number_of_workers(method):
    import torch

    epochs = []
    for workers in (0, 2):
        degrade = Degrade(TEXT)
        loader = torch.utils.data.DataLoader(
            Rows(degrade),
            4,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context=method if workers else None,
        )
        for epoch in (0, 1):
            degrade.set_epoch(epoch)
            epochs.append(torch.cat(list(loader)))
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])
    assert not torch.equal(epochs[0], epochs[1])
