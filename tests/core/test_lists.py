"""One reader for the world's text lists: encodings, line ends, quotes, and the place of a fault."""

import codecs
import os

import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.core.lists import Line, read_lines, read_rows, read_text

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
