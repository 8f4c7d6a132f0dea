"""Retention: deleting what has been kept long enough. ``docs/retention.md`` says what and why.

The promise: nothing of a run that has not ended is deleted, not even if it is retried at this very
moment: a run's row is locked while something of it goes. Results, chunks and provider batches are
never deleted, so figures, progress and credits by batch stay. Work is cut into short transactions,
so nobody waits for long, and a prune that was stopped is simply run again. Two at once are fine.

How: items go chunk by chunk, run by run. Any other table is walked once, in windows of its pages,
whatever is in it and without an index on its age: each window is one transaction.

The limits: ages are whole days before ``now``. Freed room is PostgreSQL's to reuse; files do not
shrink. A run whose items are gone cannot be retried (``pruned_lanes``): what it has bought is no
longer known item by item.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa

from serpline.domain.states import ENDED_RUNS
from serpline.store.database import Connection, Database, TransactionConflict
from serpline.store.retention import RULES, Retention, Rule

T = TypeVar("T")

Progress = Callable[[str, int], None]
"""Called with a table's name and the rows that went (or would go) when the table is finished."""

# A window is 1 MB: a few thousand rows of any table, 40,000 of the smallest rows there can be.
WINDOW_PAGES: Final = 128
ITEMS_MAX: Final = 10_000
CONFLICTS_MAX: Final = 5

_ENDED: Final = [str(status) for status in ENDED_RUNS]

PRUNED_TABLES: Final = ("items", *(rule.table for rule in RULES))


async def prune(
    database: Database,
    retention: Retention,
    *,
    now: datetime,
    dry_run: bool = False,
    progress: Progress | None = None,
    window_pages: int = WINDOW_PAGES,
    items_max: int = ITEMS_MAX,
) -> dict[str, int]:
    """Delete what is past its days; returns the rows that went, by table.

    With ``dry_run`` nothing goes, and the answer is what would. ``window_pages`` and ``items_max``
    bound a transaction; a chunk's items go together, so one chunk may exceed the latter. Raises
    ``UserError``, with nothing deleted, if a run counts on reference data for longer than it stays.
    """
    async with database.transaction() as conn:
        longest_ttl = (await conn.execute(_LONGEST_TTL)).scalar_one()
    retention.check_reference(longest_ttl or 0)
    cutoffs = {
        each.name: now - timedelta(days=getattr(retention, each.name)) for each in fields(retention)
    }
    gone: dict[str, int] = {}
    gone["items"] = await (
        _count_items(database, cutoffs["items_days"])
        if dry_run
        else _prune_items(database, cutoffs["items_days"], items_max)
    )
    if progress is not None:
        progress("items", gone["items"])
    for rule in RULES:
        gone[rule.table] = await (
            _count(database, rule, cutoffs[rule.days])
            if dry_run
            else _prune_table(database, rule, cutoffs[rule.days], window_pages)
        )
        if progress is not None:
            progress(rule.table, gone[rule.table])
    return gone


async def pruned_lanes(conn: Connection, run_id: UUID) -> set[int]:
    """The ids of the run's lanes that had items which are gone: such a lane cannot be retried.

    Planned anew, it would buy again what it has. (A lane that computes loses nothing by it.)
    """
    rows = await conn.execute(
        sa.text(
            "SELECT DISTINCT c.lane_id FROM chunks c WHERE c.run_id = :run AND c.planned > 0"
            " AND NOT EXISTS (SELECT FROM items i"
            " WHERE i.lane_id = c.lane_id AND i.chunk_no = c.no)"
        ),
        {"run": run_id},
    )
    return {row.lane_id for row in rows}


# Of ended runs too: the next one of its kind, or its own retry, counts on as much.
_LONGEST_TTL: Final = sa.text(
    "SELECT max((config ->> 'reference_ttl_days')::int) FROM pipeline_executions"
)
_OLD_RUN: Final = "r.status = ANY(:ended) AND r.completed_at < :cutoff"
_RUNS_WITH_ITEMS: Final = sa.text(
    f"SELECT r.id FROM pipeline_executions r WHERE {_OLD_RUN} AND EXISTS (SELECT FROM items i"
    " JOIN pipeline_phase_status l ON l.id = i.lane_id WHERE l.pipeline_execution_id = r.id)"
    " ORDER BY r.completed_at, r.id"
)
_COUNT_ITEMS: Final = sa.text(
    "SELECT count(*) FROM items i JOIN pipeline_phase_status l ON l.id = i.lane_id"
    f" JOIN pipeline_executions r ON r.id = l.pipeline_execution_id WHERE {_OLD_RUN}"
)
_CHUNKS: Final = sa.text(
    "SELECT lane_id, no, planned FROM chunks WHERE run_id = :run ORDER BY lane_id, no"
)
_HOLD_RUN: Final = sa.text(
    f"SELECT r.id FROM pipeline_executions r WHERE r.id = :run AND {_OLD_RUN} FOR SHARE"
)
_DELETE_ITEMS: Final = sa.text(
    "DELETE FROM items i USING unnest(CAST(:lanes AS bigint[]), CAST(:nos AS int[]))"
    " AS u(lane_id, no) WHERE i.lane_id = u.lane_id AND i.chunk_no = u.no"
)


async def _count_items(database: Database, cutoff: datetime) -> int:
    async with database.transaction() as conn:
        found = await conn.execute(_COUNT_ITEMS, {"ended": _ENDED, "cutoff": cutoff})
        return int(found.scalar_one())


async def _prune_items(database: Database, cutoff: datetime, items_max: int) -> int:
    values = {"ended": _ENDED, "cutoff": cutoff}
    async with database.transaction() as conn:
        runs = list((await conn.execute(_RUNS_WITH_ITEMS, values)).scalars())
    gone = 0
    for run_id in runs:
        async for batch in _batches(database, run_id, items_max):
            chosen = {"lanes": [lane for lane, _ in batch], "nos": [no for _, no in batch]}
            delete = partial(_delete_items, values={**values, **chosen, "run": run_id})
            deleted = await _transaction(database, delete)
            if deleted is None:
                break
            gone += deleted
    return gone


async def _delete_items(conn: Connection, values: Mapping[str, Any]) -> int | None:
    """Delete the items of some chunks; None if the run is no longer an old, ended one."""
    if (await conn.execute(_HOLD_RUN, values)).first() is None:
        return None
    return (await conn.execute(_DELETE_ITEMS, values)).rowcount


async def _batches(
    database: Database, run_id: UUID, items_max: int
) -> AsyncGenerator[list[tuple[int, int]], None]:
    """The run's chunks, (lane, number), in groups of about ``items_max`` items."""
    async with database.transaction() as conn:
        chunks = (await conn.execute(_CHUNKS, {"run": run_id})).all()
    batch: list[tuple[int, int]] = []
    size = 0
    for chunk in chunks:
        if batch and size + chunk.planned > items_max:
            yield batch
            batch, size = [], 0
        batch.append((chunk.lane_id, chunk.no))
        size += chunk.planned
    if batch:
        yield batch


async def _count(database: Database, rule: Rule, cutoff: datetime) -> int:
    ended = ""
    if rule.run is not None:
        ended = (
            " AND NOT EXISTS (SELECT FROM pipeline_executions r"
            f" WHERE r.id = {rule.run} AND r.status <> ALL(:ended))"
        )
    statement = f"SELECT count(*) FROM {rule.table} t WHERE {rule.old}{ended}"
    async with database.transaction() as conn:
        found = await conn.execute(sa.text(statement), {"cutoff": cutoff, "ended": _ENDED})
        return int(found.scalar_one())


async def _prune_table(database: Database, rule: Rule, cutoff: datetime, window_pages: int) -> int:
    pages = sa.text(
        "SELECT pg_relation_size(CAST(:table AS regclass)) / current_setting('block_size')::int"
    )
    async with database.transaction() as conn:
        total = int((await conn.execute(pages, {"table": rule.table})).scalar_one())
    gone = 0
    for first in range(0, total, window_pages):
        values = {
            "cutoff": cutoff,
            "ended": _ENDED,
            "low": f"({first},0)",
            "high": f"({first + window_pages},0)",
        }
        gone += await _transaction(database, partial(_prune_window, rule=rule, values=values))
    return gone


WINDOW: Final = "t.ctid >= CAST(:low AS tid) AND t.ctid < CAST(:high AS tid)"


async def _prune_window(conn: Connection, rule: Rule, values: Mapping[str, Any]) -> int:
    """Delete the old rows of one window. First the runs are held, then the rows are judged."""
    where = f"{WINDOW} AND {rule.old}"
    if rule.run is None:
        # Judged again once they are locked: a claim of reference data that was made in between
        # is seen by the second statement only.
        lock = f"SELECT t.ctid FROM {rule.table} t WHERE {where} FOR UPDATE SKIP LOCKED"
        locked = (await conn.execute(sa.text(lock), values)).scalars().all()
        if not locked:
            return 0
        delete = (
            f"DELETE FROM {rule.table} t WHERE t.ctid = ANY(CAST(:locked AS tid[])) AND {where}"
        )
        return (await conn.execute(sa.text(delete), {**values, "locked": list(locked)})).rowcount
    found = await conn.execute(
        sa.text(f"SELECT DISTINCT {rule.run} AS run_id FROM {rule.table} t WHERE {where}"), values
    )
    runs = list(found.scalars())
    if not runs:
        return 0
    free = await _hold_ended(conn, [run_id for run_id in runs if run_id is not None])
    delete = (
        f"DELETE FROM {rule.table} t WHERE {where}"
        f" AND ({rule.run} IS NULL OR {rule.run} = ANY(CAST(:free AS uuid[])))"
    )
    return (await conn.execute(sa.text(delete), {**values, "free": free})).rowcount


async def _hold_ended(conn: Connection, runs: Sequence[UUID]) -> list[UUID]:
    """Those of ``runs`` that have ended, their rows locked against a retry, or are not there."""
    if not runs:
        return []
    rows = await conn.execute(
        sa.text(
            "SELECT id FROM pipeline_executions WHERE id = ANY(:runs) AND status = ANY(:ended)"
            " ORDER BY id FOR SHARE SKIP LOCKED"
        ),
        {"runs": list(runs), "ended": _ENDED},
    )
    held = list(rows.scalars())
    known = await conn.execute(
        sa.text("SELECT id FROM pipeline_executions WHERE id = ANY(:runs)"), {"runs": list(runs)}
    )
    return [*held, *(set(runs) - set(known.scalars()))]


async def _transaction(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    """One transaction, again if PostgreSQL undid it in favour of another."""
    for _ in range(CONFLICTS_MAX - 1):
        try:
            async with database.transaction() as conn:
                return await work(conn)
        except TransactionConflict:
            continue
    async with database.transaction() as conn:
        return await work(conn)
