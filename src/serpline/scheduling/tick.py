"""The tick: whatever is due and has no outcome gets one, whoever looks, after whatever happened.

Its portions work in short transactions with a constant number of statements: ``deciding`` gives
instants that have passed their slots, ``following`` notes how content types and runs ended,
``starting`` starts due slots, and ``backfilling`` works backfills off. Start-up, a change of the
clock, a suspended machine and a daylight change are no special cases: there is only the cursor of
each schedule and the present instant.

Any number of processes may tick at any time. A process that dies leaves its transaction undone, and
the next tick of any process does the same work.
"""

import asyncio
from contextlib import suppress
from datetime import datetime

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.pipeline.service import PipelineService
from serpline.scheduling.backfilling import Backfiller
from serpline.scheduling.deciding import decide_due
from serpline.scheduling.following import follow_runs, watch_freshness
from serpline.scheduling.starting import Starter
from serpline.store.database import (
    Connection,
    Database,
    DatabaseUnavailable,
    TransactionConflict,
)
from serpline.store.schedules.pending import pending_work

CHECK_SECONDS_MAX = 5.0
RETRY_SECONDS = 1.0

log = get(__name__)


class ScheduleTick:
    """Decides and starts the slots of all schedules."""

    def __init__(
        self, database: Database, pipeline: PipelineService, clock: Clock, *, runs_max: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._starter = Starter(database, pipeline, runs_max)
        self._backfiller = Backfiller(database, pipeline)

    async def run(self) -> float | None:
        """Do what is due now; return the seconds until more is due, or None if nothing will be.

        A run's end and a free place for a run are found by the next call, whenever that is. Raises
        ``DatabaseUnavailable`` and ``TransactionConflict``; the next call goes on.
        """
        return await self.run_at(self._clock.now())

    async def due_in(self, conn: Connection) -> float | None:
        """Return the seconds until ``run`` has work: 0 if it has now, None if it never has."""
        now = self._clock.now()
        work = await pending_work(conn, now)
        return 0.0 if work.is_any else work.seconds_from(now)

    async def keep_running(self, stop: asyncio.Event) -> None:
        """Tick until ``stop`` is set. Keeps trying while the database is unavailable."""
        while not stop.is_set():
            try:
                due_in = await self.run()
                seconds = CHECK_SECONDS_MAX if due_in is None else min(due_in, CHECK_SECONDS_MAX)
            except (DatabaseUnavailable, TransactionConflict) as error:
                log.warning("scheduler.waits", action="scheduler.waits", error=str(error))
                seconds = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stop.wait()

    async def run_at(self, now: datetime) -> float | None:
        """Do what is due at ``now``; see ``run``."""
        async with self._database.statement() as conn:
            work = await pending_work(conn, now)
        if work.has_instants:
            await self._decide(now)
        # It may pause a content type, which applies to later instants only.
        if work.has_results:
            await follow_runs(self._database, now)
        if work.has_due_slots or work.has_instants:
            await self._starter.start_all(now)
        if work.has_stale:
            await watch_freshness(self._database, now)
        if work.has_backfills:
            await self._backfiller.advance(now)
        if work.is_any:
            async with self._database.statement() as conn:
                work = await pending_work(conn, now)
        return work.seconds_from(now)

    async def _decide(self, now: datetime) -> None:
        while True:
            async with self._database.transaction() as conn:
                if not await decide_due(conn, now):
                    return
