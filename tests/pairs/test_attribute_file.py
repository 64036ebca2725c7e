"""``make-pairs --attributes``: a table of one's own gives the faces of any source attributes."""

import json

import numpy as np
import pytest

from lrfr.core.errors import SpecError
from lrfr.pairs.build.ingest import IngestOptions, open_ingest
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.base import Face, FaceList
from lrfr.pairs.sources.listed.attribute_file import give_attributes, read_attributes
from tests.pairs.zoo import picture, save

NAMES = ["ann/1.png", "ann/2.png", "bob/1.png", "cat/1.png"]


@pytest.fixture
def faces(tmp_path):
    for number, name in enumerate(NAMES):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(save(picture(number, 32), "PNG"))
    return tmp_path / "faces"


def listed(*attributes):
    given = [*attributes, *[{}] * len(NAMES)]
    return FaceList(Face(name, name[:3], name, own) for name, own in zip(NAMES, given, strict=False))


# text of the file, how it is called, attributes of the four faces
FORMS = {
    "by key": (
        "path,Male,Bald\nann/1.png,0,1\nann/2.png,0,0\nbob/1.png,1,\n",
        [(0, 1), (0, 0), (1, None), ()],
    ),
    "by identity": ("identity\tMale\nann\tno\nbob\tyes\n", [(0,), (0,), (1,), ()]),
    "unnamed column of identities": ("who;Male\nann;false\ncat;true\n", [(0,), (0,), (), (1,)]),
    "CelebA's form": ("2\nMale Bald\nann/1.png -1 1\nbob/1.png 1 -1\n", [(0, 1), (), (1, 0), ()]),
    "words of sex": ("identity,gender\nann,f\nbob,Male\ncat,unknown\n", [(0,), (0,), (1,), ()]),
    "-1 beside 0 is unknown": ("key,Male\nann/1.png,1\nbob/1.png,0\ncat/1.png,-1\n", [(1,), (), (0,), ()]),
    "keys without folders and suffixes": ("key,Male\nx/ann/1.jpg,0\nx/bob/1.jpg,1\n", [(0,), (), (1,), ()]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_each_face_its_own_values(tmp_path, form):
    text, wanted = FORMS[form]
    (tmp_path / "some.txt").write_text(text)
    found, _ = give_attributes(listed(), tmp_path / "some.txt")
    names = ("Male", "Bald")
    right = [{n: v for n, v in zip(names, row, strict=False) if v is not None} for row in wanted]
    assert [dict(face.attributes) for face in found] == right
    assert [face.key for face in found] == NAMES


def test_what_is_missing_unknown_ignored_or_changed_is_counted(tmp_path):
    file = tmp_path / "some.csv"
    file.write_text("key,Male,age,Bald\nann/1.png,1,33,?\nbob/1.png,0,7,1\nnobody/9.png,1,1,0\n")
    found, notes = give_attributes(listed({"Male": 0, "Young": 1}), file)
    assert dict(found[0].attributes) == {"Male": 1, "Young": 1}
    assert notes == [
        "some.csv gives 2 of 4 faces attributes by key: Male, Bald; unknown: Male 2, Bald 3",
        "1 keys of some.csv name no face of the source",
        "some.csv changes 1 values that the source has",
        "columns of some.csv that are no attributes: age",
    ]


FAULTS = {
    "key,Male\nann/1.png,1\nbob/1.png,0\ncat/1.png,mayb\n": (4, "says 'mayb', expected 1 or 0"),
    "key,Male\nann/1.png,1,0,0\nbob/1.png,0\n": (2, "4 fields, the header has 2"),
    "key,Male\nann/1.png,1\nann/1.png,0\n": (3, "two sets of values"),
    "key,age\nann/1.png,33\n": (None, "no column is an attribute"),
    "key,Male\nnobody.png,1\n": (None, "no key of the file is one of the source"),
    "key,Male,Male\nann/1.png,1,0\n": (1, "each once"),
    "key,sex,Male\nann/1.png,m,0\n": (1, "two columns give the attribute 'Male'"),
    "": (None, "expected a line of names"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_faulty_table_is_told_with_file_and_line(tmp_path, text):
    line, told = FAULTS[text]
    (tmp_path / "some.csv").write_text(text)
    with pytest.raises(SpecError, match=told) as error:
        give_attributes(listed(), tmp_path / "some.csv")
    assert error.value.file == str(tmp_path / "some.csv") and error.value.line == line


def test_json_lines_and_parquet_say_the_same(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    rows = [{"identity": "ann", "Male": 0}, {"identity": "bob", "Male": None}, {"identity": "cat", "Male": 1}]
    (tmp_path / "some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "some.parquet")
    for name in ("some.jsonl", "some.parquet"):
        table = read_attributes(tmp_path / name)
        assert (table.by, list(table.subjects)) == ("identity", ["ann", "bob", "cat"])
        assert table.columns == {"Male": [0, None, 1]}, name


def test_attributes_are_in_the_name_of_the_view_and_in_no_pixel(tmp_path, faces):
    """Other values are other rows; spelled otherwise they are the same, and no pixel depends on them."""
    (tmp_path / "one.csv").write_text("identity,Male\nann,0\nbob,1\n")
    (tmp_path / "same.tsv").write_text("identity\tgender\ncat\t\nbob\tm\nann\tf\n")
    (tmp_path / "other.csv").write_text("identity,Male\nann,0\nbob,0\n")
    made = {}
    for name in ("", "one.csv", "same.tsv", "other.csv"):
        ingest = IngestOptions(size_px=32, attributes=tmp_path / name if name else None)
        view = ViewOptions(name.partition(".")[0] or "none")
        made[name] = make_pairs(
            faces, "digits", store=tmp_path / "store", view=view, options=MakeOptions(ingest=ingest)
        )
    ids = {name: one.id for name, one in made.items()}
    assert ids["one.csv"] == ids["same.tsv"] and made["same.tsv"].done.hr_written == 0
    assert len({ids[""], ids["one.csv"], ids["other.csv"]}) == 3
    pixels = [
        {item["key"]: item["lr"].numpy().tobytes() for item in PairDataset(tmp_path / "store", name)[:]}
        for name in ("none", "one", "other")
    ]
    assert len(pixels[0]) == 4 and pixels[0] == pixels[1] == pixels[2]
    items = PairDataset(tmp_path / "store", "one")[:]
    found = {item["key"]: np.asarray(item["attributes"]).tolist() for item in items}
    assert found == dict(zip(NAMES, [[0], [0], [1], [-1]], strict=True))


def test_the_command_tells_it_and_plans_with_it(lrfr, tmp_path, faces):
    (tmp_path / "gender.csv").write_text("identity,gender\nann,f\nbob,m\nzoe,f\n")
    words = ["make-pairs", "--source", str(faces), "--size", "32", "--spec", "digits"]
    for more in ([], ["--plan"]):
        code, out, _ = lrfr(*words, "--attributes", "gender.csv", "--json", *more)
        told = json.loads(out.splitlines()[-1])["result"]["warnings"]
        assert code == 0
        assert "gender.csv gives 3 of 4 faces attributes by identity: Male; unknown: Male 1" in told
        assert "1 identities of gender.csv name no face of the source" in told
    ingest = open_ingest(str(faces), IngestOptions(attributes=tmp_path / "gender.csv"))
    assert [dict(face.attributes) for face in ingest.faces()] == [{"Male": 0}, {"Male": 0}, {"Male": 1}, {}]
