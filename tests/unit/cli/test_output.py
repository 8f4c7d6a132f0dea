"""Printed and exported texts are safe in terminals and spreadsheets."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from serpline.cli.common import print_json, spool_list
from serpline.cli.tables import show_table
from serpline.core.spool import Spool


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
