"""CALFW, CPLFW, CFP and XQLFW in the forms in which their authors give them."""

import numpy as np
import pytest

from lrfr.core.errors import DataError
from lrfr.eval.pairs.official_lists import read_cfp, read_two_lines
from lrfr.eval.protocols.pair_lists import run_bin_or_folder, run_xqlfw
from tests.eval.test_pairs import write_lfw
from tests.eval.world import identity_picture, quick_task, save

PEOPLE = 24


def write_faces(folder, form="Person_{}_{:04d}.jpg"):
    for person in range(PEOPLE):
        for take in (1, 2):
            save(folder / form.format(person, take), identity_picture(person, take))


def two_lines(tokens, blocks):
    """All same pairs first (CALFW), or 300 of each kind by turns; 3,000 of each kind."""
    rows = []
    for place in range(3000):
        person, other = place % PEOPLE, (place + 1 + place // PEOPLE % (PEOPLE - 1)) % PEOPLE
        number = place // 300 + 1 if tokens else 1
        rows.append(
            (place // 300, True, f"Person_{person}_0001.jpg {number}\nPerson_{person}_0002.jpg {number}\n")
        )
        rows.append((place // 300, False, f"Person_{person}_0001.jpg 0\nPerson_{other}_0002.jpg 0\n"))
    rows.sort(key=(lambda row: (row[0], not row[1])) if blocks else (lambda row: not row[1]))
    return "".join(row[2] for row in rows), [row[0] for row in rows], [row[1] for row in rows]


@pytest.mark.parametrize(
    ("name", "tokens", "blocks"), [("CALFW", True, False), ("CPLFW", False, True), ("CPLFW", False, False)]
)
def test_two_lines_a_pair_as_distributed_have_ten_folds_of_300_and_300(tmp_path, name, tokens, blocks):
    text, folds, same = two_lines(tokens, blocks)
    path = tmp_path / f"pairs_{name}.txt"
    path.write_text(text)
    listed = read_two_lines(path)
    assert [pair.same for pair in listed.pairs] == same
    assert listed.fold.tolist() == folds
    for kind in (True, False):
        assert np.bincount(listed.fold[np.array(same) == kind]).tolist() == [300] * 10
    write_faces(tmp_path / "aligned images")
    for data in (tmp_path, path):
        (result,) = run_bin_or_folder(data, quick_task(sizes=(24,)), name=name.lower())
        assert (result.counts["n_pos"], result.counts["n_neg"]) == (3000, 3000)
        assert result.more["folds"] == "10 of the list"
        assert result.metrics["accuracy"].value > 0.9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a_1.jpg 1\na_2.jpg 1\nb_1.jpg 0\n", "3 lines, expected two for each pair"),
        ("a_1.jpg 1\na_2.jpg 0\n", r"pairs_CALFW\.txt:2: number 0, but 1 in the line before"),
        ("a_1.jpg 1\na_2.jpg 1\na_1.jpg x\nb_1.jpg x\n", r":3: 'x' is no number"),
        ("a_1.jpg 1\na_2.jpg 1\na_1.jpg\nb_1.jpg\n", r":3: expected 'NAME NUMBER'"),
        ("../a_1.jpg 1\na_2.jpg 1\n", r":1: .*not below the folder"),
        ("Person_0_0001.jpg 1\nPerson_77_0002.jpg 1\n", r":2: 1 of 2 pictures"),
    ],
)
def test_faults_of_two_line_lists_have_file_and_line(tmp_path, text, words):
    write_faces(tmp_path / "images")
    (tmp_path / "pairs_CALFW.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        run_bin_or_folder(tmp_path, quick_task(sizes=(24,)), name="calfw")


def write_cfp(root):
    """Write 500 people with 10 frontal and 4 profile pictures in the lists; pictures of a few of them."""
    protocol = root / "Protocol"
    for kind, folder, count in (("F", "frontal", 10), ("P", "profile", 4)):
        lines = [
            f"{person * count + take + 1} ../Data/Images/{person + 1:03d}/{folder}/{take + 1:02d}.jpg"
            for person in range(500)
            for take in range(count)
        ]
        protocol.mkdir(exist_ok=True, parents=True)
        (protocol / f"Pair_list_{kind}.txt").write_text("\n".join(lines) + "\n")
    for kinds, second in (("FF", 10), ("FP", 4)):
        for fold in range(10):
            folder = protocol / "Split" / kinds / f"{fold + 1:02d}"
            folder.mkdir(parents=True)
            mine = [person + 50 * fold for person in range(3)]  # no person in two folds
            same = [(mine[n % 3], n % 10, mine[n % 3], (n + 1) % second) for n in range(350)]
            diff = [(mine[n % 3], n % 10, mine[(n + 1) % 3], n % second) for n in range(350)]
            for name, rows in (("same", same), ("diff", diff)):
                text = [f"{a * 10 + i + 1},{b * second + k + 1}" for a, i, b, k in rows]
                (folder / f"{name}.txt").write_text("\n".join(text) + "\n")
            for person in mine:
                for way, count in (("frontal", 10), ("profile", 4)):
                    for take in range(count):
                        save(
                            root / "Data" / "Images" / f"{person + 1:03d}" / way / f"{take + 1:02d}.jpg",
                            identity_picture(person, take + 20 * (way == "profile")),
                        )


def test_cfp_as_distributed_has_ten_folds_of_350_and_350(tmp_path):
    write_cfp(tmp_path)
    for kinds, second in (("FF", "frontal"), ("FP", "profile")):
        listed = read_cfp(tmp_path / "Protocol", kinds)
        same = np.array([pair.same for pair in listed.pairs])
        for kind in (True, False):
            assert np.bincount(listed.fold[same == kind]).tolist() == [350] * 10
        for pair in listed.pairs:
            (a, way, _), (b, other, _) = (name.split("/") for name in pair.names)
            assert (a == b, way, other) == (pair.same, "frontal", second)
        (result,) = run_bin_or_folder(tmp_path, quick_task(sizes=(24,)), name=f"cfp-{kinds.lower()}")
        assert (result.counts["n_pos"], result.counts["n_neg"]) == (3500, 3500)
        assert result.metrics["accuracy"].value > 0.9
        assert result.metrics["accuracy"].interval.kind == "bootstrap over identities"


def test_crops_of_cfp_may_lie_elsewhere_and_have_another_suffix(tmp_path):
    write_cfp(tmp_path / "cfp")
    before = run_bin_or_folder(tmp_path / "cfp", quick_task(sizes=(24,)), name="cfp-fp")[0]
    (tmp_path / "cfp" / "Data" / "Images").rename(tmp_path / "crops")
    for path in (tmp_path / "crops").rglob("*.jpg"):
        path.rename(path.with_suffix(".png"))
    place = tmp_path / f"cfp,root={tmp_path}/crops"
    after = run_bin_or_folder(place, quick_task(sizes=(24,)), name="cfp-fp")[0]
    assert after.metrics["accuracy"] == before.metrics["accuracy"]
    with pytest.raises(DataError, match=r"Data/Images.*expected tree"):
        run_bin_or_folder(tmp_path / "cfp", quick_task(sizes=(24,)), name="cfp-fp")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        (
            "Split/FP/03/same.txt",
            "1,2001\n",
            r"same\.txt:1: '2001' is no number of a picture, expected two of 1 to 2000",
        ),
        ("Split/FP/03/diff.txt", "1,2\n1\n", r"diff\.txt:2: expected 'NUMBER,NUMBER'"),
        ("Pair_list_P.txt", "1 a.jpg\n1 b.jpg\n", r"Pair_list_P\.txt:2: '1' comes twice"),
        ("Pair_list_P.txt", "one a.jpg\n", r"Pair_list_P\.txt:1: 'one' is no number"),
        ("Split/FP/03/diff.txt", None, r"03/diff\.txt"),
        ("Split/FP/03/same.txt", "", "Protocol: fold 2 holds 350 pairs, all of them 'different'"),
    ],
)
def test_faults_of_cfp_have_file_and_line(tmp_path, file, text, words):
    write_cfp(tmp_path)
    path = tmp_path / "Protocol" / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=words):
        run_bin_or_folder(tmp_path, quick_task(sizes=(24,)), name="cfp-fp")


def test_xqlfw_as_distributed_has_folders_of_two_names(tmp_path):
    for folder in ("lfw_original_imgs_min_qual0.85variant11", "xqlfw_aligned_112"):
        write_lfw(tmp_path, "xqlfw_pairs.txt", folder)
        (result,) = run_xqlfw(tmp_path, quick_task(sizes=(24,)))
        assert (result.alignment, result.more["folds"]) == (f"as in {folder}", "10 of the list")
