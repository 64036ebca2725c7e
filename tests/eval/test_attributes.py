"""Attributes and digits on data in their distributed layout."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.eval.protocols.attributes import (
    attribute_accuracy,
    read_celeba,
    read_digits,
    read_lfwa,
    read_list,
    run_attributes,
    run_svhn,
)
from lrfr.eval.protocols.celeba import draw_pairs
from lrfr.eval.settings import Settings, Task
from tests.eval.world import identity_picture, save

NAMES = ("Male", "Bald")


class RedAndBright:
    """Logits from pixels: Male where red leads, Bald where the picture is bright."""

    attribute_names = NAMES

    def __call__(self, images):
        means = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images])
        return np.stack([means[:, 0] - means[:, 2], means.mean(axis=1) - 128], axis=1).astype(np.float32)


def write_celeba(root, count=12):
    lines, parts, truth = [f"{count}", "Bald Big_Nose Male"], [], []
    for number in range(count):
        image = identity_picture(number, 0, 20)
        save(root / "img_align_celeba" / f"{number:06d}.png", image)
        male, bald = (RedAndBright()([image])[0] > 0).tolist()
        lines.append(f"{number:06d}.png {1 if bald else -1} -1 {1 if male else -1}")
        parts.append(f"{number:06d}.png {2 if number % 2 else 0}")
        truth.append((male, bald))
    (root / "list_attr_celeba.txt").write_text("\n".join(lines))
    (root / "list_eval_partition.txt").write_text("\n".join(parts))
    return truth[1::2]


def test_celeba_reads_the_test_part_in_the_models_order(tmp_path):
    truth = write_celeba(tmp_path)
    listed = read_celeba(tmp_path, NAMES)
    assert listed.value.tolist() == [[int(m), int(b)] for m, b in truth]
    results = run_attributes(tmp_path, Task(RedAndBright(), Settings(sizes=(20, 5))), name="celeba")
    assert results[0].metrics["Male"].value == 1.0
    assert results[0].metrics["mean"].value == 1.0
    assert [result.sizes for result in results] == [(20, 20), (5, 5)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: (r / "list_eval_partition.txt").unlink(), "list_eval_partition.txt"),
        (lambda r: (r / "list_attr_celeba.txt").write_text("2\nBald Young\n1.png 1 1\n"), "Male"),
        (lambda r: (r / "list_eval_partition.txt").write_text("000000.png 0\n"), "test part"),
    ],
)
def test_wrong_celeba_layouts_are_named(tmp_path, change, words):
    write_celeba(tmp_path)
    change(tmp_path)
    with pytest.raises(DataError, match=words):
        read_celeba(tmp_path, NAMES)


def test_a_list_of_ones_own_is_measured_on_its_test_split(tmp_path):
    rows, truth = ["path,split,identity"], []
    more = ["path,Male,Bald,Young"]
    for number in range(8):
        image = identity_picture(number, 0, 20)
        save(tmp_path / "faces" / f"{number}.png", image)
        male, bald = (RedAndBright()([image])[0] > 0).tolist()
        rows.append(f"{number}.png,{'dev' if number % 2 else 'train'},p{number}")
        more.append(f"{number}.png,{int(male)},{'' if number == 1 else int(bald)},1")
        truth.append([int(male), -1 if number == 1 else int(bald)])
    (tmp_path / "list.csv").write_text("\n".join(rows))
    (tmp_path / "more.csv").write_text("\n".join(more))
    data = Path(f"{tmp_path}/list.csv,root={tmp_path}/faces,with={tmp_path}/more.csv")
    assert read_list(data, NAMES).value.tolist() == truth[1::2]
    assert read_list(data, ("Beard", "Bald")).attributes == ("Bald",)
    result = run_attributes(data, Task(RedAndBright(), Settings(sizes=(20,))), name="attributes-csv")[0]
    assert (result.metrics["Bald"].value, result.metrics["Bald"].n) == (1.0, 3)
    with pytest.raises(SpecError, match="Beard"):
        read_list(data, ("Beard",))


def test_a_model_without_attributes_is_told_so(tmp_path):
    with pytest.raises(SpecError, match="predicts attributes"):
        run_attributes(tmp_path, Task(lambda images: np.zeros((len(images), 2), np.float32)), name="celeba")


def test_missing_labels_do_not_count():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]], np.float32)
    value = np.array([[1, -1], [1, 0], [0, -1]], np.int8)
    found = attribute_accuracy(logits, value, NAMES)
    assert found["Male"].value == pytest.approx(1 / 3)
    assert (found["Bald"].value, found["Bald"].n) == (0.0, 1)
    with pytest.raises(DataError):
        attribute_accuracy(logits, np.full((3, 2), -1, np.int8), NAMES)


def test_celeba_pairs_are_balanced_distinct_and_of_the_test_part(tmp_path):
    write_celeba(tmp_path, 60)
    people = [f"{number:06d}.png {number // 6}" for number in range(60)]
    (tmp_path / "identity_CelebA.txt").write_text("\n".join(people))
    pairs = draw_pairs(tmp_path, seed=0, count=40)
    files = [image.name for image in pairs.images]
    assert all(int(name[:6]) % 2 == 1 for name in files), "odd files are the test part"
    keys = {frozenset((files[a], files[b])) for a, b in zip(pairs.left, pairs.right, strict=True)}
    assert len(keys) == len(pairs.same) == 40
    assert pairs.same.sum() == 20
    for a, b, same in zip(pairs.left, pairs.right, pairs.same, strict=True):
        assert (int(files[a][:6]) // 6 == int(files[b][:6]) // 6) == same
    assert (
        draw_pairs(tmp_path, seed=0, count=40).digest
        == pairs.digest
        != draw_pairs(tmp_path, seed=1, count=40).digest
    )
    (tmp_path / "identity_CelebA.txt").unlink()
    with pytest.raises(DataError, match="identity_CelebA"):
        draw_pairs(tmp_path, seed=0)


def test_lfwa_in_celebas_form(tmp_path):
    write_celeba(tmp_path)
    (tmp_path / "img_align_celeba").rename(tmp_path / "lfw")
    (tmp_path / "list_attr_celeba.txt").rename(tmp_path / "list_attr_lfwa.txt")
    assert run_attributes(tmp_path, Task(RedAndBright()), name="lfwa")[0].metrics["Bald"].value == 1.0


def test_lfwa_as_distributed(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py, which reads MATLAB 7.3 files, is not installed")
    files = [f"Some_Body\\Some_Body_{i:04d}.jpg" for i in range(1, 5)]
    for name in files:
        save(tmp_path / "lfw" / name.replace("\\", "/"), identity_picture(1, 0, 20))

    def strings(file, key, texts):
        cells = file.create_dataset(key, (1, len(texts)), dtype=h5py.ref_dtype)
        for i, text in enumerate(texts):
            cells[0, i] = file.create_dataset(
                f"#refs#/{key}{i}", data=np.array([[ord(c)] for c in text], np.uint16)
            ).ref

    with h5py.File(tmp_path / "lfw_att_40.mat", "w") as file:
        strings(file, "AttrName", ["Bald", "Male"])
        strings(file, "name", files)
        file["label"] = np.array([[0, 1, 0, 1], [1, 1, 0, 0]], np.float64)
    savemat(tmp_path / "indices_train_test.mat", {"indices_img_test": np.array([[2, 4]])})
    listed = read_lfwa(tmp_path, NAMES)
    assert [image.name for image in listed.images] == ["Some_Body_0002.jpg", "Some_Body_0004.jpg"]
    assert listed.value.tolist() == [[1, 1], [0, 1]]
    savemat(tmp_path / "indices_train_test.mat", {"indices_img_test": np.array([[2, 9]])})
    with pytest.raises(DataError, match=r"1\.\.4"):
        read_lfwa(tmp_path, NAMES)
    (tmp_path / "lfw_att_40.mat").write_bytes(b"nothing")
    with pytest.raises(LrfrError, match="lfw_att_40"):
        read_lfwa(tmp_path, NAMES)


def write_svhn(path, count=30):
    digit = np.arange(count) % 10
    x = np.stack([np.full((32, 32, 3), 20 * d + 10, np.uint8) for d in digit], axis=3)
    savemat(path, {"X": x, "y": np.where(digit == 0, 10, digit)[:, None]})


def gray_classes(images):
    level = np.array([(image.mean() - 10) / 20 for image in images])
    return -np.abs(level[:, None] - np.arange(10)[None, :]).astype(np.float32)


def test_svhn_class_ten_is_the_digit_zero(tmp_path):
    write_svhn(tmp_path / "test_32x32.mat")
    results = run_svhn(tmp_path, Task(gray_classes, Settings(sizes=(32, 8))))
    assert [r.metrics["accuracy"].value for r in results] == [1.0, 1.0]
    shifted = run_svhn(tmp_path, Task(lambda images: np.roll(gray_classes(images), 1, axis=1)))
    assert shifted[0].metrics["accuracy"].value == 0.0
    with pytest.raises(SpecError, match="10 classes"):
        run_svhn(tmp_path, Task(lambda images: gray_classes(images)[:, :9]))


def test_arrays_that_are_not_svhn_are_refused(tmp_path):
    good = np.zeros((32, 32, 3, 4), np.uint8)
    for x, y in (
        (good.astype(float), [1, 2, 3, 4]),
        (good[..., 0], [1]),
        (good, [1, 2, 3]),
        (good, [1, 2, 3, 11]),
    ):
        with pytest.raises(DataError):
            read_digits(x, np.array(y), tmp_path)
