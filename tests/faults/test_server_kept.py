"""The embedded server is started again by whoever works on it."""

import asyncio
import os
import signal
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from harness.scripted import scripted_phases
from harness.waiting import until

from serpline import app
from serpline.core.settings import load
from serpline.store.embedded.files import Layout
from serpline.store.embedded.postmaster import Postmaster
from serpline.store.embedded.server import EmbeddedServer, ensure_server


@pytest.mark.timeout(200)
async def test_a_server_that_was_killed_is_started_again_by_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 of PostgreSQL the worker has it running again, and beats in it."""
    monkeypatch.delenv("SERPLINE_DATABASE_URL", raising=False)
    monkeypatch.setattr(app, "SERVER_CHECK_SECONDS", 0.2)
    server, stop = await asyncio.to_thread(ensure_server, tmp_path / "postgres"), asyncio.Event()
    try:
        settings = load(data_dir=tmp_path, worker_heartbeat_seconds=0.2)
        working = asyncio.create_task(app.run_worker(settings, stop, phases=scripted_phases()))
        try:
            first = await until(lambda: beaten_in(server), "the first heartbeat", seconds=60)
            found = Postmaster.find(Layout.of(server.data_dir))
            assert found is not None
            os.kill(found.pid, signal.SIGKILL)

            async def is_later() -> bool:
                started = await beaten_in(server)
                return started is not None and started > first

            await until(is_later, "a heartbeat in the server that came after", seconds=60)
        finally:
            stop.set()
            await working
    finally:
        await asyncio.to_thread(server.stop)


async def beaten_in(server: EmbeddedServer) -> datetime | None:
    """When the server that answers was started, if a worker's harness has beaten since."""
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
