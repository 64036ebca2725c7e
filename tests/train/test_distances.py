"""Every distance against a plain-Python evaluation of its equation, and its gradient by finite
differences.
"""

import math

import numpy as np
import pytest
import pywt
import torch

from lrfr.train.backbones.features import Features
from lrfr.train.backbones.parts.wavelet import dwt_ll, low_pass_taps
from lrfr.train.losses import distances as D

torch.manual_seed(0)
S, T = torch.randn(3, 2, 4, 4, dtype=torch.float64), torch.randn(3, 2, 4, 4, dtype=torch.float64)
E, G = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)


def flat(x):
    return [row.flatten().tolist() for row in x]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def norm(a):
    return math.sqrt(dot(a, a))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def py_cosine(s, t):
    return mean(1 - dot(a, b) / norm(a) / norm(b) for a, b in zip(flat(s), flat(t), strict=True))


def py_fitnet(s, t):
    return mean(
        (x - y) ** 2 for a, b in zip(flat(s), flat(t), strict=True) for x, y in zip(a, b, strict=True)
    )


def py_norm(s, t):
    return mean((norm(a) - norm(b)) ** 2 for a, b in zip(flat(s), flat(t), strict=True))


def py_attention(s, t):
    def maps(x):
        found = []
        for sample in x.tolist():
            a = [mean(sample[c][i][j] ** 2 for c in range(2)) for i in range(4) for j in range(4)]
            found.append([v / norm(a) for v in a])
        return found

    return mean(
        (x - y) ** 2 for a, b in zip(maps(s), maps(t), strict=True) for x, y in zip(a, b, strict=True)
    )


def py_smooth_l1(x, y):
    d = abs(x - y)
    return d * d / 2 if d < 1 else d - 0.5


def py_rkd(s, t):
    def relations(x):
        x = x.tolist()
        n = len(x)
        gap = [[norm([a - b for a, b in zip(x[i], x[j], strict=True)]) for j in range(n)] for i in range(n)]
        scale = mean(v for row in gap for v in row if v > 0)

        def unit(i, j):
            return (
                [0.0] * len(x[0])
                if i == j
                else [(a - b) / gap[i][j] for a, b in zip(x[i], x[j], strict=True)]
            )

        angles = [dot(unit(i, a), unit(k, a)) for a in range(n) for i in range(n) for k in range(n)]
        return [v / scale for row in gap for v in row], angles

    (ds, as_), (dt, at) = relations(s), relations(t)
    return mean(map(py_smooth_l1, ds, dt)) + 2 * mean(map(py_smooth_l1, as_, at))


def py_logexp(s, t, p=1.0):
    return mean(
        math.log(1 + sum(math.exp(abs(x - y) ** p) - 1 for x, y in zip(a, b, strict=True))) / (p * len(a))
        for a, b in zip(s.tolist(), t.tolist(), strict=True)
    )


def py_logexp_official(s, t):
    terms = [
        math.exp(abs(x - y)) - 1
        for a, b in zip(s.tolist(), t.tolist(), strict=True)
        for x, y in zip(a, b, strict=True)
    ]
    return math.log(1 + sum(terms)) / len(s)


def py_kl(s, t, temperature=4.0):
    def soft(row):
        e = [math.exp(x / temperature) for x in row]
        return [x / sum(e) for x in e]

    pairs = [(soft(b), soft(a)) for a, b in zip(s.tolist(), t.tolist(), strict=True)]
    return temperature**2 * mean(
        sum(q * math.log(q / p) for q, p in zip(tq, sp, strict=True)) for tq, sp in pairs
    )


def py_wavelet(s, t):
    pairs = [(x, y) for a, b in zip(s.numpy(), t.numpy(), strict=True) for x, y in zip(a, b, strict=True)]
    gaps = [pywt.dwt2(x, "haar")[0] - pywt.dwt2(y, "haar")[0] for x, y in pairs]
    return mean(v * v for gap in gaps for v in gap.flatten().tolist())


CASES = {
    "cosine": (D.cosine, py_cosine, S, T),
    "fitnet": (D.fitnet, py_fitnet, S, T),
    "norm": (D.norm, py_norm, S, T),
    "attention": (D.attention_transfer, py_attention, S, T),
    "rkd": (D.rkd, py_rkd, E, G),
    "logexp": (D.logexp, py_logexp, E, G),
    "logexp p2": (lambda s, t: D.logexp(s, t, 2.0), lambda s, t: py_logexp(s, t, 2.0), E, G),
    "logexp official": (lambda s, t: D.logexp(s, t, reduction="official"), py_logexp_official, E, G),
    "kl": (D.kl, py_kl, E, G),
    "wavelet": (D.wavelet_similarity, py_wavelet, S, T),
    "mse batch": (lambda s, t: D.mse(s, t, "batch"), lambda s, t: 5 * py_fitnet(s, t), E, G),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_its_equation(name):
    ours, plain, student, teacher = CASES[name]
    assert float(ours(student, teacher)) == pytest.approx(plain(student, teacher), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradient_agrees_with_finite_differences(name):
    ours, _, student, teacher = CASES[name]
    if name == "wavelet":  # its filter is float32
        return
    assert torch.autograd.gradcheck(lambda s: ours(s, teacher), student.clone().requires_grad_(), atol=1e-6)


def test_logexp_values_and_gradient_of_equation_4():
    d = torch.tensor([[0.1, -0.2, 0.3, 0.0]], dtype=torch.float64, requires_grad=True)
    value = D.logexp(d, torch.zeros_like(d))
    value.backward()
    assert value.item() == pytest.approx(0.1291670, abs=1e-6)
    assert d.grad[0].tolist() == pytest.approx([0.164810, -0.182143, 0.201299, 0], abs=1e-6)
    assert float(D.logexp(d.detach(), torch.zeros_like(d), 2.0)) == pytest.approx(0.0169294, abs=1e-6)


def test_kl_takes_the_teacher_first():
    student, teacher = torch.tensor([[2.0, 1, 1]]), torch.tensor([[4.0, 1, 0]])
    assert float(D.kl(student, teacher)) == pytest.approx(0.814345, abs=1e-5)
    assert abs(float(D.kl(teacher, student)) - 0.814345) > 1e-3


@pytest.mark.parametrize("name", sorted(D.DISTANCES))
def test_table_is_zero_for_equal_features_and_positive_else(name):
    def features(seed):
        g = torch.Generator().manual_seed(seed)
        maps = tuple(torch.randn(3, 4, 8 >> i, 8 >> i, generator=g) for i in range(3))
        pair = (torch.rand(3, 4, generator=g), torch.rand(3, 1, 4, 4, generator=g))
        return Features(torch.randn(3, 6, generator=g), maps, (pair, pair), torch.randn(3, 5, generator=g))

    assert float(D.DISTANCES[name](features(1), features(1))) == pytest.approx(0, abs=1e-6)
    assert float(D.DISTANCES[name](features(1), features(2))) > 1e-4


@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior3.3", "sym4"])
@pytest.mark.parametrize("side", [8, 14, 7])
def test_low_pass_equals_pywavelets(wavelet, side):
    image = np.random.default_rng(0).normal(size=(side, side))
    ours = dwt_ll(torch.from_numpy(image)[None, None], low_pass_taps(wavelet).double())[0, 0].numpy()
    padded = np.pad(image, ((0, side % 2), (0, side % 2)), mode="edge")
    assert np.allclose(ours, pywt.dwt2(padded, wavelet, mode="periodization")[0], atol=1e-6)


@pytest.mark.parametrize("wavelet", ["db2", "db4", "sym5", "bior2.2", "coif1"])
def test_low_pass_is_a_window_of_ptwts_periodic_transform(wavelet):
    import ptwt

    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # filters of 4, 8, ... taps are sampled one step aside there
    odd = int(pywt.Wavelet(wavelet).dec_len % 4 == 0)
    ours = dwt_ll(x.roll((odd, odd), (-2, -1)), low_pass_taps(wavelet).double())
    theirs = ptwt.wavedec2(x, pywt.Wavelet(wavelet), level=1, mode="periodic")[0]
    starts = range(theirs.shape[-1] - 16 + 1)
    windows = [theirs[..., start : start + 16, start : start + 16] for start in starts]
    assert min(float((window - ours).abs().max()) for window in windows) < 1e-5


def test_low_pass_equals_ptwt_and_haar_is_twice_the_mean():
    import ptwt

    x = torch.randn(2, 3, 8, 8)
    ours = dwt_ll(x, low_pass_taps("haar"))
    assert torch.allclose(ours, ptwt.wavedec2(x, pywt.Wavelet("haar"), level=1, mode="zero")[0], atol=1e-5)
    assert torch.allclose(ours, 2 * torch.nn.functional.avg_pool2d(x, 2), atol=1e-6)
    assert float(dwt_ll(torch.tensor([[[[1.0, 2], [3, 4]]]]), low_pass_taps("haar"))) == pytest.approx(5)
