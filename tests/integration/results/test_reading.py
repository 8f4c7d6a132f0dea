"""Facts about reading results: views, row classes and the database agree."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.collected_run import KEYWORDS, Filled, filled_database
from sqlalchemy import text

from serpline.domain.errors import UserError
from serpline.store.database import Connection, Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.results.reading import (
    ROWS,
    Company,
    Figure,
    Keyword,
    Ranking,
    Row,
    Run,
    Selection,
    Serp,
    columns_of,
    frame,
    latest_run,
    stream,
)
from serpline.store.results.selection import EVERYTHING
from serpline.store.runs.runs import create
from serpline.store.tables.views import SCHEMA

PAGE = Path(__file__).parents[3] / "docs" / "sql.md"
_SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EARLIER = 10
TYPES = {
    "uuid": "UUID",
    "date": "date",
    "text": "str",
    "text[]": "tuple",
    "bigint": "int",
    "integer": "int",
    "double precision": "float",
    "boolean": "bool",
    "timestamp with time zone": "datetime",
    "jsonb": "list",
}


@pytest.fixture(scope="module")
def filled(postgres: EmbeddedServer, template_database: str) -> Iterator[Filled]:
    with filled_database(postgres, template_database, [EARLIER]) as made:
        yield made


class UndoError(Exception):
    """Rolls a transaction back."""


@pytest.fixture
async def conn(postgres: EmbeddedServer, filled: Filled) -> AsyncIterator[Connection]:
    """A transaction that is rolled back."""
    database = await Database.connect(postgres.url(filled.name))
    try:
        with suppress(UndoError):
            async with database.transaction() as opened:
                yield opened
                raise UndoError
    finally:
        await database.close()


async def read(
    conn: Connection, row: type[Row], selection: Selection = EVERYTHING, **how: Any
) -> list[Any]:
    return [each async for each in stream(conn, row, selection, **how)]


async def test_views_have_the_columns_of_their_classes(conn: Connection) -> None:
    """Names, order, types and comments of every view are those of its row class."""
    rows = await conn.execute(
        text(
            "SELECT c.relname, obj_description(c.oid, 'pg_class') AS about, a.attname,"
            " format_type(a.atttypid, a.atttypmod) AS type,"
            " col_description(c.oid, a.attnum) AS comment FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
            " WHERE c.relnamespace = CAST(:schema AS regnamespace) ORDER BY c.oid, a.attnum"
        ),
        {"schema": SCHEMA},
    )
    found = [(r.relname, r.about, r.attname, TYPES[r.type], r.comment) for r in rows]
    assert found == [
        (
            row.VIEW,
            " ".join(row.__doc__.split()),
            each.name,
            each.type.__name__,
            each.column.comment,
        )
        for row in ROWS
        for each in columns_of(row)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.VIEW)
async def test_one_run_is_read_as_its_view_has_it(
    conn: Connection, filled: Filled, row: type[Row]
) -> None:
    """The rows of a run are those that the view has of it, and a frame has the same values."""
    await _add_the_rest(conn, filled)
    has_run = "run_id" in {each.name for each in columns_of(row)}
    chosen = Selection(run_id=filled.run_id) if has_run else EVERYTHING
    found = await read(conn, row, chosen, order=row.ORDER)
    every = await read(conn, row)
    seen = [each for each in every if not has_run or each.run_id == filled.run_id]
    assert found
    assert sorted(map(repr, found)) == sorted(map(repr, seen))
    whole = await frame(conn, row, chosen, order=row.ORDER)
    names = [each.name for each in columns_of(row) if each.type.__name__ not in ("UUID", "list")]
    assert whole.columns == [each.name for each in columns_of(row)]
    as_lists = [
        tuple(list(v) if type(v) is tuple else v for v in (getattr(each, n) for n in names))
        for each in found
    ]
    assert whole.select(names).rows() == as_lists


async def _add_the_rest(conn: Connection, filled: Filled) -> None:
    """A tagged keyword in a landscape, a marked company, a slot and a call."""
    for statement in (
        "INSERT INTO keyword_markets SELECT id, 'US', '{a,\"b \\\\ c\"}' FROM keywords"
        " WHERE id < 4",
        "INSERT INTO landscapes (name) VALUES ('few')",
        "INSERT INTO landscape_keywords SELECT 'few', id FROM keywords WHERE id < 3",
        "INSERT INTO companies (domain, relation)"
        " VALUES ('d1.com', 'ours'), ('d2.com', 'competitor')",
        "INSERT INTO company_profiles (run_id, domain, found, name, source, fetched_at)"
        " VALUES (:run, 'd1.com', true, 'D One', 'pdl', now())",
        "INSERT INTO schedules (id, version, decided_until) VALUES ('s', 1, now())",
        "INSERT INTO schedule_versions VALUES ('s', 1, '[]')",
        "INSERT INTO schedule_slots (schedule_id, scheduled_for, content_type, version, outcome,"
        " reason_code, reason, run_group, overlap, start_at, decided_at, run_id)"
        " VALUES ('s', now(), 'video', 1, 'started', 'r', 'r', 'g', 'skip', now(), now(), :run)",
        "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,"
        " status, attempt, run_id, started_at, credits) VALUES (gen_random_uuid(),"
        " decode(repeat('ab', 32), 'hex'), 'pdl', 'o', '', 'f', true, 'ok', 1, :run, now(), 0.28)",
    ):
        given = {"run": filled.run_id} if ":run" in statement else {}
        await conn.execute(text(statement), given)


async def test_questions_of_the_page_on_sql(conn: Connection, filled: Filled) -> None:
    """Every query of the page runs as written and finds what the database has for it."""
    await _add_the_rest(conn, filled)
    for statement in (
        "INSERT INTO companies (domain, relation) VALUES ('oc21.com', 'ours'), ('oc41.com',"
        " 'competitor')",
        "UPDATE schedule_slots SET outcome = 'missed'",
        f"SET LOCAL search_path = {SCHEMA}",
    ):
        await conn.execute(text(statement))
    queries = [
        query
        for block in _SQL.findall(PAGE.read_text(encoding="utf-8"))
        for query in block.split(";")
        if query.strip()
    ]
    assert len(queries) == 6
    for query in queries:
        assert (await conn.execute(text(query))).all(), query


async def test_selections(conn: Connection, filled: Filled) -> None:
    """Each filter keeps the rows that pass it; several must all be passed."""
    await _add_the_rest(conn, filled)
    run = Selection(run_id=filled.run_id)
    everything = await read(conn, Ranking, run)

    async def kept(**filters: Any) -> list[Any]:
        chosen = Selection(run_id=filled.run_id, **filters)
        found = await read(conn, Ranking, chosen)
        assert found
        assert {repr(each) for each in found} < {repr(each) for each in everything}
        return found

    assert {each.keyword for each in await kept(keyword="keyword 7")} == {"keyword 7"}
    assert {each.keyword_id for each in await kept(tags=("b \\ c", "z"))} == {1, 2, 3}
    assert {each.keyword_id for each in await kept(landscape="few")} == {1, 2}
    assert {each.domain for each in await kept(companies=("oc21.com", "oc22.com"))} == {
        "youtube.com"
    }
    marked = await kept(companies=("oc21.com", "oc22.com"), keyword="keyword 1")
    assert {each.company for each in marked} == {"oc21.com", "oc22.com"}
    today = everything[0].collected_on
    assert await read(conn, Ranking, Selection(run_id=filled.run_id, since=today, until=today))
    assert not await read(conn, Ranking, Selection(until=date(2020, 1, 1)))
    for wrong in ({"markets": ("DE",)}, {"devices": ("mobile",)}, {"content_types": ("news",)}):
        assert not await read(conn, Ranking, Selection(run_id=filled.run_id, **wrong))
    with pytest.raises(UserError, match="dsi cannot be filtered by tags"):
        await read(conn, Figure, Selection(tags=("a",)))
    runs = await read(conn, Run, Selection(markets=("US",), content_types=("video",)))
    assert len(runs) == 2
    assert [
        each.relation for each in await read(conn, Company, Selection(relations=("ours",)))
    ] == ["ours"]
    assert len(await read(conn, Keyword, Selection(landscape="few"))) == 2


async def test_order_and_limits(conn: Connection, filled: Filled) -> None:
    """Unknown values come last in both directions; limits take the first rows of the order."""
    await conn.execute(
        text(
            "UPDATE dsi_scores SET dsi = substr(company, 3, length(company) - 6)::float"
            " WHERE company IN ('oc21.com', 'oc22.com') AND run_id = :run"
        ),
        {"run": filled.run_id},
    )
    run = Selection(run_id=filled.run_id)
    for order, first in (("-dsi", [22.0, 21.0, None]), ("dsi", [21.0, 22.0, None])):
        found = await read(conn, Figure, run, order=[order, "company"], limit=3)
        assert [each.dsi for each in found] == first
    best = await read(conn, Figure, order=["-dsi", "company"], per_place=2)
    assert [each.dsi for each in best] == [22.0, 21.0, None, None]
    with pytest.raises(ValueError, match="no such column"):
        await read(conn, Figure, run, order=["dsi; DROP"])


async def test_the_latest_run_has_rows_for_the_selection(conn: Connection, filled: Filled) -> None:
    """The newest run is not the latest one if it has nothing of what is asked."""
    newest = uuid4()
    await create(conn, newest, mode="manual", config={}, lanes=[])
    earlier = next(
        each.run_id for each in await read(conn, Run) if each.run_id not in (newest, filled.run_id)
    )
    assert await latest_run(conn, Run) == newest
    assert await latest_run(conn, Ranking) == filled.run_id
    assert await latest_run(conn, Figure) == filled.run_id
    last = (
        await conn.execute(text("SELECT keyword FROM keywords WHERE id = :n"), {"n": KEYWORDS})
    ).scalar()
    await conn.execute(
        text("DELETE FROM dsi_scores WHERE company = 'oc21.com' AND run_id = :run"),
        {"run": filled.run_id},
    )
    assert await latest_run(conn, Figure, Selection(companies=("oc21.com",))) == earlier
    assert await latest_run(conn, Serp, Selection(keyword=last)) == filled.run_id
    assert await latest_run(conn, Ranking, Selection(markets=("DE",))) is None
    assert await latest_run(conn, Ranking, Selection(run_id=earlier)) == earlier


async def test_the_date_of_a_run(conn: Connection, filled: Filled) -> None:
    """A run is dated by its last search of the content type, in UTC."""
    at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    await conn.execute(
        text(
            "UPDATE serps SET collected_at = CAST(:at AS timestamptz)"
            " - (keyword_id - 1) * interval '1 day' WHERE run_id = :run AND content_type = 'video'"
        ),
        {"at": at, "run": filled.run_id},
    )
    run = Selection(run_id=filled.run_id, content_types=("video",))
    for row in (Ranking, Serp, Figure):
        assert {each.collected_on for each in await read(conn, row, run)} == {date(2026, 3, 1)}, row
