"""A process that is told to end does so in time, whatever hangs. No work is lost."""

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.forks import Fork, enter_fork
from harness.scripted_workers import QUICK, ScriptedWorkers, scripted_workers
from harness.waiting import until

from serpline.cli.processes import END_SECONDS_MAX, end_seconds, until_stopped
from serpline.cli.supervise import GRACE_SECONDS
from serpline.core.settings import load
from serpline.net.dialer import SystemResolver
from serpline.store.database import Database
from serpline.store.embedded.files import Layout
from serpline.store.embedded.postmaster import Postmaster
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.migrate import migrate

# Of QUICK: one second of grace, and what may follow it.
DEADLINE_SECONDS = 9.0
SPARE_SECONDS = 5.0


@pytest.fixture
async def workers(own_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[ScriptedWorkers]:
    """Over a server that the test may freeze."""
    logs = tmp_path / "logs"
    logs.mkdir()
    database = await Database.connect(own_server.url())
    try:
        await migrate(database)
        async with scripted_workers(database, own_server.url(), logs, **QUICK) as made:
            yield made
    finally:
        await database.close()


@contextmanager
def frozen(server: EmbeddedServer) -> Iterator[None]:
    """Suspend the server and all its sessions: connections stay open and nothing answers."""
    postmaster = Postmaster.find(Layout.of(server.data_dir))
    assert postmaster is not None
    first = psutil.Process(postmaster.pid)
    first.suspend()
    rest = first.children(recursive=True)
    try:
        for process in rest:
            process.suspend()
        yield
    finally:
        for process in (*rest, first):
            process.resume()


@pytest.mark.timeout(120)
async def test_a_database_that_does_not_answer_keeps_no_worker(
    workers: ScriptedWorkers, own_server: EmbeddedServer
) -> None:
    """SIGTERM while the server is suspended: the worker ends at its deadline and logs so once."""
    run_id = await workers.run("DONE-1", "HANG-2", "RETRY0-3")
    ending = await workers.start()
    await workers.harness.wait_until_attempted("HANG-2")
    with frozen(own_server):
        ending.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_SECONDS + SPARE_SECONDS):
            assert await ending.wait() == 0
    assert workers.pool.logs().count("action=process.abandoned") == 1, workers.pool.logs()
    assert "Traceback" not in workers.pool.logs()
    await workers.start()
    assert await workers.wait_for_end(run_id) == "completed"
    assert await workers.harness.results(run_id) == ["DONE-1", "HANG-2", "RETRY0-3"]


async def _look_up(seconds: float) -> None:
    def hang(*_: Any, **__: Any) -> Any:
        print("looking up", flush=True)
        threading.Event().wait()

    socket.getaddrinfo = hang
    resolver = SystemResolver(1)
    async with until_stopped(ends_within=seconds) as stop:
        looking = asyncio.create_task(resolver("example.org"))
        await stop.wait()
        looking.cancel()
        resolver.close()
    print("all is closed", flush=True)


def be_hung(environment: Mapping[str, str], log: Path, alive: Connection, seconds: float) -> None:
    """A process with a look-up that never ends."""
    enter_fork(environment, log, alive)
    asyncio.run(_look_up(seconds))


async def test_a_look_up_that_hangs_keeps_no_process(tmp_path: Path) -> None:
    """The interpreter waits for its executors' threads; the deadline does not."""
    log = tmp_path / "log"
    process = Fork(be_hung, {}, log, 1.0)
    try:

        async def hangs() -> bool:
            return log.exists() and "looking up" in log.read_text()

        await until(hangs, "the look-up")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SPARE_SECONDS):
            assert await process.wait() == 0
    finally:
        process.close()
    assert "all is closed" in log.read_text()
    assert log.read_text().count("action=process.abandoned") == 1


@pytest.mark.parametrize(("grace", "seconds"), [(0, 8), (20, 28), (25, END_SECONDS_MAX)])
def test_the_deadline_comes_before_a_kill(grace: float, seconds: float) -> None:
    """For every grace, a process ends before its supervisor would kill it."""
    assert end_seconds(load(shutdown_grace_seconds=grace)) == seconds < GRACE_SECONDS
