"""Workers restart the embedded server."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from harness.inline import METRICS, make_harness
from harness.scripted import make_tables, open_gate, scripted_phases
from harness.waiting import until

from serpline.app import server as kept
from serpline.app.worker import run_worker
from serpline.core.settings import load
from serpline.domain.states import ENDED_RUNS
from serpline.store.database import Database
from serpline.store.embedded.files import Layout
from serpline.store.embedded.postmaster import Postmaster
from serpline.store.embedded.server import EmbeddedServer, ensure_server

ITEMS = ["DONE-1", "DONE-2", "GATE-1", "RETRY0-1"]


@pytest.mark.timeout(200)
async def test_a_worker_restarts_a_killed_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 of PostgreSQL the worker restarts it, and finishes its run."""
    monkeypatch.delenv("SERPLINE_DATABASE_URL", raising=False)
    monkeypatch.setattr(kept, "CHECK_SECONDS", 0.2)
    server, stop = await asyncio.to_thread(ensure_server, tmp_path / "postgres"), asyncio.Event()
    try:
        settings = load(data_dir=tmp_path, worker_heartbeat_seconds=0.2)
        working = asyncio.create_task(run_worker(settings, stop, phases=scripted_phases()))
        closing = AsyncExitStack()
        try:
            first = await until(lambda: beaten_in(server), "the first heartbeat", seconds=60)
            database = await Database.connect(server.url())
            closing.push_async_callback(database.close)
            await make_tables(database)
            harness = make_harness(database)
            run_id = await harness.start({METRICS: ITEMS}, lanes=[METRICS])
            await harness.wait_until_attempted("GATE-1")
            found = Postmaster.find(Layout.of(server.data_dir))
            assert found is not None
            os.kill(found.pid, signal.SIGKILL)

            async def is_later() -> bool:
                started = await beaten_in(server)
                return started is not None and started > first

            await until(is_later, "a heartbeat in the server that came after", seconds=60)
            await open_gate(database)

            async def is_over() -> bool:
                return await harness.status(run_id) in ENDED_RUNS

            await until(is_over, "the end of the run", seconds=60)
            assert await harness.status(run_id) == "completed"
            assert await harness.results(run_id) == ITEMS
        finally:
            await closing.aclose()
            stop.set()
            await working
    finally:
        await asyncio.to_thread(server.stop)


async def beaten_in(server: EmbeddedServer) -> datetime | None:
    """When the current server started, if a worker has sent a heartbeat since; else None."""
    sql = (
        "SELECT pg_postmaster_start_time() FROM workers"
        " WHERE heartbeat_at > pg_postmaster_start_time()"
    )
    try:
        async with await psycopg.AsyncConnection.connect(server.conninfo()) as connection:
            row = await (await connection.execute(sql)).fetchone()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return None
    return row[0] if row else None
