"""Files of tools and people in their real layout (tests/data/keywords/README.md)."""

from pathlib import Path

import pytest

from serpline.domain.errors import UserError
from serpline.imports.reading import KeywordReport, Options, open_keywords, parse_keywords

FILES = Path(__file__).parents[2] / "data" / "keywords"
GB = Options(markets=("UK",))

# The encoding, the delimiter, the line of the header, and the keyword, market and tags of each row.
EXPECTED: dict[str, tuple[Options, tuple[object, ...], list[tuple[object, ...]]]] = {
    "google_keyword_planner.csv": (
        GB,
        ("utf-16", "\t", 3),
        [
            ("flights to kraków", "GB"),
            ("hotels, kraków old town", "GB"),
            ("things to do in kraków", "GB"),
        ],
    ),
    "search_console.zip": (
        Options(markets=("en-GB",)),
        ("utf-8", ",", 1),
        [
            ("flights to krakow", "GB"),
            ("krakow, poland flights", "GB"),
            ("łódź do krakowa", "GB"),
        ],
    ),
    "search_console_de.csv": (
        Options(markets=("Deutschland", "de-AT")),
        ("utf-8", ",", 1),
        [
            ("boot mieten köln", "DE"),
            ("boot mieten köln", "AT"),
            ("bootsführerschein kosten", "DE"),
            ("bootsführerschein kosten", "AT"),
        ],
    ),
    "search_console.xlsx": (
        GB,
        (None, None, 1),
        [("flights to krakow", "GB"), ("ryanair 501", "GB")],
    ),
    "ahrefs_keywords_explorer.csv": (
        Options(),
        ("utf-16", "\t", 1),
        [("moka pot", "US"), ("moka pot", "GB"), ("cafetière italienne", "FR")],
    ),
    "semrush_keyword_magic.csv": (
        GB,
        ("utf-8-sig", ",", 1),
        [("moka pot", "GB"), ("moka pot, 6 cup", "GB")],
    ),
    "semrush_keyword_strategy.csv": (
        Options(),
        ("utf-8", ",", 1),
        [
            ("moka pot", "US", "coffee", "home"),
            ("moka pot", "AU", "coffee"),
            ("stovetop espresso", "GB"),
        ],
    ),
    "semrush_api.csv": (
        Options(),
        ("utf-8", ";", 1),
        [("applicant tracking system", "US"), ("bewerbermanagement software", "DE")],
    ),
    "google_ads_search_terms.csv": (
        GB,
        ("utf-8", ",", 3),
        [("emergency plumber leeds", "GB"), ("boiler repair", "GB")],
    ),
    "google_ads_keywords.csv": (
        GB,
        ("utf-16", "\t", 3),
        [
            ("emergency plumber leeds", "GB", "brand", "leeds"),
            ("boiler repair", "GB"),
            ("radiator leak", "GB"),
        ],
    ),
    "bing_webmaster.csv": (
        GB,
        ("utf-8", ",", 1),
        [("cute calculator", "GB"), ("love calculator n", "GB")],
    ),
    "ryte_monitoring.csv": (
        Options(),
        ("utf-8", ",", 1),
        [("espressokocher", "DE", "kaffee", "küche"), ("moka pot", "US")],
    ),
    "excel_cp1252.csv": (
        Options(),
        ("cp1252", ";", 1),
        [
            ("küche günstig kaufen", "DE", "möbel", "küche"),
            ("müllabfuhr größe", "AT"),
            ("crêpe-pfanne", "CH", "küche", "kochen"),
        ],
    ),
    "excel_cp1250.csv": (
        Options(),
        ("cp1250", ";", 2),
        [
            ("żółta łódź podwodna", "PL", "muzyka"),
            ("łóżko dziecięce", "PL"),
            ("święta w górach", "PL", "podróże"),
        ],
    ),
    "excel_shift_jis.csv": (
        Options(),
        ("cp932", ",", 1),
        [("コーヒーメーカー おすすめ", "JP"), ("東京 ホテル", "JP")],
    ),
    "plain_list.txt": (
        GB,
        ("utf-8", None, None),
        [
            ("moka pot", "GB"),
            ("french press", "GB"),
            ("red, blue or green kettle", "GB"),
            ("吕梁市 三川河", "GB"),
        ],
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_is_read_as_its_owner_expects(name: str) -> None:
    """No line is refused; encoding, delimiter, header, keywords, markets and tags are found."""
    options, layout, rows = EXPECTED[name]
    report = KeywordReport()
    with (FILES / name).open("rb") as stream, open_keywords(stream, options) as file:
        found = [(row.keyword, row.market, *row.tags) for row in file.rows(report)]
        understood = (file.layout.encoding, file.layout.delimiter, file.layout.header_line)
    assert (understood, found, report.summary()) == (layout, rows, "")


def test_every_file_is_tried() -> None:
    """No file of the folder is forgotten."""
    names = {path.name for path in FILES.iterdir()} - {"README.md", "hand_made.xlsx"}
    assert names == set(EXPECTED)


def test_unused_columns_and_summary_lines_are_named() -> None:
    """Volumes, positions and the advertiser's keyword are told as ignored; totals are skipped."""
    report = KeywordReport()
    path = FILES / "google_ads_search_terms.csv"
    with path.open("rb") as stream, open_keywords(stream, GB) as file:
        lines = [row.line for row in file.rows(report)]
        assert {"Keyword", "Clicks", "Impr.", "Cost"} < set(file.layout.ignored)
        assert (file.layout.keyword, file.layout.lines_before) == ("Search term", 2)
    assert (lines, report.line_count, report.summary_line_count) == ([4, 5], 4, 2)


def test_a_workbook_by_hand() -> None:
    """The sheet with keywords is found, numbers are text, a date and an unknown market refused."""
    report = KeywordReport()
    with (FILES / "hand_made.xlsx").open("rb") as stream, open_keywords(stream) as file:
        found = [(row.line, row.keyword, row.market, row.tags) for row in file.rows(report)]
        assert (file.layout.part, file.layout.header_line) == ("Keywords", 3)
    assert found == [
        (4, "cafetière italienne", "FR", ("café", "cuisine")),
        (6, "1984", "FR", ()),
        (7, "moulin à café", "BE", ()),
    ]
    date, market = (problem.message for problem in report.problems)
    assert date.startswith("the keyword is a date or time ('2026-07-11 00:00:00')")
    assert market == "unknown market 'Frankenland': give a code such as US, GB or DE"


@pytest.mark.parametrize(
    ("name", "sheet", "message"),
    [
        (
            "search_console.zip",
            "Pages",
            "Pages.csv: line 1: no column of keywords among 'Top pages'",
        ),
        ("search_console.zip", "Sheet1", "--sheet 'Sheet1': there is 'Chart.csv', 'Queries.csv'"),
        ("search_console.xlsx", "Nope", "--sheet 'Nope': there is 'Chart', 'Queries', 'Pages'"),
        ("hand_made.xlsx", "Notes", "a plain list: no column of markets"),
        ("plain_list.txt", "Notes", "--sheet 'Notes': this file is text and has no sheets"),
    ],
)
def test_a_chosen_sheet_is_read_or_refused(name: str, sheet: str, message: str) -> None:
    """``--sheet`` names a sheet or a file of an archive; what there is is told."""
    data = (FILES / name).read_bytes()
    with pytest.raises(UserError) as raised:
        parse_keywords(data, options=Options(sheet=sheet))
    assert str(raised.value).startswith(message)
