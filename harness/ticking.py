"""A process that ticks schedules at a given instant, many times at once, when it is told to."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

from harness.forks import Fork, enter_fork, forks, preload
from harness.schedules import Schedules, SetClock
from serpline.store.database import Database, TransactionConflict

preload(__name__)


class TickingProcess:
    """The process, seen from the test."""

    def __init__(
        self,
        database_url: str,
        log: Path,
        instant: datetime,
        *,
        ticks: int,
        triggers: int = 0,
        runs_max: int = 100,
    ) -> None:
        """Start it. It will tick and trigger the schedule "s" so often, all at once.

        ``runs_max``: how many scheduled runs may be in progress.
        """
        self._commands, theirs = forks.Pipe()
        self._fork = Fork(_main, {}, log, theirs, database_url, instant, ticks, triggers, runs_max)
        theirs.close()

    async def ready(self) -> None:
        """Wait until it is connected."""
        await asyncio.to_thread(self._commands.recv)

    def begin(self) -> None:
        """Let it tick."""
        self._commands.send("begin")

    async def end(self, seconds: float) -> int:
        """Wait up to ``seconds`` for its end; returns its exit code."""
        try:
            async with asyncio.timeout(seconds):
                return await self._fork.wait()
        finally:
            self._fork.close()
            self._commands.close()


def _main(
    environment: Mapping[str, str],
    log: Path,
    alive: Connection,
    commands: Connection,
    url: str,
    instant: datetime,
    ticks: int,
    triggers: int,
    runs_max: int,
) -> None:
    enter_fork(environment, log, alive)
    asyncio.run(_work(commands, url, instant, ticks, triggers, runs_max))


async def _work(
    commands: Connection, url: str, instant: datetime, ticks: int, triggers: int, runs_max: int
) -> None:
    database = await Database.connect(url, pool_size=8)
    try:
        schedules = Schedules(database, SetClock(instant), runs_max=runs_max)
        await schedules.query("SELECT 1")
        commands.send("ready")
        commands.recv()
        await asyncio.gather(
            *(_tick(schedules) for _ in range(ticks)),
            *(schedules.service.trigger("s") for _ in range(triggers)),
        )
    finally:
        await database.close()


async def _tick(schedules: Schedules) -> None:
    while True:
        try:
            await schedules.tick.run()
            return
        except TransactionConflict:
            continue
