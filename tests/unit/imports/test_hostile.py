"""Hostile files: no crash, no memory filled, one line that says why."""

from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from serpline.domain.errors import UserError
from serpline.imports.reading import KeywordReport, Options, open_keywords, parse_keywords
from serpline.imports.workbooks import ROWS_MAX, TEXT_BYTES_MAX

US = Options(markets=("US",))
_START = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
_END = b"</sheetData></worksheet>"
_SHEET = "xl/worksheets/sheet1.xml"


def _workbook(*rows: list[object]) -> bytes:
    made = Workbook()
    for row in rows:
        made.worksheets[0].append(row)
    stream = BytesIO()
    made.save(stream)
    return stream.getvalue()


def _with_part(name: str, content: bytes) -> bytes:
    """A workbook whose part ``name`` has other bytes."""
    stream = BytesIO()
    with (
        ZipFile(BytesIO(_workbook(["keyword"], ["tea"]))) as source,
        ZipFile(stream, "w", ZIP_DEFLATED) as made,
    ):
        for part in source.infolist():
            made.writestr(part.filename, content if part.filename == name else source.read(part))
    return stream.getvalue()


def _with_sheet_named(name: str, content: bytes) -> bytes:
    """A workbook whose sheet is in a part with a name of no XML."""
    stream = BytesIO()
    with ZipFile(BytesIO(_workbook(["keyword"]))) as source, ZipFile(stream, "w") as made:
        for part in source.infolist():
            own = source.read(part).replace(_SHEET.encode(), name.encode())
            is_sheet = part.filename == _SHEET
            made.writestr(name if is_sheet else part.filename, content if is_sheet else own)
    return stream.getvalue()


def _archive(*files: tuple[str, bytes]) -> bytes:
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as made:
        for name, content in files:
            made.writestr(name, content)
    return stream.getvalue()


def _cell(place: str, text: str) -> bytes:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'.encode()


def _sheet(*rows: tuple[int, str, str]) -> bytes:
    made = (b'<row r="%d">%s</row>' % (no, _cell(f"{at}{no}", text)) for no, at, text in rows)
    return _with_part(_SHEET, _START + b"".join(made) + _END)


def _told(data: bytes, options: Options) -> str:
    """What a person is told: the refusal, or the problems of the lines."""
    report = KeywordReport()
    try:
        with open_keywords(data, options) as file:
            assert all(row.keyword for row in file.rows(report))
    except UserError as error:
        return str(error)
    return report.summary()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_with_part(_SHEET, _START + _cell("A1", "x" * (2 * TEXT_BYTES_MAX)) + _END), "a cell of"),
        (_with_part(_SHEET, b'<!DOCTYPE a [<!ENTITY b "c">]>' + _START + _END), "declarations"),
        (_with_part(_SHEET, (_START + _END).decode().encode("utf-16")), "sheet1.xml' is not UTF-8"),
        (_with_part(_SHEET, (_START + _END).decode().encode("utf-16-be")), "is not UTF-8"),
        (_with_sheet_named("xl/sheet1.png", b"<!DOCTYPE a>" + _START + _END), "declarations"),
        (_with_sheet_named("xl/a", _cell("A1", "x" * (2 * TEXT_BYTES_MAX))), "a cell of"),
        (_with_part(_SHEET, _START + b"<row"), "the workbook cannot be read (ParseError"),
        (_with_part("xl/workbook.xml", b"<workbook/>"), "the workbook has no cells"),
        (_with_part("xl/workbook.xml", b"workbook"), "the workbook cannot be read (XMLSyntaxError"),
        (_sheet((1, "ZZZZ", "x")), "the workbook cannot be read (ValueError"),
        (_with_part("xl/theme/theme1.xml", b"<a>") + b"x" * 70_000, "the archive cannot be read"),
        (_archive(("mimetype", b"application/vnd.oasis")), "this is an OpenDocument file: save it"),
        (_archive(("notes.doc", b"x")), "the archive has 0 text files"),
        (_archive(("a.csv", b"<html>")), "a.csv: line 1: '<html>' begins no table"),
        (_sheet(), "the workbook has no cells"),
        (_workbook(["a", "b"], ["c", "d"]), "line 1: no column of keywords among 'a', 'b'"),
    ],
)
def test_a_bad_workbook_is_one_line(data: bytes, words: str) -> None:
    """Texts, entities and damage that could fill the memory or crash the reader are refused."""
    with pytest.raises(UserError) as raised:
        parse_keywords(data, options=US)
    assert words in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_workbook_over_the_limit_is_refused() -> None:
    """The size that counts is the unpacked one."""
    data = _with_part("xl/theme/theme1.xml", b"<a/>" * 500_000)
    assert len(data) < 20_000
    with pytest.raises(UserError, match="unpacks to over 1000000 bytes"):
        parse_keywords(data, options=Options(markets=("US",), size_bytes_max=1_000_000))


def test_the_files_of_an_archive_share_the_limit() -> None:
    """Many files that each are below it would fill the disk."""
    table = b"keyword,notes\n" + b"x,y\n" * 100_000
    data = _archive(*((f"{no}.csv", table) for no in range(3)))
    assert len(data) < 10_000
    with pytest.raises(UserError, match="the archive unpacks to over 1000000 bytes"):
        parse_keywords(data, options=Options(markets=("US",), size_bytes_max=1_000_000))


def test_what_macos_adds_to_an_archive_is_no_file_of_it() -> None:
    """An archive of one list stays one."""
    data = _archive(("list.txt", b"tea\n"), ("__MACOSX/._list.txt", b"\x00\x05\x16\x07Mac OS X"))
    assert [row.keyword for row in parse_keywords(data, options=US).rows] == ["tea"]


def test_other_parts_with_keywords_are_named() -> None:
    """The first is read. The others are told, for nobody should miss their keywords."""
    table, pages = b"keyword,volume\ntea,1\n", b"page,clicks\n/,1\n"
    data = _archive(("us.csv", table), ("pages.csv", pages), ("de.csv", table))
    made = Workbook()
    for name, column in (("US", "keyword"), ("Notes", "note"), ("DE", "Suchbegriff")):
        sheet = made.create_sheet(name)
        sheet.append([column, "volume"])
        sheet.append(["tea", 1])
    stream = BytesIO()
    made.save(stream)
    for each, others in ((data, ("de.csv",)), (stream.getvalue(), ("DE",))):
        with open_keywords(each, US) as file:
            assert file.layout.others == others
            assert len(file.layout.notes) == 1


def test_a_number_that_was_another_text_is_refused() -> None:
    """Excel stores 50% as 0.5 and 3.10 as 3.1, and rounds after 15 digits. Years are keywords."""
    numbers: list[list[object]] = [[0.5], [3.1], [1e20], [1234567890123456], [2024], [100.0]]
    parsed = parse_keywords(_workbook(["keyword"], *numbers), options=US)
    assert [row.keyword for row in parsed.rows] == ["2024", "100"]
    assert [problem.line for problem in parsed.problems] == [2, 3, 4, 5]
    assert parsed.problems[0].message.startswith("the keyword is the number 0.5, which a spread")


def test_rows_and_cells_far_away_cost_little() -> None:
    """Rows beyond Excel's last and columns beyond any export's are not read."""
    data = _sheet((1, "A", "keyword"), (3, "A", "tea"), (4, "XFD", "far"), (ROWS_MAX**2, "A", "x"))
    report = KeywordReport()
    with open_keywords(data, US) as file:
        assert [(row.line, row.keyword) for row in file.rows(report)] == [(3, "tea")]


def test_formulas_count_by_their_saved_values() -> None:
    """A formula is never computed: without a saved value its cell is empty."""
    data = _workbook(["keyword", "market"], ["=1+1", "US"], ["#NAME?", "US"], ["tea", "US"])
    parsed = parse_keywords(data)
    assert [row.keyword for row in parsed.rows] == ["tea"]
    assert [problem.message for problem in parsed.problems] == [
        "empty keyword",
        "spreadsheet error '#NAME?' instead of a keyword",
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5_000), st.binary(min_size=1, max_size=40))
def test_a_damaged_workbook_gives_rows_or_one_user_error(at: int, damage: bytes) -> None:
    """Whatever bytes are overwritten."""
    data = bytearray(_SOUND)
    data[at : at + len(damage)] = damage
    assert _told(bytes(data), US).isprintable()


_SOUND = _workbook(["keyword", "market"], ["tea", "US"], ["moka pot", "GB"])


@settings(max_examples=40)
@given(
    lines=st.lists(st.text(alphabet='ab",;\t|\n\r\x00\ufeffé[]', max_size=12), max_size=8),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "cp1252", "cp932", "utf-7"]),
)
def test_any_text_in_any_encoding_gives_rows_or_one_user_error(
    lines: list[str], encoding: str
) -> None:
    """Also if the encoding is named, right or wrong."""
    data = "\n".join(["keyword", *lines]).encode(encoding, "replace")
    for named in (None, encoding, "utf-16", "ascii"):
        assert _told(data, Options(markets=("US",), encoding=named)).isprintable()


@pytest.mark.parametrize("name", ["hex", "rot13", "nope", "\udcff", "undefined", "unicode_escape"])
def test_an_encoding_that_is_none_is_refused(name: str) -> None:
    """The message names the value."""
    with pytest.raises(UserError, match="give one such as utf-8, cp1252 or shift_jis"):
        parse_keywords(b"tea", options=Options(encoding=name))
