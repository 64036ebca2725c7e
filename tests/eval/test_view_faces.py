"""The benchmark ``view``: the store's own pixels, in lists drawn or given, of one part or many."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lrfr
from lrfr.cli.main import cli
from lrfr.core.errors import DataError, SpecError
from lrfr.degrade.spec.model import parse_spec
from lrfr.eval.embeddings import load_image
from lrfr.eval.pairs.face_table import table_of_view
from lrfr.eval.pairs.list_files import write_gallery, write_pairs
from lrfr.eval.pairs.made_lists import GalleryPlan, PairPlan, make_gallery, make_pair_list
from lrfr.eval.pairs.own_copies import TOLD, own_copies
from lrfr.eval.protocols.view_faces import ViewFaces
from lrfr.eval.results import Model
from lrfr.experiment.models import Recognizer
from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.listed.mixup import KEYS
from tests.pairs.toy import SPEC, ToySource, WithSplits, ingest

SERIAL = Runner("serial")
TWO = [parse_spec(SPEC), parse_spec(SPEC.replace("name: toy", "name: other").replace("[5, 7]", "[6]"))]


def embed(images):
    return np.stack(
        [np.r_[image.reshape(-1, 3).mean(0), image[0, 0], image[-1, -1]] for image in images]
    ).astype(np.float32)


def quick(data, benchmark="view", model=embed, **settings):
    return lrfr.evaluate(model, benchmark, data, **{"replicates": 0, **settings})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view") / "s"
    make_pairs(ingest(ToySource(24, 4)), TWO, store=folder, view=ViewOptions(holdout=0.4), runner=SERIAL)
    extend = MakeOptions(extend="default")
    make_pairs(ingest(ToySource(30, 4)), store=folder, options=extend, runner=SERIAL)
    return folder


def cells(results, protocol="verification"):
    return [(one.matching, one.sizes) for one in results if one.protocol == protocol]


def test_hr_and_each_variant_meet_in_both_protocols(store):
    found = quick(f"{store},split=test,pairs=200")
    wanted = [
        ("same", (16, 16)),
        ("cross", (16, "toy.v0")),
        ("cross", (16, "other.v0")),
        ("same", ("toy.v0", "toy.v0")),
        ("same", ("other.v0", "other.v0")),
    ]
    assert cells(found) == cells(found, "identification") == wanted
    rows = PairDataset(store, split="test")
    more = found[0].more
    assert (more["rows_digest"], more["split"]) == (rows.digest, "test") != (more["view_digest"], "train")
    assert found[-1].counts["n_gallery"] + found[-1].counts["n_probe"] == len(rows)
    assert set(found[1].spec_digests) == {"toy.v0"} and found[0].revision == 3


def test_the_pixels_are_the_stores(store):
    faces = ViewFaces.open(store, "default", "test")
    for place in range(0, len(faces.dataset), 5):
        face = faces.face(faces.dataset.key(place).decode())
        assert np.array_equal(load_image(face), faces.dataset[place]["hr"].permute(1, 2, 0).numpy())
        for number, name in enumerate(faces.names):
            row = int(faces.dataset.rows[place])
            (stored,) = faces.dataset.lr[number].images([row])
            assert np.array_equal(load_image(face, name), stored)


def test_a_variant_gives_what_its_spec_gives_and_the_numbers_are_those_by_hand(store, tmp_path):
    (tmp_path / "toy.yaml").write_text(SPEC)
    spec = str(tmp_path / "toy.yaml")
    results = quick(f"{store},split=test,pairs=200", sizes=(16, "toy.v0", spec))
    found = {one.sizes: one for one in results if one.protocol == "verification"}
    stored, fresh = found[16, "toy.v0"], found[16, spec]
    assert {n: m.value for n, m in stored.metrics.items()} == {n: m.value for n, m in fresh.metrics.items()}
    # the scores once more, from the data set and the list alone
    made = make_pair_list(table_of_view(store, split="test"), PairPlan(200))
    rows = PairDataset(store, split="test")
    place = {rows.key(row).decode(): row for row in range(len(rows))}
    low = [next(iter(rows.lr[0].images([int(row)]))) for row in rows.rows]
    high = [rows[row]["hr"].permute(1, 2, 0).numpy() for row in range(len(rows))]
    cosines = []
    for a, b, *_ in made.rows():
        x, y = embed([high[place[a]]])[0].astype(float), embed([low[place[b]]])[0].astype(float)
        cosines.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    same = made.same
    wins = np.subtract.outer(np.array(cosines)[same], np.array(cosines)[~same])
    assert stored.metrics["AUC"].value == pytest.approx(((wins > 0) + 0.5 * (wins == 0)).mean(), abs=1e-4)


def test_lists_that_are_given_are_those_that_are_drawn(store, tmp_path):
    faces = table_of_view(store, split="test")
    pairs = write_pairs(make_pair_list(faces, PairPlan(200)), tmp_path / "p.tsv")
    lists = write_gallery(make_gallery(faces), tmp_path / "lists")
    drawn = {(one.protocol, one.sizes): one for one in quick(f"{store},split=test,pairs=200")}
    for trials, protocol in ((pairs, "verification"), (lists, "identification")):
        given = quick(f"{store},split=test,trials={trials}")
        assert {one.protocol for one in given} == {protocol} and len(given) == 5
        for one in given:
            twin = drawn[protocol, one.sizes]
            assert one.metrics == twin.metrics and one.list_digest == twin.list_digest
            assert one.protocol_digest == twin.protocol_digest
    strangers = write_gallery(make_gallery(faces, GalleryPlan(strangers=0.3)), tmp_path / "open")
    assert "TPIR@FPIR=0.1" in quick(f"{store},split=test,trials={strangers}")[0].metrics
    with pytest.raises(DataError, match=r"p\.tsv:3: .* listed keys are not in the view default"):
        quick(f"{store},trials={pairs}")
    with pytest.raises(SpecError, match="pairs and hard are for drawn trials"):
        quick(f"{store},trials={pairs},hard=Odd")


def test_one_build_and_a_grown_view_give_equal_results(store, tmp_path):
    at_once = ViewOptions(holdout=0.4)
    make_pairs(ingest(ToySource(30, 4)), TWO, store=tmp_path / "s", view=at_once, runner=SERIAL)
    model = Recognizer(embed, Model("m", digest="d" * 64))
    grown, once = (quick(f"{root},split=test,pairs=200", model=model) for root in (store, tmp_path / "s"))
    assert [one.id for one in grown] == [one.id for one in once] and grown[0].id
    assert [one.metrics for one in grown] == [one.metrics for one in once]


def test_what_a_model_was_trained_on_is_said(store):
    model = Recognizer(embed, Model("m", view_digest=PairDataset(store).digest))
    assert "the model was trained on these very faces" in quick(f"{store},pairs=200", model=model)[0].remarks
    assert (
        "the model was trained on these very faces"
        not in quick(f"{store},split=test,pairs=200", model=model)[0].remarks
    )


def test_a_view_without_variants_is_measured_at_sides(tmp_path):
    make_pairs(ingest(), store=tmp_path / "s", runner=SERIAL)
    assert cells(quick(f"{tmp_path / 's'},pairs=100"))[0] == ("same", (16, 16))
    assert len(quick(f"{tmp_path / 's'},pairs=100,hard=Odd")) == len(quick(f"{tmp_path / 's'},pairs=100"))


def test_faces_without_identity_need_a_list_for_pairs_of_two_pictures(tmp_path):
    class Nameless(ToySource):
        def faces(self):
            return [replace(face, label="") for face in super().faces()]

    make_pairs(ingest(Nameless(6, 2)), store=tmp_path / "s", runner=SERIAL)
    with pytest.raises(
        DataError, match=r"none of 12 faces of view default has an identity.*a list of your own"
    ):
        quick(f"{tmp_path / 's'},pairs=100")
    rows = [f"id{n:03d}/0\tid{(n + d) % 6:03d}/1\t{int(not d)}" for n in range(6) for d in (0, 1)]
    (tmp_path / "own.tsv").write_text("\n".join(rows))
    found = quick(f"{tmp_path / 's'},trials={tmp_path / 'own.tsv'}")
    assert found[0].counts["n_pos"] == found[0].counts["n_neg"] == 6


def test_a_split_of_the_source_is_read_too(tmp_path):
    keys = [face.key for face in ToySource().faces()]
    source = WithSplits(ToySource(), {key: "dev" if key < "id012" else "train" for key in keys})
    make_pairs(ingest(source), store=tmp_path / "s", runner=SERIAL)
    assert quick(f"{tmp_path / 's'},split=dev,pairs=100")[-1].counts["n_gallery"] == 12
    with pytest.raises(SpecError, match="no split 'tset'"):
        quick(f"{tmp_path / 's'},split=tset")


def test_the_command_measures_writes_and_is_reproduced(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["eval", "--embedder", "tests.eval.test_view_faces:embed", "--replicates", "0"]
    line += ["--benchmark", "view", "--store", str(store)]
    done = CliRunner().invoke(cli, [*line, "--view", "default", "--split", "test"], obj=())
    assert done.exit_code == 0, done.output
    (file,) = Path("results").iterdir()
    assert file.name.endswith("-view-default-test.json")
    again = CliRunner().invoke(cli, ["reproduce", str(file), "--check", "--json"])
    states = {link["name"]: link["state"] for link in json.loads(again.stdout)["result"]["links"]}
    assert states["list"] == states["revision"] == states["metric"] == "agrees"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"benchmark": "synthetic", "view": "v"}, "need --benchmark view"),
        ({"benchmark": "view", "data": Path("s"), "split": "test"}, "names the store and the view already"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words, message):
    from lrfr.experiment.evaluate import view_data
    from lrfr.experiment.own_view import ViewWish

    given = {"data": None, "view": None, **words}
    more = {"split": given["split"]} if "split" in given else {}
    with pytest.raises(SpecError, match=message):
        view_data(given["benchmark"], given["data"], embed, ViewWish(Path("s"), given["view"], more))


def test_a_run_is_measured_on_its_own_view_wherever_it_is_called_from(tmp_path, monkeypatch):
    store, home = tmp_path / "home/store", tmp_path / "home"
    for name, people in (("default", 8), ("mine", 20)):
        make_pairs(
            ingest(ToySource(people, 4)), TWO[:1], store=store, view=ViewOptions(name=name), runner=SERIAL
        )
    short = ["train.unit=step", "train.length=1", "train.batch_size=4", "backbone=tiny-gap"]
    recipe = lrfr.load_recipe("baseline", "lr", short)
    lrfr.train_model(recipe, (store, "mine"), home / "runs/r")
    notes = []
    hooks = lrfr.Hooks(on_note=notes.append)

    def measured(model, data=None):
        notes.clear()
        return lrfr.evaluate(model, "view", data, replicates=0, hooks=hooks)[0].more["view"]

    monkeypatch.chdir(tmp_path)
    assert measured(home / "runs/r") == "mine" and "on which" in notes[0]
    assert measured("home/runs/r", "home/store") == "mine"
    assert measured(embed, "home/store") == "default" and "measuring on view 'default'" in notes[0]
    assert measured("home/runs/r", "home/store,view=default") == "default" and not notes
    monkeypatch.chdir(home)
    assert measured("runs/r") == "mine"
    make_pairs(ingest(ToySource(9, 4)), TWO[:1], store=store, view=ViewOptions(name="mine"), runner=SERIAL)
    assert measured("runs/r") == "default" and "is not there" in notes[0]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"no store here.*make-pairs"):
        measured(embed)


def test_the_command_says_which_view_it_took(tmp_path, lrfr):
    make_pairs(ingest(ToySource(8, 4)), TWO[:1], store=tmp_path / "store", runner=SERIAL)
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef embed(images):\n    return np.stack([i.reshape(-1, 3).mean(0) for i in images])\n"
    )
    words = ("eval", "--embedder", "mine:embed", "--benchmark", "view", "--replicates", "0")
    code, said, err = lrfr(*words)
    assert code == 0 and "measuring on view 'default' of store" in err and "results/" in said
    code, _, err = lrfr(*words, "--view", "defalt", "--dry-run")
    assert code == 2 and "did you mean 'default'" in err


def test_real_faces_held_out_and_measured(faces_dir, tmp_path):
    people = sorted((faces_dir / "aligned").iterdir())[:60]
    for person in people:
        (tmp_path / "faces" / person.name).mkdir(parents=True)
        for picture in sorted(person.iterdir())[:4]:
            (tmp_path / "faces" / person.name / picture.name).symlink_to(picture)
    made = make_pairs(
        tmp_path / "faces", "fskd", store=tmp_path / "s", view=ViewOptions(holdout=0.3), runner=SERIAL
    )
    splits = made.done.splits
    assert splits["train"].identities + splits["test"].identities == 60
    found = quick(f"{tmp_path / 's'},split=test,pairs=200")
    assert found[0].counts["n_pos"] == found[0].counts["n_neg"] > 0
    assert found[0].metrics["AUC"].value > 0.5


def pooled(images):
    """What :func:`pooling_onnx` computes: means of 4 x 4 blocks."""
    scaled = np.stack(images).astype(np.float64) / 128.0 - 127.5 / 128.0
    blocks = scaled.reshape(len(images), 4, 4, 4, 4, 3).mean(axis=(2, 4))
    return blocks.transpose(0, 3, 1, 2).reshape(len(images), -1).astype(np.float32)


def pooling_onnx(path, batch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("AveragePool", ["x"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        make.make_node("Flatten", ["p"], ["y"]),
    ]
    x = make.make_tensor_value_info("x", kind, [batch, 3, 16, 16])
    y = make.make_tensor_value_info("y", kind, [batch, 48])
    body = make.make_graph(nodes, "pool", [x], [y])
    onnx.save(make.make_model(body, opset_imports=[make.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.mark.parametrize("batch", [1, 5, "n"])
def test_an_onnx_file_is_measured_on_a_view(store, tmp_path, monkeypatch, batch):
    monkeypatch.chdir(tmp_path)
    pooling_onnx(tmp_path / "pool.onnx", batch)
    line = ["eval", "pool.onnx", "--input-range", "127.5/128", "--benchmark", "view", "--view", "default"]
    line += ["--store", str(store), "--split", "test", "--sizes", "16,7", "--replicates", "0"]
    done = CliRunner().invoke(cli, line, obj=())
    assert done.exit_code == 0, done.output
    (file,) = Path("results").iterdir()
    assert file.name == "pool-view-default-test.json"
    told = json.loads(file.read_bytes())["results"]
    # the file enlarges smaller faces to its own side first
    assert {tuple(one["sizes"]) for one in told} == {(16, 16), (16, 7), (7, 7)}
    told = [one for one in told if one["sizes"] == [16, 16]]
    wanted = quick(f"{store},split=test", model=pooled, sizes=(16,))
    assert len(told) == len(wanted) == 2
    for one, other in zip(told, wanted, strict=True):
        for name, metric in other.metrics.items():
            if metric.value is not None:
                assert one["metrics"][name]["value"] == pytest.approx(metric.value, abs=1e-6), name


class Nameless(ToySource):
    """The same faces, nobody known, and mixes among them."""

    def faces(self):
        named = list(super().faces())
        keys = [f"{KEYS}{k}/{face.key}" if k % 5 == 0 else face.key for k, face in enumerate(named)]
        return [replace(face, label="", key=key) for face, key in zip(named, keys, strict=True)]


def test_faces_without_names_are_told_by_their_own_small_copies(tmp_path):
    make_pairs(ingest(Nameless(24, 2)), TWO[:1], store=tmp_path / "s", runner=SERIAL)
    results = quick(str(tmp_path / "s"), sizes=(16, "toy.v0"))
    assert cells(results) == cells(results, "identification") == [("cross", (16, "toy.v0"))]
    pairs, search = results
    assert TOLD in pairs.remarks and TOLD in search.remarks
    rows = PairDataset(tmp_path / "s")
    high, low = {}, {}
    for place in range(len(rows)):
        if not (key := rows.key(place).decode()).startswith(KEYS):
            high[key] = embed([rows[place]["hr"].permute(1, 2, 0).numpy()])[0].astype(float)
            low[key] = embed([next(iter(rows.lr[0].images([int(rows.rows[place])])))])[0].astype(float)
    assert pairs.counts["n_pos"] == pairs.counts["n_neg"] == len(high) == 38
    assert (search.counts["n_gallery"], search.counts["n_distractor"]) == (31, 7)
    listed, lists = own_copies(sorted(high), lambda key: key)
    left, right = ([listed.images[k] for k in side.tolist()] for side in (listed.left, listed.right))
    assert [a == b for a, b in zip(left, right, strict=True)] == listed.same.tolist()
    assert all(len({listed.fold[k] for k in range(76) if key in (left[k], right[k])}) == 1 for key in high)
    sides = zip(left, right, strict=True)
    score = [high[a] @ low[b] / np.linalg.norm(high[a]) / np.linalg.norm(low[b]) for a, b in sides]
    wins = np.subtract.outer(np.array(score[:38]), np.array(score[38:]))
    assert pairs.metrics["AUC"].value == pytest.approx(((wins > 0) + 0.5 * (wins == 0)).mean(), abs=1e-4)
    best = [
        max(high, key=lambda other: high[other] @ low[key] / np.linalg.norm(high[other])) == key
        for key in lists.probe
    ]
    assert search.metrics["rank-1"].value == pytest.approx(np.mean(best))


def test_too_few_faces_without_names_are_refused():
    with pytest.raises(DataError, match="9 faces are too few"):
        own_copies([str(k) for k in range(9)], lambda key: key)
