"""Decisions of statements that waited for a lock, under READ COMMITTED.

PostgreSQL reads only the locked row again; it sees every other table as of the statement's start.
Each test locks a row, lets the other side wait for it, and changes other rows.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from harness.inline import METRICS, Harness, open_harness
from harness.waiting import until
from sqlalchemy import text

from serpline.store.calls import reference
from serpline.store.database import Connection, Database
from serpline.store.runs import releases, runs
from serpline.store.runs.chunks import OwnedChunk

SINCE = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


@asynccontextmanager
async def waited_for(
    harness: Harness, act: Callable[[Connection], Awaitable[Any]], *held: tuple[str, dict[str, Any]]
) -> AsyncIterator[asyncio.Task[Any]]:
    """Run ``act`` in its own transaction, which waits for the rows that ``held`` changes."""

    async def other() -> Any:
        async with harness.database.transaction() as conn:
            return await act(conn)

    async def blocked() -> bool:
        found = await harness.one(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        return bool(found)

    async with harness.database.transaction() as holder:
        for statement, values in held:
            await holder.execute(text(statement), values)
        task = asyncio.create_task(other())
        await until(blocked, "the other to wait")
        yield task
    await asyncio.wait({task}, timeout=30)


async def two_chunks(harness: Harness) -> list[int]:
    """Ready chunks of two runs."""
    found = []
    for _ in range(2):
        run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
        found += await harness.plan(run_id)
    return found


@asynccontextmanager
async def owned(harness: Harness, chunk_id: int) -> AsyncIterator[OwnedChunk]:
    """A claimed chunk that no heartbeat gives back."""
    with harness.lifeline.at_work(chunk_id):
        chunk = await harness.claim(chunk_id, harness.lifeline.worker_id)
        assert chunk is not None
        yield chunk


async def test_a_claim_on_reference_data_is_not_stolen(harness: Harness) -> None:
    """A chunk claimed while the other side waited for the row is seen as its owner."""
    first, second = await two_chunks(harness)
    await harness.query(
        "INSERT INTO reference_data (kind, key, claimed_chunk, claimed_epoch)"
        " VALUES ('company', 'a.com', 0, 0)"
    )
    held = "UPDATE reference_data SET claimed_chunk = :chunk, claimed_epoch = 1"
    async with owned(harness, second) as other, AsyncExitStack() as claimed_late:

        async def act(conn: Connection) -> reference.ClaimResult:
            return await reference.claim_missing(
                conn, "company", ["a.com"], SINCE, other.id, other.epoch
            )

        async with waited_for(harness, act, (held, {"chunk": first})) as task:
            mine = await claimed_late.enter_async_context(owned(harness, first))
            assert mine.epoch == 1
        assert task.result() == reference.ClaimResult({}, [], ["a.com"], {}, mine.run_id)


async def test_news_during_a_release_is_not_lost(harness: Harness) -> None:
    """A webhook stored during a chunk's release still makes it due."""
    first, _ = await two_chunks(harness)
    now = harness.clock.now()
    async with owned(harness, first) as chunk:

        async def act(conn: Connection) -> bool:
            return await releases.release(
                conn,
                chunk,
                due_in_seconds=3600,
                now=now,
                loaded_at=now,
                at_once=False,
            )

        look = "UPDATE chunks SET next_check_at = now(), idle_polls = 0 WHERE id = :id"
        async with waited_for(harness, act, (look, {"id": first})) as task:
            pass
    assert task.result() is False
    assert (await harness.chunk(first))["seconds_to_check"] <= 0


async def test_news_during_a_crash_is_not_lost(harness: Harness) -> None:
    """The pause after a crash does not delay it either."""
    first, _ = await two_chunks(harness)
    look = "UPDATE chunks SET next_check_at = now(), idle_polls = 0 WHERE id = :id"
    async with owned(harness, first) as chunk:

        async def act(conn: Connection) -> None:
            await releases.release_crashed(conn, chunk, 600, "a bug")

        async with waited_for(harness, act, (look, {"id": first})):
            pass
    assert (await harness.chunk(first))["seconds_to_check"] <= 0


async def test_advancing_a_run_and_settling_do_not_block_each_other(
    harness: Harness,
) -> None:
    """In either order: a settlement may take seconds, and runs are advanced all the time."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    impatient = text("SET LOCAL lock_timeout = '100ms'")
    write = text(
        "INSERT INTO keyword_metrics (run_id, keyword_id, market, source, fetched_at)"
        " VALUES (:run, :keyword, 'US', 'x', now())"
    )
    async with harness.database.transaction() as writer, harness.database.transaction() as other:
        await writer.execute(write, {"run": run_id, "keyword": 1})
        await other.execute(impatient)
        assert await runs.lock(other, run_id) is not None
        await writer.execute(impatient)
        await writer.execute(write, {"run": run_id, "keyword": 2})
