"""Lines and signs of tools that are no keywords."""

import pytest

from serpline.imports.reading import Options, parse_keywords

US = Options(markets=("US",))


def _bytes(*lines: str) -> bytes:
    return "\n".join([*lines, ""]).encode()


def test_signs_of_match_types_are_no_part_of_a_keyword() -> None:
    """Those of other keywords stay, and a refused line can be mended and imported as it is."""
    lines = ["[moka pot]", "c++", "disney+", "+green +tea", "[a] [b]c", "canal +", "[no market]"]
    keywords = [f"{line},Broad match,{'x' * (line == '[no market]')}" for line in lines]
    phrase = '"""red ""hot"" tea""",Phrase match,'
    data = _bytes("Keyword,Match type,Market", *keywords, phrase)
    parsed = parse_keywords(data, options=US)
    assert [row.keyword for row in parsed.rows] == [
        "moka pot",
        "c++",
        "disney+",
        "green tea",
        "[a] [b]c",
        "canal +",
        'red "hot" tea',
    ]
    assert [problem.keyword for problem in parsed.problems] == ["no market"]


@pytest.mark.parametrize("again", ["Keyword,Volume", "\ufeffKeyword , Volume"])
def test_a_repeated_header_is_no_keyword(again: str) -> None:
    """Files that were put together have one for each; a list may contain the word."""
    data = _bytes("Keyword,Volume", "tea,1", again, "keyword,2")
    parsed = parse_keywords(data, options=US)
    assert [(row.line, row.keyword) for row in parsed.rows] == [(2, "tea"), (4, "keyword")]
    assert parsed.report.summary_line_count == 1
    assert len(parse_keywords(b"keyword\ntea\nkeyword\n", options=US).rows) == 2


@pytest.mark.parametrize("number", ["1E+05", "4.00639E+12", "4,01E+12"])
def test_a_number_that_a_spreadsheet_shortened_is_no_keyword(number: str) -> None:
    """Its digits are lost. Other keywords of digits are not."""
    lines = [number, "1e5", "2024", "5e+ reader", "e+05"]
    parsed = parse_keywords(_bytes('"keyword"', *(f'"{line}"' for line in lines)), options=US)
    assert [row.keyword for row in parsed.rows] == lines[1:]
    assert parsed.problems[0].message == f"a spreadsheet's number {number!r} instead of a keyword"


@pytest.mark.parametrize("error", ["#NAME?", "#DIV/0!", "#WERT!", "#¿NOMBRE?", "#ÜBERLAUF!", "#NV"])
def test_an_error_of_a_spreadsheet_is_no_keyword(error: str) -> None:
    """Excel writes its errors in its own language. A hashtag is a keyword."""
    parsed = parse_keywords(_bytes("keyword", "tea", error, "#winning!", "#1"), options=US)
    assert [row.keyword for row in parsed.rows] == ["tea", "#winning!", "#1"]
    assert [problem.line for problem in parsed.problems] == [3]
