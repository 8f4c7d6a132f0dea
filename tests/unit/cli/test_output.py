"""What commands print and export can be shown and opened safely."""

import csv
import io
import json
from typing import Any

import pytest

from serpline.cli.common import emit, show_table
from serpline.cli.dsi import _WRITERS, Format

_FIGURE: dict[str, Any] = {
    "run_id": "r",
    "company": '=HYPERLINK("http://evil.test","Acme")',
    "domain": "acme.com",
    "relation": None,
    "content_type": "organic",
    "market": "US",
    "device": "desktop",
    "dsi": -0.5,
    "coverage": 1.0,
    "keywords_ranked": 3,
    "sources": [],
    "stale_types": [],
    "keywords_collected": 4,
    "traffic_share": None,
    "relevance": 0.25,
    "relevance_basis": 2,
    "unknown_volume_keywords": 0,
    "unknown_ai_overview_keywords": 0,
    "unanalysed_results": 0,
    "curve": "classic",
    "curve_version": 1,
    "proxy": False,
}


def test_an_exported_name_is_no_formula_and_a_number_is_a_number() -> None:
    """In CSV a formula is text; a negative figure stays a number; JSON has the name as it is."""
    (row,) = csv.DictReader(io.StringIO(_WRITERS[Format.CSV]([_FIGURE]).decode()))
    assert row["company"] == "'" + _FIGURE["company"]
    assert (row["dsi"], row["keywords_ranked"], row["domain"]) == ("-0.5", "3", "acme.com")
    assert json.loads(_WRITERS[Format.JSON]([_FIGURE]))[0]["company"] == _FIGURE["company"]


def test_a_title_steers_neither_the_table_nor_the_document(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """An override of the reading direction and a C1 control reach no terminal."""
    title = "safe\u202egpj.exe\x9b2J"
    emit({"title": title})
    document = capsysbinary.readouterr().out.decode()
    show_table(["title"], [[title]], title=title)
    table = capsysbinary.readouterr().out.decode()
    assert not {"\u202e", "\x9b"} & set(document + table)
    assert json.loads(document) == {"title": title}
    assert "gpj.exe" in table
