"""The job queue's connection to the database."""

import asyncio

import sqlalchemy as sa
from harness.databases import until_blocked
from harness.waiting import until

from serpline.queueing.connector import PoolConnector
from serpline.store.database import Database
from serpline.store.queue.library import execute, listening

QUERY = "SELECT %(n)s AS n, pg_advisory_xact_lock(1)"


async def test_a_notification_during_a_fetch_is_repeated_after_it(
    db: Database,
) -> None:
    """The library drops notifications that arrive during a fetch."""
    told: asyncio.Queue[str] = asyncio.Queue()
    connector = PoolConnector(db)

    async def on_notification(*, channel: str, payload: str) -> None:
        told.put_nowait(channel)

    async def notify() -> None:
        async with db.transaction() as conn:
            await conn.execute(sa.text("NOTIFY ours"))

    listening = asyncio.create_task(connector.listen_notify(on_notification, ["ours"]))
    async with asyncio.timeout(30), db.session() as holder:
        await told.get()  # of what came before it listened
        await notify()
        await told.get()
        await holder.execute(sa.text("SELECT pg_advisory_lock(1)"))
        fetching = asyncio.create_task(connector.execute_query_one_async(QUERY, n=7))
        await until_blocked(db)
        await notify()
        await told.get()
        assert told.empty()
        await holder.execute(sa.text("SELECT pg_advisory_unlock(1)"))
        assert (await fetching)["n"] == 7
        assert await told.get() == "ours"
    assert told.empty()
    listening.cancel()


async def test_a_listener_whose_session_is_lost_takes_another(db: Database) -> None:
    """It makes the worker fetch, because notifications in between were lost."""
    told: asyncio.Queue[str] = asyncio.Queue()

    async def on_notification(*, channel: str, payload: str) -> None:
        told.put_nowait(channel)

    task = asyncio.create_task(PoolConnector(db).listen_notify(on_notification, ["ours"]))
    async with asyncio.timeout(30):
        await told.get()
        async with db.transaction() as conn:
            sql = "SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN \"ours\"'"
            (pid,) = (await conn.execute(sa.text(sql))).scalars()
            await conn.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        await told.get()
        async with db.transaction() as conn:
            await conn.execute(sa.text("NOTIFY ours"))
        await told.get()
    task.cancel()


async def test_a_silent_listener_tries_its_connection(db: Database) -> None:
    """It does so after ``check_seconds`` without a notification, and continues."""
    heard = listening(db, "ours", 0.05)
    await anext(heard)
    waiting = asyncio.create_task(anext(heard))
    sql = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT 1' AND state = 'idle'"

    async def has_tried() -> bool:
        async with db.transaction() as conn:
            return bool((await conn.execute(sa.text(sql))).all())

    await until(has_tried, "the connection to be tried")
    async with db.transaction() as conn:
        await conn.execute(sa.text("NOTIFY ours"))
    await asyncio.wait_for(waiting, 30)
    await heard.aclose()


async def test_the_library_may_store_an_object(db: Database) -> None:
    """Its task of the 29th of February has arguments, which become JSON."""
    rows = await execute(db, "SELECT %(args)s AS args, 'a' = ANY(%(of)s) AS has", {
        "args": {"timestamp": 1}, "of": ["a", "b"]
    })  # fmt: skip
    assert rows == [{"args": {"timestamp": 1}, "has": True}]
    assert await execute(db, "SET work_mem = '4MB'", {}) == []
