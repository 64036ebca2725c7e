"""T7 learned point-spread functions and pictures, T8 the renderer, and that training reproduces a bank."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError
from lrfr.degrade.turbulence.bank_training import SCHEDULES, Schedule, psf_errors, train_bank
from lrfr.degrade.turbulence.banks import WEIGHTS, bank_for, fitted_bank, load_bank, save_bank, shipped_bank
from lrfr.degrade.turbulence.check.observed import dense_exact
from lrfr.degrade.turbulence.field import node_positions
from lrfr.degrade.turbulence.gather import Renderer
from lrfr.degrade.turbulence.p2s import BANKS
from lrfr.degrade.turbulence.physics.basis import fit_basis
from lrfr.degrade.turbulence.physics.psf import PsfModel, draw_phases
from tests.degrade.turbulence.world import dense_zernike, face, psnr


def errors_by_hand(bank, low, high, exact):
    _, phases = draw_phases(bank.psf, 1500, low, high, torch.Generator().manual_seed(99))
    truth = bank.psf(phases)
    with torch.inference_mode():
        found = bank.basis.reconstruct(bank.coefficients(phases, exact))
    return float(((found - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)).mean())


@pytest.mark.parametrize(
    ("strengths", "bound"), [((0.25, 0.5), 0.015), ((0.5, 1), 0.025), ((1, 2), 0.05), ((2, 4), 0.12)]
)
def test_t7_learned_psf(strengths, bound):
    assert errors_by_hand(bank_for(strengths[1], 2.0), *strengths, exact=False) <= bound


def test_t7_projection_of_the_strong_bank():
    assert errors_by_hand(shipped_bank("strong"), 4, 10, exact=True) <= 0.08


@pytest.mark.parametrize(
    ("strength", "learned_db", "exact_db"), [(1.0, 52, 55), (2.0, 48, 50), (4.0, 44, 46)]
)
def test_t7_pictures_against_the_dense_exact_reference(strength, learned_db, exact_db):
    # 121 px with nodes every 8 px, 0.15 D: the nodes stand on pixels, and are not closer than in a 112-px
    # crop
    size, pixel = 121, 0.01875
    picture = torch.from_numpy(face(size)).permute(2, 0, 1).float()
    zernike = dense_zernike(size, pixel, 0) * strength ** (5 / 6)
    bank = bank_for(strength, 2.0)
    truth = dense_exact(picture, bank.psf, zernike.flatten(1).T.contiguous())
    places = node_positions(size, pixel)
    assert np.array_equal(places, np.arange(0, 121, 8))
    nodes = zernike[:, ::8, ::8].flatten(1).T.contiguous()
    renderer = Renderer(size, size, places, places, bank.basis)
    for exact, bound in ((False, learned_db), (True, exact_db)):
        found = renderer(picture, bank.coefficients(nodes, exact), renderer.workspace())
        assert psnr(found, truth) >= bound


def naive(picture, rows, columns, basis, coefficients):
    """Per pixel: interpolate the four nodes' PSFs, then sum over the window."""
    height, width = picture.shape[1:]
    size = basis.window_px
    kernels = (
        basis.reconstruct(coefficients).numpy().astype(float).reshape(rows.size, columns.size, size, size)
    )
    y = np.stack([np.interp(np.arange(height), rows, unit) for unit in np.eye(rows.size)], 1)
    x = np.stack([np.interp(np.arange(width), columns, unit) for unit in np.eye(columns.size)], 1)
    at_pixels = np.einsum("yg,xh,ghij->yxij", y, x, kernels)[:, :, ::-1, ::-1]
    radius = size // 2
    padded = np.pad(
        picture.numpy().astype(float), ((0, 0), (radius, radius), (radius, radius)), mode="reflect"
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    return np.einsum("cyxij,yxij->cyx", windows, at_pixels)


@pytest.mark.parametrize(
    ("name", "height", "width"), [("weak", 112, 112), ("mid", 45, 83), ("strong", 40, 50), ("weak", 9, 14)]
)
def test_t8_block_products_equal_plain_convolution(name, height, width):
    bank = shipped_bank(name)
    rows, columns = node_positions(height, 0.02), node_positions(width, 0.02)
    _, phases = draw_phases(
        bank.psf, rows.size * columns.size, 0.5, bank.spec.max_strength, torch.Generator().manual_seed(4)
    )
    coefficients = bank.coefficients(phases, exact=True)
    picture = torch.rand(3, height, width, generator=torch.Generator().manual_seed(5))
    renderer = Renderer(height, width, rows, columns, bank.basis)
    space = renderer.workspace()
    found = renderer(picture, coefficients, space).numpy().copy()
    if min(height, width) > bank.psf.window_px // 2:
        assert np.abs(found - naive(picture, rows, columns, bank.basis, coefficients)).max() < 1e-5
    constant = renderer(torch.ones(3, height, width), coefficients, space)
    assert (constant - 1).abs().max() < 1e-5
    again = renderer(picture, coefficients, space).numpy()
    assert np.array_equal(found, again), "a used workspace leaves nothing behind"


def test_t8_mean_energy():
    bank = shipped_bank("weak")
    places = node_positions(112, 0.02)
    _, phases = draw_phases(bank.psf, 256, 0.5, 2, torch.Generator().manual_seed(4))
    renderer = Renderer(112, 112, places, places, bank.basis)
    with torch.inference_mode():
        coefficients = bank.coefficients(phases, exact=False)
    picture = torch.zeros(3, 112, 112)
    picture[:, 30:82, 30:82] = torch.from_numpy(face(52)).permute(2, 0, 1).float()
    found = renderer(picture, coefficients, renderer.workspace())
    assert float(found.mean() / picture.mean()) == pytest.approx(1, abs=5e-3)


def test_shipped_banks_are_small_and_say_how_they_were_made():
    for name, spec in BANKS.items():
        path = WEIGHTS / f"{name}.safetensors"
        card = json.loads(path.with_suffix(".json").read_text("utf-8"))
        assert path.stat().st_size < 100_000
        assert card["command"] == f"lrfr train p2s --bank {name} --seed 0"
        assert card["d_over_r0"] == [spec.min_strength, spec.max_strength]
        if spec.hidden:
            assert card["schedule"] == dataclasses.asdict(SCHEDULES[name])
            found = psf_errors(shipped_bank(name), 1, exact=False)
            assert found == {
                key: pytest.approx(value, rel=0.02) for key, value in card["relative_l2_learned"].items()
            }


def test_the_strong_bank_is_remade_by_its_command(tmp_path):
    made, card = train_bank("strong", BANKS["strong"], 0, SCHEDULES["strong"])
    save_bank(made, card, tmp_path)
    shipped = shipped_bank("strong")
    assert torch.equal(made.basis.pairs_m2, shipped.basis.pairs_m2)
    assert torch.allclose(load_bank("strong", tmp_path).basis.vectors_kv, shipped.basis.vectors_kv, atol=1e-3)


def test_retraining_a_small_bank_reaches_its_error_bound():
    spec = dataclasses.replace(BANKS["weak"], hidden=(64, 64))
    progress = []
    _, card = train_bank(
        "weak",
        spec,
        3,
        Schedule(600, psfs=20_000),
        lambda done, total, **info: progress.append((done, total)),
    )
    assert progress[-1] == (600, 600)
    assert card["relative_l2_learned"]["0.25-0.5"] < 0.03
    assert card["relative_l2_learned"]["1-2"] < 0.15


def test_training_twice_gives_the_same_bank():
    spec = dataclasses.replace(BANKS["weak"], hidden=(16,))
    one, other = (train_bank("weak", spec, 3, Schedule(20, psfs=2000))[0] for _ in range(2))
    for (weight, bias), (weight2, bias2) in zip(one.network.layers, other.network.layers, strict=True):
        assert torch.equal(weight, weight2)
        assert torch.equal(bias, bias2)


def test_a_damaged_bank_is_refused(tmp_path):
    for text in (b"", b"no", (WEIGHTS / "weak.safetensors").read_bytes()[:5000]):
        (tmp_path / "weak.safetensors").write_bytes(text)
        with pytest.raises(DataError, match="bank"):
            load_bank("weak", tmp_path)
    (tmp_path / "weak.safetensors").write_bytes((WEIGHTS / "strong.safetensors").read_bytes())
    with pytest.raises(DataError, match="weak"):
        load_bank("weak", tmp_path)


def test_basis_of_another_sampling():
    # a PSF at q = 3 is the one at q = 2, 1.5 times wider
    bank = fitted_bank("weak", 3.0)
    assert bank.psf.window_px == 31
    _, phases = draw_phases(bank.psf, 500, 0.5, 2, torch.Generator().manual_seed(0))
    truth = bank.psf(phases)
    found = bank.basis.reconstruct(bank.coefficients(phases, exact=True))
    assert float(((found - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)).mean()) < 0.035


def test_basis_vectors_are_even_or_odd_and_reproducible():
    model = PsfModel(window_px=13)
    _, phases = draw_phases(model, 500, 0.5, 2, torch.Generator().manual_seed(0))
    basis = fit_basis(model(phases), 6, 20)
    assert torch.allclose(basis.vectors_kv.flip(0), basis.vectors_kv * basis.parity, atol=1e-5)
    pairs = {tuple(pair) for pair in basis.pairs_m2.tolist()}
    assert pairs == {(x, y) for y, x in pairs}
    assert len(pairs) >= 20
    assert torch.allclose(
        basis.reconstruct(basis.project(model(phases))).sum((1, 2)), torch.ones(500), atol=1e-4
    )
