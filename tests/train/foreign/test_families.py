"""Every family under its authors' names, saved as they save, embeds as its own forward pass says."""

import collections
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lrfr.core.errors import DataError
from lrfr.train.backbones.table import build_backbone
from lrfr.train.backbones.teacher import FrozenTeacher
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.export_model import export
from lrfr.train.weights.foreign.names.families import FAMILIES
from lrfr.train.weights.foreign.names.recognize import Choice
from lrfr.train.weights.import_weights import plan_import, write_import
from lrfr.train.weights.load_model import load_model
from lrfr.train.weights.load_nets import load_nets
from tests.train.foreign import authors

NUMBERS: list | None = None  # filled where the table of the docs is printed
SMALL = {"units": (1, 1, 1, 1), "width": 16, "stem": 2, "emb": 128}
FULL = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
# family, backbone, forward pass, its arguments, what its authors write around the weights
CASES = [
    ("insightface", "tiny", authors.iresnet, SMALL, "plain"),
    ("mobilefacenet", "mobilefacenet-small", authors.mobilefacenet, {"scale": 1}, "module"),
    ("facex-mobilefacenet", "mobilefacenet-small", authors.facex_mobilefacenet, {}, "facex"),
    ("magface", "tiny", authors.iresnet, SMALL, "magface"),
    ("askd", "tiny-cbam", authors.askd, SMALL, "plain"),
    ("cvlface", "tiny-ir", authors.ir, SMALL | {"middle": True, "affine": False}, "net"),
    ("adaface", "tiny-ir", authors.ir, SMALL | {"middle": True, "affine": False}, "lightning"),
    ("adaface", "tiny-ir-se", authors.ir, SMALL | {"middle": True, "affine": False, "squeeze": "se_block"}, "lightning"),
    ("curricularface", "tiny-facex", authors.ir, SMALL | {"middle": False, "affine": False}, "plain"),
    ("facex", "tiny-facex", authors.ir, SMALL | {"middle": False, "affine": True}, "facex"),
    ("facex", "tiny-facex-se", authors.ir, SMALL | {"middle": False, "affine": True, "squeeze": "5"}, "facex"),
    ("lrfr", "tiny-lrfr", authors.lrfr, SMALL, "plain"),
    ("facenet", "tiny-inception", authors.facenet, {"units": (1, 1, 1), "shrink": 8, "emb": 128}, "plain"),
    ("vit", "tiny-vit", authors.vit, {"patch": 16, "dim": 64, "depth": 4, "heads": 2, "ratio": 4, "emb": 128}, "net"),
    ("kprpe", "tiny-vit-kprpe", authors.vit, {"patch": 16, "dim": 64, "depth": 4, "heads": 2, "ratio": 4, "emb": 128, "points": True}, "net"),
    ("timm", "tiny-vit-timm", authors.vit, {"patch": 16, "dim": 64, "depth": 4, "heads": 2, "ratio": 4, "token": True}, "model"),
    ("fskd", "tiny-gap", authors.hinted, SMALL, "plain"),
    ("fskd", "tiny-cbam", authors.fskd_cbam, SMALL, "module"),
]  # fmt: skip
WHOLE = [
    ("insightface", "iresnet50", authors.iresnet, {"units": FULL[50]}, "plain"),
    ("insightface", "iresnet100", authors.iresnet, {"units": FULL[100]}, "plain"),
    ("mobilefacenet", "mobilefacenet", authors.mobilefacenet, {}, "plain"),
    ("mobilefacenet", "mobilefacenet-large", authors.mobilefacenet, {"blocks": (2, 8, 12, 4), "scale": 4}, "plain"),
    ("magface", "iresnet100", authors.iresnet, {"units": FULL[100]}, "magface"),
    ("askd", "iresnet50-cbam", authors.askd, {"units": FULL[50]}, "plain"),
    ("cvlface", "ir101", authors.ir, {"units": FULL[100], "middle": True, "affine": False}, "net"),
    ("adaface", "ir18", authors.ir, {"units": FULL[18], "middle": True, "affine": False}, "lightning"),
    ("adaface", "ir50", authors.ir, {"units": FULL[50], "middle": True, "affine": False}, "lightning"),
    ("curricularface", "facex-resnet100", authors.ir, {"units": FULL[100], "middle": False, "affine": False}, "plain"),
    ("facex", "facex-resnet50-se", authors.ir, {"units": FULL[50], "middle": False, "affine": True, "squeeze": "5"}, "facex"),
    ("lrfr", "lrfr-resnet34", authors.lrfr, {"units": FULL[34]}, "plain"),
    ("lrfr", "lrfr-resnet50", authors.lrfr, {"units": FULL[34], "bottleneck": True}, "plain"),
    ("facenet", "inception-resnet-v1", authors.facenet, {}, "plain"),
    ("vit", "vit-t", authors.vit, {"patch": 9, "dim": 256, "depth": 12, "heads": 8, "ratio": 4}, "plain"),
    ("vit", "vit-cvl-b", authors.vit, {"patch": 8, "dim": 512, "depth": 24, "heads": 16, "ratio": 3}, "net"),
    ("kprpe", "vit-cvl-b-kprpe", authors.vit, {"patch": 8, "dim": 512, "depth": 24, "heads": 16, "ratio": 3, "points": True}, "net"),
    ("timm", "vit-timm-s", authors.vit, {"patch": 16, "dim": 384, "depth": 12, "heads": 6, "ratio": 4, "token": True}, "plain"),
    ("fskd", "iresnet50-gap", authors.hinted, {"units": FULL[50]}, "plain"),
]  # fmt: skip


def names(cases):
    return [f"{family}-{backbone}" for family, backbone, *_ in cases]


def wrapped(weights, how):
    """Put weights into what their authors save around them."""
    head = torch.randn(7, 128)

    def under(prefix, **more):
        return collections.OrderedDict({f"{prefix}{name}": value for name, value in weights.items()}, **more)

    if how == "module":
        return under("module.")
    if how == "net":
        return under("net.")
    if how == "model":
        return {
            "model": under(""),
            "optimizer": {"state": {0: {"exp_avg": head}}, "param_groups": [{"lr": 0.1}]},
        }
    if how == "facex":
        return {
            "state_dict": under("module.backbone.", **{"module.head.weight": head}),
            "epoch": 3,
            "batch_id": 9,
        }
    if how == "magface":
        return {
            "state_dict": under("features.module.", **{"module.fc.weight": head}),
            "epoch": 24,
            "arch": "iresnet",
        }
    if how == "lightning":
        return {
            "state_dict": under("model.", **{"head.kernel": head, "head.t": torch.zeros(1)}),
            "epoch": 1,
            "pytorch-lightning_version": "1.4.4",
            "optimizer_states": [{"state": {0: {"momentum_buffer": head}}, "param_groups": []}],
            "hyper_parameters": {"arch": "ir_50"},
        }
    return under("")


def faces(side, count=2):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def family_answer(family, net, draw, given, images):
    """Feed images as the authors do, and run their forward pass; the weights are drawn on the way."""
    contract = FAMILIES[family].contract
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (contract.mean, contract.std))
    x = (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() - mean) / std
    x = x.flip(1) if contract.channels == "bgr" else x
    with torch.no_grad():
        return net(draw, x, **given)


def unit(rows):
    return F.normalize(torch.as_tensor(rows))


def apart(found, wanted):
    """The largest difference of unit embeddings, relative to their largest number."""
    found, wanted = unit(found), unit(wanted)
    return float((found - wanted).abs().max() / wanted.abs().max())


def case(folder, family, backbone, net, given, how, legacy=False):
    """Save one case as its authors would; return the file, the images and the answer."""
    side = getattr(FAMILIES[family].contract, "size_px") if backbone.startswith("incep") else 112  # noqa: B009
    side = 224 if backbone in ("vit-timm-s",) else side
    side = 160 if family == "facenet" else side
    draw = authors.Drawn(len(backbone), FAMILIES[family].norm_eps or 1e-5)
    images = faces(side)
    wanted = family_answer(family, net, draw, given, images)
    path = folder / f"{family}.pth"
    torch.save(wrapped(dict(draw), how), path, _use_new_zipfile_serialization=not legacy)
    return path, images, wanted


@pytest.mark.parametrize(("family", "backbone", "net", "given", "how"), CASES, ids=names(CASES))
def test_a_family_is_recognized_and_embeds_as_its_authors_say(tmp_path, family, backbone, net, given, how):
    path, images, wanted = case(tmp_path, family, backbone, net, given, how, legacy=len(how) % 2 == 0)
    plan = plan_import(path)
    assert (plan.found.family, plan.found.backbone) == (family, backbone)
    write_import(plan, tmp_path / "run")
    found = four_ways(tmp_path, images)
    if NUMBERS is not None:
        NUMBERS.append((family, backbone, {way: apart(rows, wanted) for way, rows in found.items()}))
    assert max(apart(rows, wanted) for rows in found.values()) < 1e-5
    card = (tmp_path / "run" / "model-card.md").read_text()
    assert plan.form in card and FAMILIES[family].about in card and str(plan.contract) in card
    assert re.search(r"sha256 `[0-9a-f]{64}`", card)


def four_ways(folder, images):
    """Embed with an import as a frozen teacher, as the start of a training, evaluated, and exported back."""
    loaded = load_nets(folder / "run")
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        teacher = FrozenTeacher(loaded.nets["net"])(x)
        method = load_recipe("baseline", "tiny", [f"backbone={loaded.identity.options['backbone']}"]).make()
        started = method.build(3, {"init": loaded.nets})["net"].eval()(x)
    file, _ = export(folder / "run", folder / "back", safetensors=True)
    write_import(plan_import(file, Choice(loaded.identity.options["backbone"])), folder / "again")
    return {
        "teacher": teacher,
        "init": started,
        "evaluated": load_model(folder / "run")(images),
        "exported back": load_model(folder / "again")(images),
    }


@pytest.mark.soak
@pytest.mark.parametrize(("family", "backbone", "net", "given", "how"), WHOLE, ids=names(WHOLE))
def test_a_whole_network_of_a_family(tmp_path, family, backbone, net, given, how):
    path, images, wanted = case(tmp_path, family, backbone, net, given, how)
    plan = plan_import(path)
    assert (plan.found.family, plan.found.backbone) == (family, backbone)
    write_import(plan, tmp_path / "run")
    assert apart(load_model(tmp_path / "run")(images), wanted) < 1e-5


@pytest.mark.parametrize(
    ("name", "shape", "family"),
    [
        (
            "keypoint_linear.0.weight",
            (256, 10),
            "kprpe weights do not fit 'tiny-vit-kprpe'",
        ),  # through a hidden layer
        (
            "keypoint_linear.weight",
            (49, 10),
            "kprpe weights do not fit 'tiny-vit-kprpe'",
        ),  # one for all heads
        ("blocks.0.attn.rpe_k.lookup_table_weight", (1, 32, 49), "vit weights do not fit 'tiny-vit'"),  # iRPE
    ],
)
def test_other_relative_positions_are_refused_by_the_name_of_their_family(tmp_path, name, shape, family):
    weights = {f"net.{key}": value for key, value in build_backbone("tiny-vit").state_dict().items()}
    torch.save({**weights, f"net.{name}": torch.zeros(shape)}, tmp_path / "w.pt")
    with pytest.raises(DataError) as raised:
        plan_import(tmp_path / "w.pt")
    assert family in str(raised.value) and name in str(raised.value)


def test_every_family_has_a_case():
    assert {family for family, *_ in CASES} == set(FAMILIES)
