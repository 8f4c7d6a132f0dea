"""Facts about files of results: every table in every format, complete or not there."""

import csv
import io
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import anyio
import polars as pl
import pytest
from harness.collected_run import DEPTH, KEYWORDS, Filled
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from serpline.core.escaping import spreadsheet_text
from serpline.domain.errors import UserError
from serpline.domain.results import ROWS, Figure, Keyword, Ranking, columns_of
from serpline.exports import writing, xlsx_file
from serpline.exports.csv_file import write_csv
from serpline.exports.json_file import write_json
from serpline.exports.layout import Format, Layout, format_of
from serpline.exports.parquet_file import write_parquet
from serpline.exports.portions import write_in_thread
from serpline.exports.tables import NAMES, table_named
from serpline.exports.writing import write_file, write_table
from serpline.exports.xlsx_file import write_xlsx
from serpline.pipeline.filters import Filters, select
from serpline.store.database import Connection, Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.results.selection import EVERYTHING, Selection

RANKINGS = KEYWORDS * DEPTH
_SOURCE = '[{"day": "Zürich \\"1\\""}]'
_PROJECT = (
    "INSERT INTO keyword_markets (keyword_id, market, tags)"
    " SELECT id, 'US', ARRAY['brand', 'travel'] FROM keywords",
    "INSERT INTO companies (domain, relation) VALUES ('example.com', 'ours')",
)


@pytest.fixture
async def conn(postgres: EmbeddedServer, filled: Filled) -> AsyncIterator[Connection]:
    database = await Database.connect(postgres.url(filled.name))
    try:
        async with database.transaction() as opened:
            for statement in _PROJECT:
                await opened.execute(text(statement))
            yield opened
            await opened.rollback()
    finally:
        await database.close()


@pytest.mark.parametrize("name", NAMES)
async def test_every_table_has_its_columns_in_a_file(conn: Connection, name: str) -> None:
    """A CSV of each table has the columns of its row class, and the rows of its frame."""
    row = table_named(name)
    file = io.BytesIO()
    count = await write_table(conn, row, EVERYTHING, file, Format.CSV)
    header, *rows = csv.reader(io.StringIO(file.getvalue().decode()))
    assert header == [each.name for each in columns_of(row)]
    assert len(rows) == count
    assert (count > 0) == (name not in ("slots", "spend"))


async def test_all_formats_have_the_same_rows(
    conn: Connection, filled: Filled, tmp_path: Path
) -> None:
    """CSV, JSON, Parquet and XLSX of the rankings agree with each other."""
    selection = Selection(content_types=("video",)).of_run(filled.run_id)
    for form in Format:
        path = tmp_path / f"rankings.{form}"
        assert await write_file(conn, Ranking, selection, path, form) == RANKINGS
    from_parquet = pl.read_parquet(tmp_path / "rankings.parquet")
    urls = from_parquet["url"].to_list()
    assert len(set(urls)) == RANKINGS
    assert [row["url"] for row in json.loads((tmp_path / "rankings.json").read_text())] == urls
    assert pl.read_csv(tmp_path / "rankings.csv")["url"].to_list() == urls
    sheet = pl.read_excel(tmp_path / "rankings.xlsx", sheet_name="rankings")
    assert sheet["url"].to_list() == urls
    assert sheet["position"].to_list() == from_parquet["position"].to_list()
    assert sheet["collected_on"].to_list() == from_parquet["collected_on"].to_list()
    about = dict(
        pl.read_excel(tmp_path / "rankings.xlsx", sheet_name="about", has_header=False).rows()
    )
    assert about["content_types"] == "video"
    assert "position" in about


async def test_tags_are_those_of_other_commands(conn: Connection) -> None:
    """A tag is found in any case of letters, as by ``serpline keywords list --tag``."""
    for tag, spelling in (("BRAND", "brand"), ("none", "none")):
        selection = await select(conn, Keyword, Filters(tags=(tag,)))
        assert selection.tags == (spelling,)


async def test_a_slow_writer_keeps_its_transaction(conn: Connection) -> None:
    """A sheet of a million rows is put together for a minute after the last row has come."""
    await write_table(conn, Figure, EVERYTHING, io.BytesIO(), Format.XLSX)
    found = await conn.execute(text("SHOW idle_in_transaction_session_timeout"))
    assert found.scalar_one() == "0"


async def test_a_csv_file_is_for_excel_and_a_stream_is_not(
    conn: Connection, tmp_path: Path
) -> None:
    """A file begins with a byte order mark, without which Excel reads another encoding."""
    await write_file(conn, Keyword, EVERYTHING, tmp_path / "k.csv", Format.CSV)
    stream = io.BytesIO()
    await write_table(conn, Keyword, EVERYTHING, stream, Format.CSV)
    assert (tmp_path / "k.csv").read_bytes() == b"\xef\xbb\xbf" + stream.getvalue()


async def test_a_decimal_comma_needs_semicolons(conn: Connection) -> None:
    """Where people write 0,1, cells are separated by semicolons."""
    file = io.BytesIO()
    await write_table(conn, Figure, EVERYTHING, file, Format.CSV, decimal_comma=True)
    rows = list(csv.DictReader(io.StringIO(file.getvalue().decode()), delimiter=";"))
    assert {row["coverage"] for row in rows} == {"0,1"}


async def test_an_existing_file_stays(conn: Connection, tmp_path: Path) -> None:
    """Without permission nothing is replaced, and a failure leaves no file."""
    path = tmp_path / "k.json"
    path.write_text("theirs")
    with pytest.raises(UserError, match=r"k\.json: exists already; --overwrite"):
        await write_file(conn, Keyword, EVERYTHING, path, Format.JSON)
    assert path.read_text() == "theirs"
    await write_file(conn, Keyword, EVERYTHING, path, Format.JSON, overwrite=True)
    assert len(json.loads(path.read_text())) == KEYWORDS
    with pytest.raises(UserError, match="nowhere"):
        await write_file(conn, Keyword, EVERYTHING, tmp_path / "nowhere" / "k.csv", Format.CSV)
    selection = Selection(devices=("desktop",))
    with pytest.raises(UserError, match="cannot be filtered by devices"):
        await write_file(conn, Keyword, selection, tmp_path / "n.csv", Format.CSV)
    assert [each.name for each in tmp_path.iterdir()] == ["k.json"]


async def test_a_sheet_that_cannot_hold_the_rows_is_not_begun(
    conn: Connection, filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many rows for Excel are one line before anything is written."""
    monkeypatch.setattr(writing, "ROWS_MAX", RANKINGS - 1)
    monkeypatch.setattr(xlsx_file, "ROWS_MAX", RANKINGS - 1)
    with pytest.raises(UserError, match=r"800 rows, and an Excel sheet holds 799"):
        await write_file(
            conn, Ranking, EVERYTHING.of_run(filled.run_id), tmp_path / "r.xlsx", Format.XLSX
        )
    assert list(tmp_path.iterdir()) == []


async def test_rows_are_read_in_one_snapshot_that_failure_ends(conn: Connection) -> None:
    """A writer that fails ends the reading; the connection can be used again."""

    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        await write_table(conn, Ranking, EVERYTHING, Full(), Format.CSV)
    assert (await conn.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_cancelled_export_waits_for_its_thread() -> None:
    """Nothing is written after a cancellation, also where it is repeated at each await."""
    ended = threading.Event()

    async def frames() -> AsyncGenerator[pl.DataFrame, None]:
        while True:
            yield pl.DataFrame({"n": [1]})

    def write(found: Iterable[pl.DataFrame]) -> None:
        try:
            for _ in found:
                time.sleep(0.01)
        finally:
            time.sleep(0.1)
            ended.set()

    with anyio.move_on_after(0.05) as scope:
        await write_in_thread(frames(), write)
    assert (scope.cancelled_caught, ended.is_set()) == (True, True)


@given(st.lists(st.text(alphabet="=+-@\t\r\n;'a ＝𝄞é", max_size=6), min_size=1))
def test_no_text_is_a_formula(texts: list[str]) -> None:
    """Each text of a CSV is that of ``spreadsheet_text``, which no spreadsheet runs."""
    file = io.BytesIO()
    write_csv(iter([pl.DataFrame({"text": texts, "n": 1})]), file, Layout("x"))
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert [row[0] for row in rows[1:]] == [spreadsheet_text(each) for each in texts]


def test_text_is_never_a_formula_in_a_sheet() -> None:
    """A sheet stores =1+1 as text, and lists and long texts fit their cells."""
    frame = pl.DataFrame({"text": ["=1+1", "x" * 40_000], "tags": [["a", "b"], []]})
    file = io.BytesIO()
    assert write_xlsx(iter([frame]), file, Layout("table")) == 2
    found = pl.read_excel(io.BytesIO(file.getvalue()), sheet_name="table")
    assert found["text"][0] == "=1+1"
    assert len(found["text"][1]) == xlsx_file.CELL_CHARACTERS_MAX
    assert found["tags"][0] == "a; b"
    about = pl.read_excel(io.BytesIO(file.getvalue()), sheet_name="about", has_header=False)
    assert dict(about.rows())["cut"] == "1 texts after 32,767 characters, Excel's limit"


def test_control_characters_are_escaped_in_json() -> None:
    """Text that would change the order of a line on a terminal is escaped."""
    frame = pl.DataFrame({"text": ["a\u202eb\n"], "n": [None]})
    file = io.BytesIO()
    assert write_json(iter([frame.clear(), frame, frame]), file, Layout("x")) == 2
    assert file.getvalue().count(b"\n") == 4
    assert b"\\u202e" in file.getvalue()
    assert json.loads(file.getvalue()) == [{"text": "a\u202eb\n", "n": None}] * 2


async def test_documents_are_nested_in_json(conn: Connection) -> None:
    """A JSON column is a list in a JSON file, not its text; unknown ones are null."""
    changed = text("UPDATE dsi_scores SET sources = CAST(:given AS jsonb)")
    await conn.execute(changed, {"given": _SOURCE})
    file = io.BytesIO()
    await write_table(conn, Figure, EVERYTHING, file, Format.JSON)
    found = {json.dumps(row["sources"], ensure_ascii=False) for row in json.loads(file.getvalue())}
    assert found == {_SOURCE}
    file = io.BytesIO()
    await write_table(conn, Keyword, EVERYTHING, file, Format.JSON)
    assert {row["monthly_searches"] for row in json.loads(file.getvalue())} == {None}


def test_a_parquet_file_describes_itself() -> None:
    """The metadata have the table, the filters and what the columns mean; no rows are a table."""
    file = io.BytesIO()
    layout = Layout("dsi", {"run_id": "x"}, {"n": "A number."})
    assert write_parquet(iter([pl.DataFrame({"n": [1]}).clear()]), file, layout) == 0
    assert pl.read_parquet(io.BytesIO(file.getvalue())).schema == {"n": pl.Int64}
    found = pl.read_parquet_metadata(io.BytesIO(file.getvalue()))
    assert json.loads(found["serpline.columns"]) == {"n": "A number."}


def test_every_view_has_its_name() -> None:
    """The names of tables are those of all views."""
    assert [table_named(name) for name in NAMES] == list(ROWS)


def test_a_name_chooses_the_format() -> None:
    """The end of a file's name chooses its format; another is refused."""
    assert format_of(Path("a/Figures.XLSX")) is Format.XLSX
    with pytest.raises(UserError, match=r"figures.txt: must end with one of .csv, .xlsx"):
        format_of(Path("figures.txt"))
    with pytest.raises(UserError, match="table 'rank': must be one of rankings, serps"):
        table_named("rank")
