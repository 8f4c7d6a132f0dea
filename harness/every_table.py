"""Rows for every table of ours, made from the tables' definitions, with hostile values.

The first row is full; the second has NULL in every nullable column. ``_VALUES`` holds values for
columns with more rules than their type. ``contents`` reads a database back as comparable values.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from serpline.store.database import Connection
from serpline.store.tables import metadata

ROWS = 2
WHEN = datetime(2026, 11, 20, 9, 30, 15, 123457, tzinfo=UTC)
_HOSTILE_TEXT = "tab\t newline\n return\r \\N \\. backslash\\ quote\" ' {a,b} Ünïcödé 検索 🔎"

_VALUES: Mapping[str, Mapping[str, Any]] = {
    "provider_calls": {"key": lambda n: bytes([n]) * 32},
    "content_analyses": {
        "empty_kind": lambda n: (None, "bot_check")[n],
        "relevance": lambda n: (1 / 3, None)[n],
    },
    "companies": {"relation": lambda n: ("ours", "competitor")[n]},
    "chunks": {
        "status": lambda n: ("owned", "ready")[n],
        "planned": lambda n: 9,
        "completed": lambda n: 1,
        "failed": lambda n: 2,
        "skipped": lambda n: 3,
    },
    "schedule_backfills": {"slots_from": lambda n: WHEN - timedelta(days=9)},
    "schedule_slots": {"outcome": lambda n: ("started", "skipped")[n]},
    "queued_jobs": {"status": lambda n: ("running", "waiting")[n]},
}


async def fill(conn: Connection, names: Collection[str] | None = None) -> None:
    """Insert ``ROWS`` rows into every table, or into the named ones."""
    made: dict[sa.Column[Any], list[Any]] = {}
    for table in metadata.sorted_tables:
        if names is not None and table.name not in names:
            continue
        columns = [c for c in table.columns if c.identity is None or not c.identity.always]
        rows = [{c.name: _value(c, n, made) for c in columns} for n in range(ROWS)]
        for column in columns:
            made[column] = [row[column.name] for row in rows]
        await conn.execute(sa.insert(table).values(rows))


async def fill_run(
    conn: Connection, run_id: UUID, tables: Iterable[sa.Table], **given: Any
) -> None:
    """Insert one full row of a run into each table; ``given`` fixes columns by name."""
    made: dict[sa.Column[Any], list[Any]] = {metadata.tables["pipeline_executions"].c.id: [run_id]}
    for table in tables:
        row = {c.name: given.get(c.name) or _value(c, 0, made) for c in table.columns}
        for column in table.columns:
            made[column] = [row[column.name]]
        await conn.execute(sa.insert(table).values(row))


async def contents(conn: Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of ours, by table, in the order of its key."""
    found = {}
    for table in metadata.sorted_tables:
        order = list(table.primary_key.columns)
        rows = await conn.execute(sa.select(table).order_by(*order))
        found[table.name] = [dict(row) for row in rows.mappings()]
    return found


def _value(column: sa.Column[Any], n: int, made: Mapping[sa.Column[Any], list[Any]]) -> Any:
    value_of = _VALUES.get(column.table.name, {}).get(column.name)
    if value_of is not None:
        return value_of(n)
    if n % 2 and column.nullable:
        return None
    for key in column.foreign_keys:
        return made[key.column][n]
    words = _allowed_words(column)
    return words[n % len(words)] if words else _of_type(column, n)


def _allowed_words(column: sa.Column[Any]) -> list[str]:
    """The words that a check constraint allows for the column; empty if there is none."""
    for check in column.table.constraints:
        if isinstance(check, sa.CheckConstraint):
            listed = re.match(rf"{column.name} IN \((.*)\)", str(check.sqltext))
            if listed:
                return re.findall(r"'([^']*)'", listed[1])
    return []


def _of_type(column: sa.Column[Any], n: int) -> Any:
    match column.type:
        case sa.Uuid():
            return UUID(int=(n + 1) << 100 | 7)
        case sa.Boolean():
            return n == 0
        case JSONB():
            return {"text": _HOSTILE_TEXT, "n": n, "deep": [None, {"pi": 3.141592653589793}]}
        case sa.ARRAY(item_type=sa.Integer()):
            return [n, -n]
        case sa.ARRAY():
            return [_HOSTILE_TEXT, "", "NULL", f"{n}"]
        case sa.LargeBinary():
            return bytes(range(256))
        case sa.DateTime():
            return WHEN - timedelta(days=n, microseconds=n)
        case sa.Integer():
            return n + (1_000 if column.identity is not None else 1)
        case sa.Float():
            return 0.1 + n
        case sa.Numeric():
            return Decimal("123456.789012") + n
        case _:
            return f"{column.name} {n} {_HOSTILE_TEXT}"
