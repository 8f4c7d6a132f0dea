"""Read the results: the one seam for the command line, exports and Python.

A row class names its view (``domain.results``). All runs are read from the view itself. One run is
read by the view's own statement with the run's sources as values, so that hash joins
(``hash_joins``) read no other run.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import TextClause, text

from serpline.domain.results import (
    ROWS,
    Company,
    Figure,
    Keyword,
    Ranking,
    Row,
    Run,
    Serp,
    ShareOfVoice,
    Slot,
    Spending,
    columns_of,
)
from serpline.store.database import Connection
from serpline.store.frames import FieldKinds, stream_frames
from serpline.store.hash_joins import ROWS_AT_ONCE, hash_joins_only, lookups_by_key
from serpline.store.results.selection import EVERYTHING, Selection, conditions
from serpline.store.runs.runs import source_runs
from serpline.store.tables.views import GIVEN, SCHEMA, STATEMENTS

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ROWS",
    "Company",
    "Figure",
    "Keyword",
    "Ranking",
    "Row",
    "Run",
    "Selection",
    "Serp",
    "ShareOfVoice",
    "Slot",
    "Spending",
    "allow_idle",
    "columns_of",
    "count",
    "frame",
    "frames",
    "latest_run",
    "stream",
]

R = TypeVar("R", bound=Row)

# Their statements join a whole run's rows.
_JOINED: Final = frozenset({Ranking, Serp, Figure, ShareOfVoice, Spending})
_PLACE: Final = ("run_id", "content_type", "market", "device")


@dataclass(frozen=True, slots=True)
class _Query:
    statement: TextClause
    values: dict[str, Any]
    is_joined: bool


async def stream(
    conn: Connection,
    row: type[R],
    selection: Selection = EVERYTHING,
    *,
    order: Sequence[str] | None = None,
    limit: int | None = None,
    per_place: int | None = None,
) -> AsyncGenerator[R, None]:
    """Yield rows lazily.

    ``order``: names of columns, the highest first after a minus; unknown values come last. None: in
    no order, which costs no sort. ``row.ORDER`` is the usual one. ``per_place``: at most so many
    rows of each run, content type, market and device, the first in this order. Raises
    ``UserError`` for a filter of something that the view does not have.
    """
    query = await _query(conn, row, selection, order, limit, per_place)
    lists = [n for n, each in enumerate(columns_of(row)) if each.type is tuple]
    async with _planned(conn, query):
        rows = await conn.stream(
            query.statement, query.values, execution_options={"yield_per": ROWS_AT_ONCE}
        )
        try:
            # By portions: to wait for each row costs more than to read it.
            async for portion in rows.partitions():
                for found in portion:
                    values = list(found)
                    for n in lists:
                        values[n] = tuple(values[n])
                    yield row(*values)
        finally:
            await rows.close()


async def frames(
    conn: Connection,
    row: type[Row],
    selection: Selection = EVERYTHING,
    *,
    order: Sequence[str] | None = None,
    limit: int | None = None,
) -> "AsyncGenerator[pl.DataFrame, None]":
    """Yield the rows as frames of a few MB, without Python objects per value; one at least.

    The types are polars': a run's id and a JSON document are texts, times are in UTC.
    """
    query = await _query(conn, row, selection, order, limit, None)
    kinds: FieldKinds = {each.name: each.type for each in columns_of(row)}
    async with (
        _planned(conn, query),
        aclosing(stream_frames(conn, query.statement, query.values, kinds)) as found,
    ):
        async for each in found:
            yield each


async def frame(
    conn: Connection,
    row: type[Row],
    selection: Selection = EVERYTHING,
    *,
    order: Sequence[str] | None = None,
    limit: int | None = None,
) -> "pl.DataFrame":
    """Return the rows as one frame (``frames``)."""
    import polars as pl  # imported late: it slows a worker's start

    async with aclosing(frames(conn, row, selection, order=order, limit=limit)) as found:
        return pl.concat([each async for each in found], rechunk=True)


async def allow_idle(conn: Connection) -> None:
    """Let the transaction be idle as long as it likes, while its reader writes a file."""
    await conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


async def count(conn: Connection, row: type[Row], selection: Selection, *, at_most: int) -> int:
    """Count the rows, or ``at_most`` if there are as many."""
    query = await _query(conn, row, selection, None, at_most, None)
    statement = text(f"SELECT count(*) FROM ({query.statement.text}) counted")
    async with _planned(conn, query):
        return int((await conn.execute(statement, query.values)).scalar_one())


async def latest_run(
    conn: Connection, row: type[Row], selection: Selection = EVERYTHING
) -> UUID | None:
    """Return the newest run with rows for the selection, or its ``run_id``; None: there is none.

    A search that was not collected is no such row.
    """
    if row is Ranking and not (selection.companies or selection.relations):
        row = Serp  # as soon, with fewer joins
    where, values = conditions(row, selection)
    where += [condition for condition in (row.FOUND,) if condition]
    # LIMIT ends the lookup of a run at its first row, and the whole at the first run that has one.
    statement = f"""
        SELECT r.id FROM pipeline_executions r, LATERAL (
            SELECT FROM {SCHEMA}.{row.VIEW} WHERE {" AND ".join(["run_id = r.id", *where])} LIMIT 1
        ) found WHERE r.expired_at IS NULL ORDER BY r.created_at DESC, r.id LIMIT 1
    """
    return (await conn.execute(text(statement), values)).scalar()


async def _query(
    conn: Connection,
    row: type[Row],
    selection: Selection,
    order: Sequence[str] | None,
    limit: int | None,
    per_place: int | None,
) -> _Query:
    where, values = conditions(row, selection)
    source = f"{SCHEMA}.{row.VIEW}"
    if selection.run_id is not None and row in _JOINED:
        source = f"({STATEMENTS[row](GIVEN)})"
        values |= await source_runs(conn, selection.run_id)
    names = ", ".join(each.name for each in columns_of(row))
    ordered = _ordered(row, order)
    statement = f"SELECT {names} FROM {source} v"
    if where:
        statement += f" WHERE {' AND '.join(where)}"
    if per_place is not None:
        numbered = f"row_number() OVER (PARTITION BY {', '.join(_PLACE)}{ordered}) AS place"
        statement = statement.replace(" FROM", f", {numbered} FROM", 1)
        statement = f"SELECT {names} FROM ({statement}) n WHERE place <= :per_place"
        values["per_place"] = per_place
    statement += ordered
    if limit is not None:
        statement += " LIMIT :limit"
        values["limit"] = limit
    # Of all runs, indexes find the few rows of one keyword, and the figures of a company.
    has_few = selection.keyword is not None or bool(selection.companies and row is not Ranking)
    is_whole = selection.run_id is not None or not has_few
    return _Query(text(statement), values, row in _JOINED and is_whole)


def _ordered(row: type[Row], order: Sequence[str] | None) -> str:
    if not order:
        return ""
    known = {each.name for each in columns_of(row)}
    keys = []
    for given in order:
        name = given.removeprefix("-")
        if name not in known:
            raise ValueError(f"order by {name}: {row.VIEW} has no such column")
        keys.append(f"{name} {'DESC' if given != name else 'ASC'} NULLS LAST")
    return f" ORDER BY {', '.join(keys)}"


def _planned(conn: Connection, query: _Query) -> AbstractAsyncContextManager[None]:
    return hash_joins_only(conn) if query.is_joined else lookups_by_key(conn)
