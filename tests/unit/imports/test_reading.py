"""Reading keyword tables: lines, quotes, limits, problems."""

import unicodedata
from importlib import resources
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serpline.domain.errors import UserError
from serpline.domain.keywords import CHARACTERS_MAX, TAGS_MAX, WORDS_MAX, searched
from serpline.domain.markets import builtin_markets
from serpline.imports.encodings import LINE_CHARACTERS_MAX
from serpline.imports.reading import (
    PROBLEMS_SHOWN_MAX,
    KeywordReport,
    Options,
    open_keywords,
    parse_keywords,
)


def _bytes(*lines: str, header: str = "keyword,market,tags", end: str = "\n") -> bytes:
    return end.join([header, *lines, ""]).encode()


def test_a_plain_file_becomes_rows() -> None:
    """Each line becomes one row with its number, stored market code and tags."""
    parsed = parse_keywords(_bytes("moka pot,us,coffee;home", "cafetière,UK,"))
    assert [(r.line, r.keyword, r.market, r.tags) for r in parsed.rows] == [
        (2, "moka pot", "US", ("coffee", "home")),
        (3, "cafetière", "GB", ()),
    ]
    assert parsed.report.row_count == 2
    assert parsed.require_clean() is parsed


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheet_dialects_are_read(mark: bytes, end: str, delimiter: str) -> None:
    """A byte order mark, both line ends and all three delimiters are accepted."""
    lines = [["moka pot", "US", '"a|b"'], ['"pots, pans; and ""woks"""', "GB", ""]]
    text = _bytes(
        *(delimiter.join(line) for line in lines),
        header=delimiter.join(["Keyword", " MARKET", "tags"]),
        end=end,
    )
    parsed = parse_keywords(mark + text).require_clean()
    assert [row.keyword for row in parsed.rows] == ["moka pot", 'pots, pans; and "woks"']
    assert parsed.rows[0].tags == ("a", "b")


def test_columns_stand_in_any_order_and_tags_may_be_missing() -> None:
    """Only keyword and market are required. Other columns are ignored."""
    data = _bytes("7,GB,moka pot", header="volume,market,keyword")
    row = parse_keywords(data).require_clean().rows[0]
    assert (row.keyword, row.market, row.tags) == ("moka pot", "GB", ())


@pytest.mark.parametrize(
    "keyword",
    [
        "吕梁市 三川河",
        "Wisła rzeka",
        "\U0001f469\u200d\U0001f373 recipes \u2615\ufe0f",
        "قهوة عربية",
        "קפה\u200f שחור",
    ],
)
def test_every_script_is_kept(keyword: str) -> None:
    """Any script, emoji sequences and right-to-left marks stay unchanged."""
    parsed = parse_keywords(_bytes(f"{keyword},US,")).require_clean()
    assert parsed.rows[0].keyword == unicodedata.normalize("NFC", keyword)


def test_repetitions_are_counted_and_their_tags_kept() -> None:
    """Composition, case and spacing do not make another keyword; the market does."""
    data = _bytes("Café Crème,US,a", "cafe\u0301  CRE\u0300ME ,us,b;A", "café crème,GB,")
    parsed = parse_keywords(data).require_clean()
    assert [(r.keyword, r.market, r.tags) for r in parsed.rows] == [
        ("Café Crème", "US", ("a", "b")),
        ("café crème", "GB", ()),
    ]
    assert (parsed.report.row_count, parsed.report.duplicate_count) == (2, 1)


@pytest.mark.parametrize(
    "invisible",
    list(
        "\u200b\u2060\u00ad\ufeff\u200e\u200f\u061c\u202a\u202e\u2066\u2069\u2064\u034f\u180e\u3164"
        "\ufff9\U000e0041"
    ),
)
def test_an_invisible_character_makes_no_other_keyword(invisible: str) -> None:
    """An invisible character in a keyword is not searched and makes no second row."""
    data = _bytes("moka pot,US,a", f"{invisible}mo{invisible}ka {invisible} pot{invisible},US,b")
    (row,) = parse_keywords(data).require_clean().rows
    assert (row.keyword, row.tags) == ("moka pot", ("a", "b"))
    assert searched(f"mo{invisible}ka {invisible} pot{invisible}") == "moka pot"


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_joiners_make_another_word(joiner: str) -> None:
    """Persian, Indic scripts and emoji need the joiners, so they distinguish keywords."""
    rows = parse_keywords(_bytes("می" + joiner + "خواهم,IR,", "میخواهم,IR,")).require_clean().rows
    assert len({row.key for row in rows}) == 2
    assert searched("می" + joiner + "خواهم") == "می" + joiner + "خواهم"


def test_a_keyword_is_shown_as_its_first_writer_wrote_it() -> None:
    """Of duplicates the first spelling is kept, with direction marks and variation selectors."""
    data = _bytes("קפה\u200f שחור ❤\ufe0f,US,", "קפה שחור ❤,US,")
    (row,) = parse_keywords(data).require_clean().rows
    assert row.keyword == "קפה\u200f שחור ❤\ufe0f"
    assert searched(row.keyword) == "קפה שחור ❤\ufe0f"


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_line_end_is_counted(end: str) -> None:
    """Files of CR, CR LF and LF have the same rows and the same line numbers."""
    text = end.join(["keyword,market,tags", "tea,US,", "", "bad,QQ,", "moka pot,US,a"])
    for closing in ("", end):
        parsed = parse_keywords((text + closing).encode())
        assert [(row.line, row.keyword) for row in parsed.rows] == [(2, "tea"), (5, "moka pot")]
        assert [problem.line for problem in parsed.problems] == [4]


def test_a_long_file_of_cr_alone_is_read_in_parts() -> None:
    """Line numbers stay right beyond the length of one line, wherever a part ends."""
    lines = [f"keyword {n:06},US,{'x' * (n % 60)}" for n in range(9_000)]
    data = "\r".join(["keyword,market,tags", *lines]).encode()
    assert len(data) > 4 * LINE_CHARACTERS_MAX
    rows = parse_keywords(data).require_clean().rows
    assert [row.line for row in rows] == list(range(2, 9_002))
    assert (rows[-1].keyword, rows[4_999].keyword) == ("keyword 008999", "keyword 004999")


def test_a_quoted_line_break_belongs_to_its_row() -> None:
    """In an ignored column it is accepted. In a keyword the whole row is bad, and no part of it
    becomes a keyword. The numbers are those of the lines."""
    data = _bytes(
        'tea,US,,"two',
        'lines"',
        '"red',
        'shoes",US,,',
        'cups,US,"a',
        'b",',
        "pots,US,,",
        header="keyword,market,tags,notes",
    )
    parsed = parse_keywords(data)
    assert [(row.line, row.keyword) for row in parsed.rows] == [(2, "tea"), (8, "pots")]
    assert [str(problem) for problem in parsed.problems] == [
        r"line 4: line break in keyword 'red\nshoes'",
        r"line 6: line break in tags 'a\nb'",
    ]


def test_a_forgotten_quote_costs_its_line_alone() -> None:
    """After an open quote that makes no record, reading goes on line by line."""
    rest = [f"keyword {n},US," for n in range(30)]
    for following in (rest, ['"blue",US,', *rest], [*rest[:2], 'a "b",US,', *rest[2:]]):
        parsed = parse_keywords(_bytes('"red,US,', *following))
        assert [problem.line for problem in parsed.problems] == [2]
        assert [row.line for row in parsed.rows] == list(range(3, 3 + len(following)))


def test_streaming_yields_a_repetition_only_for_its_tags() -> None:
    """A duplicate without tags is skipped. One with tags is yielded again."""
    report = KeywordReport()
    with open_keywords(_bytes("tea,US,", "tea,US,", "tea,US,hot")) as file:
        rows = list(file.rows(report))
    assert [row.line for row in rows] == [2, 4]
    assert (report.row_count, report.duplicate_count) == (1, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tea,QQ,", "line 3: unknown market 'QQ'"),
        ("tea,,", "line 3: no market for keyword 'tea'"),
        ("tea", "line 3: no market for keyword 'tea'"),
        (" \u00a0,US,", "line 3: empty keyword"),
        ("\u200b\ufe0f,US,", "line 3: empty keyword"),
        ("te\x00a,US,", r"line 3: control character in keyword 'te\x00a'"),
        ("te\x1fa,US,", r"line 3: control character in keyword 'te\x1fa'"),
        ("te\x85a,US,", r"line 3: control character in keyword 'te\x85a'"),
        ("tea,US,a\x07", r"line 3: control character in tags 'a\x07'"),
        ("pots,pans,US,home", "line 3: 4 fields where the header has 3: quote a value"),
        ('"tea,US,', "line 3: broken quotes in '\"tea,US,'"),
        ("x" * (CHARACTERS_MAX + 1) + ",US,", "line 3: keyword of 201 characters, over 200: 'xxx"),
        (" ".join("x" * (WORDS_MAX + 1)) + ",US,", "line 3: keyword of 33 words, over 32: 'x x"),
        ("tea,US," + ";".join(map(str, range(TAGS_MAX + 1))), "line 3: 21 tags, over 20"),
        ("tea,US," + "t" * 65, "line 3: tag of 65 characters, over 64"),
    ],
)
def test_a_bad_line_is_named_and_the_others_stay(line: str, message: str) -> None:
    """The problem names the line and the value. The valid lines around it are rows."""
    parsed = parse_keywords(_bytes("moka pot,US,", line, "kettle,US,"))
    assert [row.line for row in parsed.rows] == [2, 4]
    assert len(parsed.problems) == 1
    assert str(parsed.problems[0]).startswith(message)
    with pytest.raises(UserError) as raised:
        parsed.require_clean()
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_the_longest_allowed_keywords_are_rows() -> None:
    """200 characters and 32 words are allowed."""
    long = "x" * CHARACTERS_MAX
    wordy = " ".join("x" * WORDS_MAX)
    assert [r.keyword for r in parse_keywords(_bytes(f"{long},US,", f"{wordy},US,")).rows] == [
        long,
        wordy,
    ]


def test_ten_problems_are_named_and_all_are_counted() -> None:
    """Of many bad lines the first ten are named and all are counted."""
    parsed = parse_keywords(_bytes(*(f"k{i},Q{i},x" for i in range(25)), "tea,US,"))
    assert parsed.report.problem_count == 25
    assert [problem.line for problem in parsed.problems] == list(range(2, 2 + PROBLEMS_SHOWN_MAX))
    assert parsed.report.summary().endswith("; and 15 more")
    assert [row.keyword for row in parsed.rows] == ["tea"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the keyword file is empty"),
        (b"\n \r\n", "the keyword file is empty"),
        (b"keyword,tags\ntea,x\n", "line 1: columns 'keyword', 'tags': no column of markets: give"),
        (
            b"tea\nmoka pot\n",
            "a plain list: no column of markets: give the market of all",
        ),
        (b"tea,US\n", "line 1: no column of keywords among 'tea', 'US': name one keyword"),
        (b"keyword,market,Keyword\n", "line 1: the header has the column 'keyword' twice"),
        (
            b"keyword,market\n\xc3\xa9\xc3\xa9,US\ncaf\xe9,US\n",
            "line 3: the file is UTF-8 except near",
        ),
        (b"PK\x03\x04....", "the archive cannot be read"),
        (b"\xd0\xcf\x11\xe0....", "this is an old Excel file (.xls) or one with a password"),
        (b"<html>\n", "line 1: '<html>' begins no table and no list"),
        (b"x" * (LINE_CHARACTERS_MAX + 1), "line 1: longer than 65536 characters"),
    ],
)
def test_an_unusable_file_is_refused_with_one_line(data: bytes, message: str) -> None:
    """An unusable file raises a UserError that names the line and the value."""
    with pytest.raises(UserError) as raised:
        parse_keywords(data)
    assert str(raised.value).startswith(message)


def test_limits_on_rows_and_bytes_are_kept() -> None:
    """A file over a limit is refused. One at the limit is read."""
    data = _bytes("a,US,", "b,US,", "c,US,")
    fits = Options(rows_max=3, size_bytes_max=len(data))
    assert len(parse_keywords(data, options=fits).rows) == 3
    with pytest.raises(UserError, match="line 4: more than 2 rows"):
        parse_keywords(data, options=Options(rows_max=2))
    with pytest.raises(UserError, match=f"has {len(data)} bytes, over {len(data) - 1}"):
        parse_keywords(data, options=Options(size_bytes_max=len(data) - 1))


def test_added_markets_are_known() -> None:
    """Markets that a person added are found if they are passed."""
    added = {**builtin_markets(), "CH-FR": builtin_markets()["CH"]}
    assert parse_keywords(_bytes("thé,ch-fr,"), added).require_clean().rows[0].keyword == "thé"


def test_the_demo_list_is_clean() -> None:
    """The packaged list has 40 US and 10 GB keywords, none twice, some not in Latin script."""
    data = resources.files("serpline").joinpath("data", "demo_keywords.csv").read_bytes()
    parsed = parse_keywords(BytesIO(data)).require_clean()
    markets = [row.market for row in parsed.rows]
    assert (markets.count("US"), markets.count("GB"), len(markets)) == (40, 10, 50)
    assert parsed.report.duplicate_count == 0
    assert {"吕梁市 三川河", "Wisła rzeka"} <= {row.keyword for row in parsed.rows}
    assert all(row.tags for row in parsed.rows)


@settings(max_examples=60)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"keyword,market,tags\n", b"", b"\xff\xfe", b"PK\x03\x04"]),
)
def test_any_bytes_give_rows_or_one_user_error(start: bytes, data: bytes) -> None:
    """Any input gives rows, problems or a one-line UserError."""
    refusal = ""
    report = KeywordReport()
    count = 0
    try:
        with open_keywords(start + data, Options(markets=("US",))) as file:
            for row in file.rows(report):
                count += row.keyword != ""
    except UserError as error:
        refusal = str(error)
    assert report.row_count <= count <= report.row_count + report.duplicate_count
    assert (refusal + report.summary()).isprintable()


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (b"sep=;\r\nkeyword;market;tags\r\na b;US;x\r\n", [3]),
        (b'\xef\xbb\xbf"sep=,",,\nkeyword,market,tags\na b,US,x\n', [3]),
        (b"SEP=\t\nkeyword\tmarket\ttags\na b\tUS\tx\n", [3]),
        (b"keyword,market,tags\n,,\na b,US,x,,,\n , ,,\n,,,,,\n", [3]),
        (b"keyword,market,tags,,\na b,US,x,,\n,,,,\n", [2]),
    ],
)
def test_spreadsheet_padding_is_skipped(source: bytes, lines: list[int]) -> None:
    """Excel's ``sep=`` line, padding at a line's end, and the empty rows below a table."""
    parsed = parse_keywords(source).require_clean()
    assert [row.line for row in parsed.rows] == lines
    assert [(row.keyword, row.market, row.tags) for row in parsed.rows] == [("a b", "US", ("x",))]


def test_an_extra_field_is_a_problem() -> None:
    """An unquoted comma in a keyword would make it another keyword."""
    report = parse_keywords(b"keyword,market\npots,US,pans\n,US,\n").report
    assert [problem.line for problem in report.problems] == [2, 3]


def test_a_problem_of_a_table_with_tabs_is_one_printable_line() -> None:
    """The reason of the csv module names the delimiter, which is a control character."""
    report = parse_keywords(b'keyword\tmarket\n"tea"x\tUS\n').report
    assert report.summary() == (
        "line 2: broken quotes in '\"tea\"x\\tUS' ('tab' expected after '\"')"
    )


def test_a_file_cut_in_a_character_is_guessed() -> None:
    """The last byte of a block may be the first of a character."""
    (row,) = parse_keywords(b"keyword,market\nte\xe9", options=Options(markets=("FR",))).rows
    assert row.keyword == "teé"
