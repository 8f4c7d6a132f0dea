"""Printed and exported texts are safe in terminals and spreadsheets."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from serpline.cli.common import print_json, spool_list
from serpline.cli.dsi_formats import ROWS_PER_FRAME, WRITERS, Format
from serpline.cli.tables import show_table
from serpline.core.spool import Spool

_FIGURE: dict[str, Any] = {
    "run_id": "r",
    "company": '=HYPERLINK("http://evil.test","Acme")',
    "domain": "acme.com",
    "relation": None,
    "content_type": "organic",
    "market": "US",
    "device": "desktop",
    "dsi": -0.5,
    "completeness": "complete",
    "coverage": 1.0,
    "keywords_ranked": 3,
    "sources": [],
    "stale_types": [],
    "late_types": ["news"],
    "keywords_collected": 4,
    "keywords_planned": 5,
    "traffic_share": None,
    "share_unweighted": 0.5,
    "share_of_first": None,
    "share_of_volume": 0.5,
    "relevance": 0.25,
    "relevance_basis": 2,
    "unknown_volume_keywords": 0,
    "unknown_ai_overview_keywords": 0,
    "unanalysed_results": 0,
    "curve": "classic",
    "curve_version": 1,
    "proxy": False,
}


def _written(format_: Format, count: int) -> bytes:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for _ in range(count):
            yield _FIGURE

    spool = Spool()
    assert asyncio.run(WRITERS[format_](rows(), spool)) == count  # type: ignore[arg-type]
    return spool.open().read()


@pytest.mark.parametrize("count", [0, 1, ROWS_PER_FRAME, ROWS_PER_FRAME + 1])
def test_every_format_has_every_figure(count: int) -> None:
    """Any number of portions has one header; no rows make an empty table."""
    assert _written(Format.CSV, count).count(b"\n") == count + 1
    assert len(json.loads(_written(Format.JSON, count))) == count
    frame = pl.read_parquet(_written(Format.PARQUET, count))
    assert (frame.height, frame.width) == (count, len(_FIGURE))


def test_a_document_written_row_by_row_equals_the_whole(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """It equals the document at once, byte for byte, with the rows as its last member."""
    run_id, spool = uuid4(), Spool()

    async def rows() -> AsyncIterator[dict[str, Any]]:
        for name in ("a\nb", "c"):
            yield {"run_id": run_id, "company": {"name": [name]}}

    async def everything() -> list[dict[str, Any]]:
        await spool_list(rows(), spool, last_of=({"id": run_id, "of": {}}, "dsi"))
        return [row async for row in rows()]

    print_json({"id": run_id, "of": {}, "dsi": asyncio.run(everything())})
    assert spool.open().read() == capsysbinary.readouterr().out


def test_an_exported_name_is_never_a_formula() -> None:
    """In CSV a formula becomes text and a negative figure stays a number; JSON is unchanged."""
    (row,) = csv.DictReader(io.StringIO(_written(Format.CSV, 1).decode()))
    assert row["company"] == "'" + _FIGURE["company"]
    assert (row["dsi"], row["keywords_ranked"], row["domain"]) == ("-0.5", "3", "acme.com")
    assert json.loads(_written(Format.JSON, 1))[0]["company"] == _FIGURE["company"]


def test_control_characters_in_a_title_are_escaped(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """A bidi override and a C1 control character never reach the terminal."""
    title = "safe\u202egpj.exe\x9b2J"
    print_json({"title": title})
    document = capsysbinary.readouterr().out.decode()
    show_table(["title"], [[title]], title=title)
    table = capsysbinary.readouterr().out.decode()
    assert not {"\u202e", "\x9b"} & set(document + table)
    assert json.loads(document) == {"title": title}
    assert "gpj.exe" in table
