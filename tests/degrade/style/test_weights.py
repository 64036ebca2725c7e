"""Weights files: round trip, 8-bit storage, damage, and the digest that names them."""

import hashlib

import pytest
import torch

from lrfr.core.errors import DataError, SpecError
from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import Card, Layout, find_weights, read_weights
from lrfr.degrade.style.magnitude import IdentityCurve, IdentityRange
from lrfr.degrade.style.weight_files import load_weights, pack, save_weights, unpack

LAYOUT = Layout(dim=2, n_res=1, n_basis=2, latent=3)
CARD = Card(
    LAYOUT, 32, IdentityRange(), IdentityCurve((0.0, 6.0), (0.0, 0.7)), {"preset": "test", "steps": 3}
)


@pytest.fixture(params=[False, True], ids=["float32", "int8"])
def file(request, tmp_path):
    torch.manual_seed(0)
    generator = StyleGenerator(LAYOUT)
    generator.subspace.retract()
    save_weights(tmp_path / "w.safetensors", generator, CARD, int8=request.param)
    return tmp_path / "w.safetensors", generator


def test_card_and_digest_come_back(file):
    path, generator = file
    model = load_weights(str(path))
    assert model.card == CARD
    assert model.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(model.generator.subspace.basis_kl, generator.subspace.basis_kl)
    assert not any(parameter.requires_grad for parameter in model.generator.parameters())
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_float32_weights_come_back_bit_for_bit(tmp_path):
    generator = StyleGenerator(LAYOUT)
    save_weights(tmp_path / "w", generator, CARD)
    loaded = load_weights(str(tmp_path / "w")).generator.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in generator.state_dict().items())


def test_eight_bits_are_half_a_step_of_their_row_off_at_most():
    state = {
        "conv": torch.randn(7, 3, 3, 3) * torch.logspace(-3, 1, 7).view(-1, 1, 1, 1),
        "bias": torch.randn(7),
        "zero": torch.zeros(2, 2),
    }
    back = unpack(pack(state))
    step = state["conv"].flatten(1).abs().amax(1) / 127
    assert ((state["conv"] - back["conv"]).flatten(1).abs().amax(1) <= step * 0.5001).all()
    assert torch.equal(back["bias"], state["bias"])
    assert torch.equal(back["zero"], state["zero"])
    again = unpack(pack(back))
    assert all(torch.allclose(again[name], back[name], rtol=1e-6, atol=0) for name in back)


def test_every_flipped_byte_is_noticed(file, tmp_path):
    path, _ = file
    data = path.read_bytes()
    header = int.from_bytes(data[:8], "little") + 8
    for place in [*range(0, header, 7), *range(header, len(data), max(1, len(data) // 40)), len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        (tmp_path / "d").write_bytes(damaged)
        with pytest.raises(DataError):
            load_weights(str(tmp_path / "d"))


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"{}", b"\xff\xff\xff\x7f" + bytes(40), bytes(100)]
)
def test_other_files_are_refused(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DataError, match="style weights"):
        read_weights(tmp_path / "x")


def test_a_truncated_file_is_refused(file):
    path, _ = file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="damaged"):
        load_weights(str(path))


def test_an_absurd_layout_is_refused_before_memory_is_asked_for():
    with pytest.raises(ValueError, match="no such generator"):
        Layout(dim=10**9, n_res=1, n_basis=2, latent=3)


def test_unknown_names_and_other_digests_are_user_errors(file):
    path, _ = file
    with pytest.raises(SpecError, match=r"no style weights 'tinny'.*did you mean 'tiny'"):
        find_weights("tinny")
    with pytest.raises(SpecError, match="the spec wants 000000000000"):
        load_weights(str(path), "0" * 64)
