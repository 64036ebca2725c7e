"""The analyses behind the papers' figures against slow or outside implementations."""

import numpy as np
import pytest
import torch

from lrfr.core.errors import SpecError
from lrfr.eval.analysis.cost import count_macs, count_parameters, measure
from lrfr.eval.analysis.signals import (
    attention_map,
    pca,
    ssim,
    ssim_against_size,
    tsne,
    upsampling_error_bound,
)
from lrfr.eval.low_res import LowRes
from lrfr.pairs.sources.synthetic import render_face
from tests.eval.world import color_embed, identity_picture


def gray(image):
    return image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def test_error_bound_equals_a_loop_and_is_zero_on_a_plane():
    image = identity_picture(1, 0, 9)
    g, total = gray(image), []
    for i in range(7):
        for j in range(7):
            p = g[i : i + 3, j : j + 3]
            total.append(
                abs(
                    p[0, 0]
                    - 2 * p[0, 1]
                    + p[0, 2]
                    - 2 * p[1, 0]
                    + 4 * p[1, 1]
                    - 2 * p[1, 2]
                    + p[2, 0]
                    - 2 * p[2, 1]
                    + p[2, 2]
                )
            )
    assert upsampling_error_bound([image]) == pytest.approx(np.mean(total) / 64)
    plane = np.repeat((np.add.outer(np.arange(9), 2 * np.arange(9)))[..., None], 3, axis=2).astype(np.uint8)
    assert upsampling_error_bound([plane]) == pytest.approx(0, abs=1e-9)


def test_error_bound_rises_as_faces_shrink():
    faces = [render_face(person, 0, 5)[0] for person in range(6)]
    bounds = [upsampling_error_bound(LowRes().apply(faces, size)) for size in (112, 28, 14, 7)]
    assert bounds == sorted(bounds)


def test_ssim_equals_its_definition_by_loops():
    a, b = (identity_picture(1, take, 16) for take in (0, 1))
    x, y = gray(a), gray(b)
    axis = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis) / np.outer(axis, axis).sum()
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for i in range(5, 11):
        for j in range(5, 11):
            p, q = x[i - 5 : i + 6, j - 5 : j + 6], y[i - 5 : i + 6, j - 5 : j + 6]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq, cov = (
                (window * p * p).sum() - mp**2,
                (window * q * q).sum() - mq**2,
                (window * p * q).sum() - mp * mq,
            )
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim(a, b) == pytest.approx(np.mean(values), abs=1e-9)
    assert ssim(a, a) == pytest.approx(1.0)


def test_ssim_falls_with_the_size():
    faces = [np.random.default_rng(p).integers(0, 256, (64, 64, 3), dtype=np.uint8) for p in range(2)]
    found = ssim_against_size(faces, [64, 32, 8])
    assert found[64] == pytest.approx(1.0) and found[64] > found[32] > found[8]


def test_attention_maps_are_scaled_and_flat_ones_are_zero():
    x = np.random.default_rng(0).normal(size=(3, 5, 4, 4))
    for kind in ("mean", "sq", "sum"):
        maps = attention_map(x, kind)
        assert maps.min(axis=(1, 2)).tolist() == [0, 0, 0] and maps.max(axis=(1, 2)).tolist() == [1, 1, 1]
    np.testing.assert_allclose(attention_map(x, "mean"), attention_map(x, "sum"))
    raw = (x * x).mean(axis=1)
    np.testing.assert_array_equal(
        attention_map(x, "sq").reshape(3, -1).argmax(1), raw.reshape(3, -1).argmax(1)
    )
    assert not attention_map(np.ones((1, 2, 3, 3))).any()
    with pytest.raises(SpecError):
        attention_map(x, "max")


def test_pca_equals_scikit_learn_up_to_sign():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(50, 6)) * np.arange(1, 7)
    theirs = PCA(2).fit(x)
    ours, share = pca(x)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.transform(x)), atol=1e-9)
    np.testing.assert_allclose(share, theirs.explained_variance_ratio_, atol=1e-12)


def test_tsne_keeps_neighbors_as_well_as_scikit_learn():
    from sklearn.manifold import TSNE, trustworthiness

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(40, 10)) + 6 * rng.normal(size=10) for _ in range(4)])
    ours = tsne(x, perplexity=15, steps=400)
    theirs = TSNE(perplexity=15, init="pca", random_state=0, method="exact", max_iter=400).fit_transform(x)
    assert trustworthiness(x, ours, n_neighbors=8) > trustworthiness(x, theirs, n_neighbors=8) - 0.03
    group = np.repeat(np.arange(4), 40)
    distance = np.linalg.norm(ours[:, None] - ours[None], axis=2) + np.eye(160) * 1e9
    assert (group[distance.argmin(axis=1)] == group).mean() > 0.98
    np.testing.assert_array_equal(tsne(x, perplexity=15, steps=20), tsne(x, perplexity=15, steps=20))
    with pytest.raises(SpecError):
        tsne(x[:20])


def test_cost_of_a_convolution_by_hand():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.Flatten(), torch.nn.LazyLinear(5)
    )
    net(torch.zeros(1, 3, 16, 16))
    assert count_parameters(net) == 3 * 8 * 9 + 8 * 256 * 5 + 5
    assert count_macs(net, 16) == 3 * 8 * 9 * 256 + 8 * 256 * 5


def test_cost_is_measured_for_any_embedder_and_counted_where_the_network_is_known():
    rows = measure(color_embed, [16])
    assert rows[0].images_per_s > 0 and rows[0].macs is None

    class Routed:
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.Flatten())

        def route(self, height, width):
            return 8, self.net

        def __call__(self, images):
            return np.zeros((len(images), 2), np.float32)

    row = measure(Routed(), [4])[0]
    assert (row.input_px, row.parameters, row.macs) == (8, 8, 3 * 2 * 64)
