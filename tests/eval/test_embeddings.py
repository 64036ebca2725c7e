"""Embedding many images: decoded ahead, with the result, order and errors of one after another."""

import threading

import numpy as np
import pytest

from lrfr.core.errors import ImageFault, NumericFault
from lrfr.core.image import encode_png
from lrfr.core.progress import Hooks, Stopped
from lrfr.eval.embeddings import embed_images, load_image


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(3)
    paths = [tmp_path / f"{number:03d}.png" for number in range(75)]
    for path in paths:
        path.write_bytes(encode_png(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)))
    return paths


def embed(images):
    return np.stack([image[:2].reshape(-1)[:8] for image in images]).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 5, 16, 40, 200])
def test_rows_are_those_of_one_image_after_another(files, batch):
    expected = embed([load_image(path) for path in files])
    found = embed_images(embed, files, batch=batch, mirror=True)
    assert np.array_equal(found.plain, expected)
    assert np.array_equal(found.mirrored, embed([load_image(path)[:, ::-1] for path in files]))


def test_the_first_bad_file_is_named(files):
    files[33].write_bytes(b"no picture")
    files[60].unlink()
    with pytest.raises(ImageFault) as caught:
        embed_images(embed, files, batch=8)
    assert caught.value.file == str(files[33])


def test_an_embedder_that_fails_leaves_no_thread(files):
    def broken(images):
        return np.full((len(images), 4), np.nan, np.float32)

    with pytest.raises(NumericFault):
        embed_images(broken, files, batch=4)
    for thread in threading.enumerate():
        if thread.name.startswith("lrfr-ahead"):
            thread.join(5)
            assert not thread.is_alive()


def test_a_stop_ends_it_between_batches(files):
    seen = []
    hooks = Hooks(lambda done, total, **_: seen.append(done), should_stop=lambda: len(seen) >= 3)
    with pytest.raises(Stopped):
        embed_images(embed, files, batch=10, hooks=hooks)
    assert seen == [10, 20, 30]


def test_no_more_than_two_batches_are_decoded_ahead(files, monkeypatch):
    import lrfr.eval.embeddings as module

    begun, taken = [], []
    real = module.load_image
    monkeypatch.setattr(module, "load_image", lambda path, size: begun.append(path) or real(path, size))

    def watched(images):
        taken.extend(images)
        assert len(begun) <= len(taken) + 3 * 16
        return embed(images)

    embed_images(watched, files, batch=16)
    assert begun and len(taken) == len(files)
