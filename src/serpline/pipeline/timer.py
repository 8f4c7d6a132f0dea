"""The one timer: it sleeps to the earliest ``next_check_at`` and wakes what is due.

It checks every ``take_over_seconds`` at the latest. When this process may have written an earlier
time, ``check_soon`` makes the timer check within ``CHECK_SECONDS``.

Every process may run one; rows are taken with SKIP LOCKED, so they share the work. What it wakes
gets a later next look in the same transaction: if the wake-up is lost, the timer itself comes
back to it. That is the whole sweep. Waits that a clock which was set back has lengthened are cut
(``store.maintenance.clock_steps``).
"""

import asyncio

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.names import JobPriority
from serpline.pipeline.lifeline import Lifeline
from serpline.robustness.ledger import has_orphans, reconcile
from serpline.robustness.limiter import LEASE_SECONDS
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict
from serpline.store.maintenance import clock_steps, housekeeping
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import workers

log = get(__name__)

DUE_MAX = 1000
SLEEP_SECONDS_MIN = 0.05
CHECK_SECONDS = 1.0


class Timer:
    """Wakes runs and chunks that are due, has the dead taken over and their calls accounted for."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        lifeline: Lifeline,
        *,
        check_again_seconds: float,
        take_over_seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lifeline = lifeline
        self._check_again_seconds = check_again_seconds
        self._take_over_seconds = take_over_seconds
        self._took_over_at = float("-inf")
        self._written = asyncio.Event()

    def check_soon(self) -> None:
        """Something may be due earlier than it was at the last look."""
        self._written.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until ``stop`` is set. A database that is away is waited for."""
        while not stop.is_set():
            self._written.clear()
            try:
                seconds = await self.tick()
            except (DatabaseUnavailable, TransactionConflict) as error:
                log.warning("timer.waits", action="timer.waits", error=str(error))
                seconds = CHECK_SECONDS
            await self._sleep(min(seconds, CHECK_SECONDS), stop)
            if seconds > CHECK_SECONDS:
                await self._sleep(seconds - CHECK_SECONDS, stop, self._written)

    async def _sleep(self, seconds: float, *until: asyncio.Event) -> None:
        """Sleep for ``seconds``, or until one of the events."""
        tasks = [asyncio.create_task(event.wait()) for event in until]
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        await asyncio.wait({sleeping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, *tasks):
            task.cancel()

    async def tick(self) -> float:
        """Wake what is due now; returns the seconds to sleep before the next tick."""
        if self._seconds_to_take_over() < SLEEP_SECONDS_MIN:
            self._took_over_at = self._clock.monotonic()
            seconds = await self._take_over()
        else:
            async with self._database.statement() as conn:
                seconds = await workers.seconds_to_next_check(conn)
        if seconds is not None and seconds <= 0:
            seconds = await self._wake_due()
        wait = self._seconds_to_take_over()
        return max(SLEEP_SECONDS_MIN, wait if seconds is None else min(wait, seconds))

    def _seconds_to_take_over(self) -> float:
        return self._took_over_at + self._take_over_seconds - self._clock.monotonic()

    async def _take_over(self) -> float | None:
        """See to the dead and to their calls; returns the seconds until more is due.

        One transaction finds out whether there is anything to do, which is seldom.
        """
        async with self._database.transaction() as conn:
            cut = await clock_steps.correct_waits(
                conn, again_seconds=self._check_again_seconds, lease_seconds=LEASE_SECONDS
            )
            has_dead = await workers.has_dead(conn, self._lifeline.dead_after_seconds)
            orphaned = await has_orphans(conn, self._clock)
            seconds = await workers.seconds_to_next_check(conn)
        if cut:
            log.warning("waits.cut", action="waits.cut", **cut)
        if has_dead:
            await self._lifeline.take_over()
        if has_dead or orphaned:
            await reconcile(self._database, self._clock)
        return seconds

    async def _wake_due(self) -> float | None:
        """Wake it; returns the seconds until more is due, if anything waits."""
        async with self._database.transaction() as conn:
            due_runs = await workers.due_runs(conn, self._check_again_seconds, DUE_MAX)
            due_chunks = await workers.due_chunks(conn, self._check_again_seconds, DUE_MAX)
            due_tasks = await housekeeping.due(conn, self._check_again_seconds)
            await wake(
                conn,
                [WakeUp("run", str(run_id), JobPriority.HIGH) for run_id, _ in due_runs]
                + [WakeUp("chunk", str(cid), JobPriority(p)) for cid, p in due_chunks]
                + [WakeUp("housekeeping", task) for task in due_tasks],
            )
            return await workers.seconds_to_next_check(conn)
