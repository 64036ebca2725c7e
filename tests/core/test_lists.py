"""One reader for the world's text lists: encodings, line ends, quotes, and the place of a fault."""

import codecs
import os

import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.core.lists import Line, Shape, is_count, match_names, read_keyed, read_lines, read_rows, read_text

NAMES = ["José_Aznar", "Günter", "naïve name"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8"),
        lambda text: codecs.BOM_UTF8 + text.encode("utf-8"),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.encode("latin-1"),
    ],
    ids=["utf-8", "bom", "utf-16-le", "utf-16-be", "latin-1"],
)
def test_every_spelling_of_a_list_is_the_same_list(tmp_path, encode, end, last):
    path = tmp_path / "list.txt"
    path.write_bytes(encode(end.join(NAMES) + (end if last else "")))
    assert read_lines(path) == [Line(number, name) for number, name in enumerate(NAMES, 1)]


def test_blank_lines_are_skipped_and_counted(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n\na b\n   \n\t\nc d\n\n")
    assert read_lines(path) == [(3, "a b"), (6, "c d")]
    assert [row.fields for row in read_rows(path, "x y", fields=2)] == [["a", "b"], ["c", "d"]]
    path.write_bytes(b"")
    assert read_lines(path) == []


def test_no_other_character_ends_a_line(tmp_path):
    """``str.splitlines`` would cut all of these names."""
    names = ["a\u2028b", "a\x0bb", "a\x85b", "a\x1cb"]
    path = tmp_path / "list.txt"
    path.write_bytes("\n".join(names).encode())
    assert [line.text for line in read_lines(path)] == names


def test_names_agree_with_those_of_files(tmp_path):
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    with open(raw, "wb"):
        pass
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.png\n")
    (line,) = read_lines(tmp_path / "list.txt", names=True)
    assert (tmp_path / line.text).exists()
    assert read_text(tmp_path / "list.txt") == "café.png\n"


def test_commas_with_quotes(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('"Smith, Jane",1\r\n"two\nlines", 2 \r\n\r\nplain,3')
    rows = read_rows(path, "name,number", fields=2, separator=",")
    assert [row.fields for row in rows] == [["Smith, Jane", "1"], ["two\nlines", "2"], ["plain", "3"]]
    assert [row.number for row in rows] == [1, 3, 5]


def test_tabs_keep_spaces_inside_fields(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_text("a name\tdev\r\nanother one \t train\r\n")
    rows = read_rows(path, "key<tab>split", fields=2, separator="\t")
    assert [row.fields for row in rows] == [["a name", "dev"], ["another one", "train"]]


@pytest.mark.parametrize("error", [SpecError, DataError])
def test_a_fault_has_its_file_line_and_expectation(tmp_path, error):
    path = tmp_path / "list.txt"
    path.write_text("\na 1\nb 2 3 4\n")
    with pytest.raises(error, match=r"list\.txt:3.*expected 'name number', found 4 fields"):
        read_rows(path, "name number", fields=(2, 3), error=error)
    assert len(read_rows(path, "anything")) == 2
    with pytest.raises(error, match=r"cannot read"):
        read_lines(tmp_path / "nothing.txt", error=error)
    with pytest.raises(error, match=r"cannot read"):
        read_text(tmp_path, error=error)


SPLIT = Shape("key<tab>split", (1,))


@pytest.mark.parametrize("mark", ["\t", ",", ";", " "])
@pytest.mark.parametrize("key", ["a.png", "Ann Lee/1 (2).png", "Günter/1.png"])
@pytest.mark.parametrize("encode", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_names_with_spaces_in_every_separator(tmp_path, mark, key, encode):
    text = f"# made by hand\n\n{key}{mark}train\nb c.png{mark}dev"
    (tmp_path / "s.txt").write_bytes(text.encode(encode))
    assert read_keyed(tmp_path / "s.txt", SPLIT) == [(3, key, ["train"]), (4, "b c.png", ["dev"])]


def test_keys_with_commas(tmp_path):
    path = tmp_path / "s.txt"
    keys = ["Lee, Ann/1.png", "b,c.png", 'say "a", b.png']
    for text in ("\t".join, " ".join):
        path.write_text("".join(f"{text([key, 'dev'])}\n" for key in keys))
        assert [row.key for row in read_keyed(path, SPLIT, keys)] == keys
    path.write_text('"Lee, Ann/1.png",dev\n"b,c.png",dev\n"say ""a"", b.png",dev\n')
    assert [row.key for row in read_keyed(path, SPLIT, keys)] == keys


def test_a_header_is_one_only_where_it_names_columns(tmp_path):
    path = tmp_path / "s.txt"
    for header in ("key\tsplit", "Path,split", "file_name split"):
        mark = "," if "," in header else "\t" if "\t" in header else " "
        path.write_text(f"{header}\na.png{mark}dev\n")
        assert read_keyed(path, SPLIT) == [(2, "a.png", ["dev"])]
    assert [row.number for row in read_keyed(path, SPLIT, ["file_name", "a.png"])] == [1, 2]
    numbers = Shape("key x y", (2,), str.isdigit)
    path.write_text("2\nkey x y\na.png 1 2\n")
    assert read_keyed(path, numbers) == [(3, "a.png", ["1", "2"])]
    for wrong in ("a.png 1 x", "a.png 1", "key 7 y", "a.png x y"):
        path.write_text(f"{wrong}\nb.png 1 2\nc.png 3 4\n")
        with pytest.raises(SpecError, match=r"s\.txt:1: expected 'key x y'"):
            read_keyed(path, numbers)


def test_a_line_that_is_not_like_the_others_is_named(tmp_path):
    (tmp_path / "s.txt").write_text("a.png\tdev\n\nb.png\n")
    with pytest.raises(SpecError, match=r"s\.txt:3: expected 'key<tab>split'"):
        read_keyed(tmp_path / "s.txt", SPLIT)


def test_a_quote_that_never_closes_does_not_swallow_the_list(tmp_path):
    (tmp_path / "l.csv").write_text('path,id\n"a.png,1\nb.png,2\nc"d.png,3\n')
    rows = read_rows(tmp_path / "l.csv", "row", separator="auto")
    assert [row.fields for row in rows[1:]] == [['"a.png', "1"], ["b.png", "2"], ['c"d.png', "3"]]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_are_told_apart_by_their_first_line(tmp_path, mark):
    (tmp_path / "l.csv").write_text(f'path{mark}id\na b.png{mark}1\n"c{mark}d.png"{mark}2\n')
    rows = read_rows(tmp_path / "l.csv", "row", separator="auto")
    assert [row.fields for row in rows] == [["path", "id"], ["a b.png", "1"], [f"c{mark}d.png", "2"]]


@pytest.mark.parametrize(
    ("listed", "known", "said"),
    [
        (["a\\1.png", "b\\2.png"], ["a/1.png", "b/2.png"], ""),
        (["./a/1.png"], ["a/1.png"], ""),
        (["Gu\u0308nter/1.png"], ["G\u00fcnter/1.png"], ""),
        (["caf\udce9.png"], ["caf\u00e9.png"], ""),
        (["photos/p0/0.jpg", "photos/p1/0.jpg"], ["p0/0.jpg", "p1/0.jpg"], "list's first 1 folders"),
        (["0.jpg", "1.jpg"], ["x/y/0.jpg", "x/y/1.jpg"], "source's first 2 folders"),
        (["000001.jpg", "000002.jpg"], ["000001.png", "000002.png"], "without suffixes"),
        (["/data/faces/p0/0", "/data/faces/p1/0"], ["p0/0.jpg", "p1/0.jpg"], "folders and suffixes"),
        (["q/0.jpg", "r/1.jpg"], ["p0/0.jpg", "p1/1.jpg"], "list's first 1"),
    ],
)
def test_names_of_two_systems_meet(listed, known, said):
    found = match_names(listed, known)
    if said != "list's first 1":
        assert [found.known[name] for name in listed] == known and said in found.how
    else:
        assert [found.known[name] for name in listed] == known and found.how == "by file names alone"


def test_names_that_could_mean_two_things_match_nothing():
    assert match_names(["0.jpg"], ["a/0.jpg", "b/0.jpg"]).known == {}
    assert match_names(["x/0.jpg", "y/0.jpg"], ["0.jpg", "1.jpg"]).known == {}
    assert match_names(["A.jpg", "a.jpg"], ["a.jpg"]).known == {"a.jpg": "a.jpg"}


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_what_never_ends_is_no_list(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="not a regular file"):
        read_text(tmp_path / name)


def test_known_names_are_gone_through_once_however_long_the_list_is():
    walks = []

    class Names(list):
        def __iter__(self):
            walks.append(1)
            return super().__iter__()

    known = Names(f"{number}.jpg" for number in range(100))
    assert len(match_names(list(known), known).known) == 100
    assert len(walks) < 10


@pytest.mark.parametrize("text", [",", ", ,", "\t", " , \n"])
def test_a_line_of_separators_alone_is_an_error_with_its_line(text, tmp_path):
    from lrfr.core.landmarks import read_landmarks

    (tmp_path / "x").write_text(text + "\n")
    try:
        assert read_landmarks(tmp_path / "x") == {}
    except SpecError as error:
        assert error.line == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0", True),
        ("007", True),
        ("9" * 18, True),
        ("9" * 5000, False),
        ("-1", False),
        ("1.0", False),
        ("", False),
    ],
)
def test_a_count_is_what_int_takes(text, told):
    assert is_count(text) is told
