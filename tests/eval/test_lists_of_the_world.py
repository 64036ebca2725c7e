"""Lists and folders of benchmarks as people have them: labels, headers, separators, and what systems leave there."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import IMAGE_SUFFIXES, encode_png
from lrfr.eval.pairs import pair_list, synthetic_pairs
from lrfr.eval.protocols.celeba import read_celeba
from lrfr.eval.protocols.identify import run_lists, run_tinyface
from lrfr.eval.protocols.layout import int_table
from lrfr.eval.protocols.pair_lists import read_lfw_list, read_pairs_tsv, run_bin_or_folder, run_tsv
from lrfr.eval.protocols.surveillance.scface import run_scface
from lrfr.eval.protocols.surveillance.survface import run_survface
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.report.report import build, to_json
from lrfr.eval.scoring.metrics import roc, same_labels
from lrfr.eval.settings import Settings
from lrfr.pairs.sources.folder import read_pairs_txt
from lrfr.pairs.sources.synthetic import render_face
from tests.eval.test_attributes import write_celeba
from tests.eval.test_identify import write_scface, write_survface, write_tinyface
from tests.eval.test_pairs import write_lfw
from tests.eval.world import color_embed, identity_picture, quick_task, save

SYSTEM = ("Thumbs.db", ".DS_Store", "._001_frontal.JPG", "desktop.ini", "._0_9.jpg")


@pytest.fixture
def four(tmp_path):
    for name in ("a1", "a2", "b1", "b 2"):
        save(tmp_path / "images" / name[0] / f"{name}.png", identity_picture(ord(name[0]), int(name[-1])))
    return tmp_path


PAIRS = (
    ("a/a1.png", "a/a2.png"),
    ("b/b1.png", "b/b 2.png"),
    ("a/a1.png", "b/b1.png"),
    ("a/a2.png", "b/b 2.png"),
)


def write_rows(root, labels, separator="\t", header="", quote=""):
    rows = [
        separator.join([f"{quote}{a}{quote}", f"{quote}{b}{quote}", label])
        for (a, b), label in zip(PAIRS, labels, strict=True)
    ]
    (root / "pairs.tsv").write_text("\n".join([header, *rows] if header else rows))
    return read_pairs_tsv(root / "pairs.tsv", root / "images")


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("1", "0"),
        ("1", "-1"),
        ("+1", "-1"),
        ("true", "false"),
        ("True", "FALSE"),
        ("same", "different"),
        ("Same", "Different"),
    ],
)
def test_four_vocabularies_of_labels_are_read(four, yes, no):
    assert write_rows(four, [yes, yes, no, no]).same.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["1", "yes", "0", "0"], r"pairs\.tsv:2.*'yes' is unknown.*1 or 0, 1 or -1, true or false"),
        (["1", "1", "0", "-1"], r"pairs\.tsv:4.*'-1' is of another kind"),
        (["1", "true", "0", "0"], r"pairs\.tsv:2.*'true' is of another kind"),
        (["1", "2", "0", "0"], r"pairs\.tsv:2.*'2' is unknown"),
        (["1", "", "0", "0"], r"pairs\.tsv:\d"),
        (["1", "0.5", "0", "0"], r"pairs\.tsv:2"),
    ],
)
def test_other_labels_are_refused_with_their_line(four, labels, words):
    with pytest.raises(DataError, match=words):
        write_rows(four, labels)


def test_labels_of_python_mean_the_same():
    face = identity_picture(0, 0)
    assert pair_list([(face, face)] * 2, [1, -1]).same.tolist() == [True, False]
    assert pair_list([(face, face)] * 2, ["same", "different"]).same.tolist() == [True, False]
    assert same_labels([np.bool_(True), False, np.True_]).tolist() == [True, False, True]
    assert same_labels(np.array([1.0, 0.0])).tolist() == [True, False]
    assert roc(np.arange(4.0), np.array([1, -1, -1, 1])).n_pos == 2
    for wrong in ([1, 0, -1], [1, 2], [1, None], [True, "same"]):
        with pytest.raises(DataError):
            pair_list([(face, face)] * len(wrong), wrong)


@pytest.mark.parametrize(
    ("separator", "header", "quote"),
    [
        ("\t", "", ""),
        (",", "", ""),
        (",", "path_a,path_b,same", '"'),
        ("\t", "image1\timage2\tlabel", ""),
        (";", "", ""),
    ],
)
def test_separators_headers_and_spaces_in_names(four, separator, header, quote):
    pairs = write_rows(four, ["1", "1", "0", "0"], separator, header, quote)
    assert [path.name for path in pairs.images] == ["a1.png", "a2.png", "b1.png", "b 2.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a/a1.png\ta/a2.png\t1\na/a1.png\tb/b9.png\t0",
            r"pairs\.tsv:2: 1 of 3 pictures .* not there.*b9\.png",
        ),
        (
            "a/a1.png\ta/a2.png\t1\t0\na/a1.png\tb/b1.png\t0",
            r"pairs\.tsv:2.*found 3 fields where the lines before have 4",
        ),
        ("a/a1.png\ta/a2.png\t1\na/a1.png\t../b1.png\t0", r"pairs\.tsv:2.*not below the folder"),
        ("a/a1.png\ta/a2.png\t1\tx", r"pairs\.tsv:1.*'x' is not an integer"),
        ("", "empty"),
        ("path_a\tpath_b\tsame", "a header and no lines"),
    ],
)
def test_faults_of_a_list_have_file_and_line(four, text, words):
    (four / "pairs.tsv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_pairs_tsv(four / "pairs.tsv", four / "images")


def test_windows_paths_and_other_spellings_of_a_name(tmp_path):
    for take in (1, 2):
        save(tmp_path / "images" / "é" / f"{take}.png", identity_picture(0, take))
    (tmp_path / "pairs.tsv").write_text("e\u0301\\1.png\t\u00e9/2.png\t1")
    assert len(read_pairs_tsv(tmp_path / "pairs.tsv", tmp_path / "images").images) == 2


def lfw_view(root, count):
    lines = [str(count)]
    lines += [f"Person_{p}\t1\t2" for p in range(count)]
    lines += [f"Person_{p}\t1\tPerson_{p + 1}\t2" for p in range(count)]
    (root / "pairsDevTest.txt").write_text("\n".join(lines) + "\n")


def test_a_header_of_one_number_counts_pairs_and_both_readers_say_the_same(tmp_path):
    write_lfw(tmp_path)
    lfw_view(tmp_path, 12)
    for name, folds in (("pairs.txt", 10), ("pairsDevTest.txt", 0)):
        listed = read_pairs_txt(tmp_path / name)
        pairs = read_lfw_list(tmp_path / name, tmp_path / "lfw", "lfw")
        assert listed.folds == folds
        assert pairs.same.tolist() == [pair.same for pair in listed.pairs]
        assert (pairs.fold is None) == (folds == 0)
        if folds:
            assert pairs.fold.tolist() == [listed.fold_of(row) for row in range(len(listed.pairs))]
    (result,) = run_bin_or_folder(tmp_path / "pairsDevTest.txt", quick_task(sizes=(24,)), name="lfw")
    assert (result.benchmark, result.counts["n_pos"], result.counts["n_neg"]) == ("lfw-pairsDevTest", 12, 12)
    assert result.more["folds"].startswith("10 drawn")
    whole = run_bin_or_folder(tmp_path, quick_task(sizes=(24,)), name="lfw")[0]
    assert (whole.benchmark, whole.more["folds"]) == ("lfw", "10 of the list")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("10 3", "promises 60 pairs, the list has 24"),
        ("7", "promises 14"),
        ("7 12", "promises 168"),
        ("5 1", "promises 10"),
    ],
)
def test_a_header_that_does_not_fit_the_list_is_refused(tmp_path, header, words):
    write_lfw(tmp_path)
    lfw_view(tmp_path, 12)
    path = tmp_path / "pairsDevTest.txt"
    path.write_text(path.read_text().replace("12\n", f"{header}\n", 1))
    with pytest.raises(DataError, match=words):
        read_lfw_list(path, tmp_path / "lfw", "lfw")
    with pytest.raises(SpecError, match=words):
        read_pairs_txt(path)


def litter(*folders):
    for folder in folders:
        for name in SYSTEM:
            (folder / name).write_bytes(b"\0\5\x16\7")
        (folder / "@eaDir").mkdir()
        (folder / "notes.txt").write_text("mine")


def test_system_files_never_stop_scface_and_every_file_has_an_end(tmp_path):
    write_scface(tmp_path, people=9)
    (tmp_path / "test_ids.txt").write_text("\n".join("12345678"))
    clean = run_scface(tmp_path, quick_task())
    cam = tmp_path / "surveillance_cameras_distance_2" / "cam_3"
    litter(tmp_path / "mugshot_frontal_cropped_all", cam)
    found = run_scface(tmp_path, quick_task())
    assert [result.metrics for result in found] == [result.metrics for result in clean]
    files = found[1].files
    assert files.seen == files.used + sum(unused.count for unused in files.unused.values()) == 9 + 45 + 14
    assert files.used == 8 + 40
    assert {reason: unused.count for reason, unused in files.unused.items()} == {
        "file of the system": 12,
        "not a picture": 2,
        "not of the test identities": 6,
    }
    assert "cam_3/notes.txt" in files.unused["not a picture"].first
    save(cam / "Anna_cam3.jpg", identity_picture(0, 0))
    with pytest.raises(DataError, match=r"Anna_cam3\.jpg.*expected: 001_cam3_2\.jpg"):
        run_scface(tmp_path, quick_task())
    (cam / "Anna_cam3.jpg").unlink()
    (cam / "004_cam3_2.jpg").unlink()
    assert run_scface(tmp_path, quick_task())[1].remarks[0] == "1 of 40 probes are not there"
    save(tmp_path / "mugshot_frontal_cropped_all" / "002_frontal.png", identity_picture(0, 0))
    with pytest.raises(DataError, match="a second mugshot of person 002"):
        run_scface(tmp_path, quick_task())


def test_system_files_never_stop_tinyface_and_survface(tmp_path):
    write_tinyface(tmp_path / "t")
    write_survface(tmp_path / "s")
    clean = [run_tinyface(tmp_path / "t", quick_task()), run_survface(tmp_path / "s", quick_task())]
    test = tmp_path / "t" / "Testing_Set"
    litter(test / "Gallery_Distractor", test / "Probe")
    ident = tmp_path / "s" / "Face_Identification_Test_Set"
    litter(
        ident / "unmated_probe",
        ident / "gallery",
        tmp_path / "s/Face_Verification_Test_Set/verification_images",
    )
    save(test / "Probe" / "99_1.jpg", identity_picture(0, 0))
    found = [run_tinyface(tmp_path / "t", quick_task()), run_survface(tmp_path / "s", quick_task())]
    for before, after in zip(clean, found, strict=True):
        assert [result.metrics for result in before] == [result.metrics for result in after]
        for result in after:
            files = result.files
            assert files.seen == files.used + sum(unused.count for unused in files.unused.values())
            assert files.unused["file of the system"].count >= 6
    assert found[0][0].files.unused["in no list"].first == ("Probe/99_1.jpg",)
    text = to_json(build([*found[0], *found[1]]))
    assert "1 in no list (Probe/99_1.jpg)" in text
    (test / "Probe" / "3_9.jpg").unlink()
    with pytest.raises(DataError, match=r"probe_img_ID_pairs\.mat:4: 1 of 8 pictures"):
        run_tinyface(tmp_path / "t", quick_task())


def test_celeba_as_distributed_and_its_png_pictures(tmp_path):
    write_celeba(tmp_path, 12)
    names = ("list_attr_celeba.txt", "list_eval_partition.txt")
    plain = read_celeba(tmp_path, ["Bald"]) if "Bald" in (tmp_path / names[0]).read_text() else None
    wanted = [(tmp_path / names[0]).read_text().splitlines()[1].split()[0]]
    plain = plain or read_celeba(tmp_path, wanted)
    wanted = list(plain.attributes)
    pictures = next(path for path in (tmp_path / "aligned", tmp_path / "img_align_celeba") if path.exists())
    for folder, name in (("Anno", names[0]), ("Eval", names[1])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text((tmp_path / name).read_text().replace(".png", ".jpg"))
        (tmp_path / name).unlink()
    (tmp_path / "Img").mkdir()
    pictures.rename(tmp_path / "Img" / "img_align_celeba_png")
    found = read_celeba(tmp_path, wanted)
    assert found.value.tolist() == plain.value.tolist()
    assert [path.stem for path in found.images] == [path.stem for path in plain.images]
    assert found.files.used == len(found.images) and found.files.seen == 12
    path = tmp_path / "Anno" / names[0]
    path.write_text(path.read_text().replace(" 1", " 3", 1))
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt:\d+: expected a file and"):
        read_celeba(tmp_path, wanted)
    path = tmp_path / "Eval" / names[1]
    path.write_text(path.read_text() + "\n000001.jpg 4")
    with pytest.raises(DataError, match=r"list_eval_partition\.txt:\d+: expected 'file 0'"):
        read_celeba(tmp_path, wanted)


def test_own_search_lists_name_the_line_of_a_missing_picture(tmp_path):
    save(tmp_path / "images" / "a, 1.png", identity_picture(0, 0))
    save(tmp_path / "images" / "b.png", identity_picture(0, 1))
    (tmp_path / "gallery.tsv").write_text('path,person\n"a, 1.png",ann\n')
    (tmp_path / "probe.tsv").write_text("b.png ann\n")
    assert run_lists(tmp_path, quick_task(sizes=(24,)))[0].metrics["rank-1"].value == 1.0
    (tmp_path / "probe.tsv").write_text("b.png\tann\nc.png\tann\n")
    with pytest.raises(DataError, match=r"probe\.tsv:2: 1 of 2 pictures"):
        run_lists(tmp_path, quick_task(sizes=(24,)))


def test_crops_that_are_no_aligned_faces_are_said_to_be_and_change_no_number(tmp_path):
    def measured(faces):
        pairs = pair_list(
            [(faces[k], faces[(k + 1) % 12]) for k in range(12)], [True, False] * 6, alignment="as given"
        )
        return verify_pairs(color_embed, pairs, Settings(sizes=(112,), replicates=0))[0]

    aligned = measured([render_face(person, 0, 5)[0] for person in range(12)])
    assert not [remark for remark in aligned.remarks if "UNALIGNED" in remark]
    noise = [np.random.default_rng(k).integers(0, 256, (60, 60, 3), dtype=np.uint8) for k in range(12)]
    told = [remark for remark in measured(noise).remarks if remark.startswith("W_UNALIGNED")]
    assert len(told) == 1 and "likeness" in told[0]
    small = [face[:20, :20] for face in noise]
    assert not [remark for remark in measured(small).remarks if "UNALIGNED" in remark]
    rendered = synthetic_pairs(identities=10, per_identity=2, count=40)
    assert "UNALIGNED" not in str(
        verify_pairs(color_embed, rendered, Settings(sizes=(112,), replicates=0))[0].remarks
    )


def test_two_own_lists_under_one_name_have_tables_of_their_own(four):
    write_rows(four, ["1", "1", "0", "0"])
    (four / "other.tsv").write_text("\n".join((four / "pairs.tsv").read_text().splitlines()[::-1]))
    task = quick_task(sizes=(24,))
    once = run_tsv(four / "pairs.tsv", task)
    assert once[0].list_digest == run_tsv(four / "other.tsv", task)[0].list_digest, "one list in two orders"
    save(four / "images" / "a" / "a1.png", identity_picture(50, 0))
    (four / "other.tsv").write_text(
        "a/a1.png\ta/a2.png\t0\na/a1.png\tb/b1.png\t0\nb/b1.png\tb/b 2.png\t1\na/a2.png\tb/b 2.png\t1"
    )
    titles = [section.title for section in build([*once, *run_tsv(four / "other.tsv", task)]).sections]
    assert sum(title.startswith("pairs-tsv: verification (") for title in titles) == 2


INTEGERS = "1 20 1\n3 40 0\n5 60 1\n"
WRITTEN = {
    "mark": b"\xef\xbb\xbf" + INTEGERS.encode(),
    "utf-16": INTEGERS.encode("utf-16"),
    "utf-16 without mark": INTEGERS.encode("utf-16-le"),
    "windows": INTEGERS.replace("\n", "\r\n").encode(),
    "old macintosh": INTEGERS.replace("\n", "\r").encode(),
    "header": b"TID1 TID2 SAME\n" + INTEGERS.encode(),
    "header in latin-1": "gabar\xedt b c\n".encode("latin-1") + INTEGERS.encode(),
    "commas": INTEGERS.replace(" ", ",").encode(),
    "semicolons": INTEGERS.replace(" ", ";").encode(),
    "tabs": INTEGERS.replace(" ", "\t").encode(),
    "quotes": b'"1","20","1"\n"3","40","0"\n"5","60","1"',
    "blank lines": b"\n\n" + INTEGERS.replace("\n", "\n\n").encode(),
    "more columns": INTEGERS.replace("\n", " 9 9\n").encode(),
    "no last line end": INTEGERS.strip().encode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_long_lists_of_integers_are_read_however_they_are_written(tmp_path, form):
    (tmp_path / "l.txt").write_bytes(WRITTEN[form])
    assert int_table(tmp_path / "l.txt", 3).tolist() == [[1, 20, 1], [3, 40, 0], [5, 60, 1]]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("1 2 3\n\n1 x 3\n", 3, "'x'"),
        ("1 2 3\n1\n", 2, "column"),
        ("x 2 3\n1 2 3\n", 1, "'x'"),
        ("1.5 2 3\n", 1, "'1.5'"),
        ("1 2 99999999999999999999\n", 1, "9999"),
        ("", None, "empty"),
    ],
)
def test_a_fault_of_a_long_list_has_its_line(tmp_path, text, line, words):
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        int_table(tmp_path / "l.txt", 3)
    assert caught.value.line == line


def test_a_list_of_lfw_finds_pictures_of_every_suffix(tmp_path):
    for number, suffix in enumerate(sorted(IMAGE_SUFFIXES), 1):
        (tmp_path / "A").mkdir(exist_ok=True)
        spelled = suffix.upper() if number % 2 else suffix
        (tmp_path / "A" / f"A_{number:04d}{spelled}").write_bytes(b"never opened")
    count = len(IMAGE_SUFFIXES)
    pairs = "".join(f"A\t{number}\t{number % count + 1}\n" for number in range(1, count + 1))
    (tmp_path / "pairs.txt").write_text(pairs)
    assert len(read_lfw_list(tmp_path / "pairs.txt", tmp_path, "lfw").images) == count


@pytest.mark.parametrize("word", ["-1", "none", "NULL"])
def test_a_picture_of_nobody_is_no_person_of_a_search(tmp_path, word):
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.png", identity_picture(ord(name), 0, 32))
    (tmp_path / "gallery.tsv").write_text(f"a.png\tann\nb.png\t{word}\n")
    (tmp_path / "probe.tsv").write_text("a.png\tann\n")
    with pytest.raises(DataError, match="no identity") as caught:
        run_lists(tmp_path, quick_task())
    assert caught.value.line == 2 and "distractor" in str(caught.value)


@pytest.mark.parametrize("start", ["/data/faces/", "C:\\faces\\", "D:/old/faces/"])
def test_paths_of_another_machine_are_answered_with_what_to_cut(four, start):
    write_rows(four, ["1", "0"] * 2)
    path = four / "pairs.tsv"
    text = path.read_text()
    path.write_text("".join(f"{start}{line}\n" for line in text.splitlines()))
    first = text.split("\t")[0]
    with pytest.raises(DataError) as caught:
        run_tsv(path, quick_task(sizes=(24,)))
    assert f"'{first}' is there: cut '{start}' from each line" in str(caught.value)
    assert (caught.value.line, caught.value.file) == (1, str(path))


def test_pictures_elsewhere_are_answered_with_root(four):
    write_rows(four, ["1", "0"] * 2)
    (four / "images").rename(four / "elsewhere")
    with pytest.raises(DataError, match=r"pairs\.tsv:1: .*the names start at .*add ,root=FOLDER"):
        run_tsv(four / "pairs.tsv", quick_task(sizes=(24,)))
    assert run_tsv(Path(f"{four}/pairs.tsv,root={four}/elsewhere"), quick_task(sizes=(24,)))


@pytest.mark.parametrize("label", [True, False])
def test_lists_of_one_kind_of_pairs_are_refused_with_their_file(four, label):
    write_rows(four, [str(int(label))] * 4)
    with pytest.raises(DataError, match=r"pairs\.tsv: .*no folds can be drawn"):
        run_tsv(four / "pairs.tsv", quick_task(sizes=(24,)))
    images = [encode_png(identity_picture(person, 0)) for person in range(80)]
    path = four / "cfp_fp.bin"
    path.write_bytes(pickle.dumps((images, [label] * 40), protocol=2))
    for data in (four, path):
        with pytest.raises(DataError, match=r"cfp_fp\.bin: .*no folds can be drawn"):
            run_bin_or_folder(data, quick_task(sizes=(24,)), name="cfp-fp")
