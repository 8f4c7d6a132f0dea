"""The timer: it sleeps until the earliest ``next_check_at`` and wakes everything that is due.

It checks every ``take_over_seconds`` at the latest. When this process may have written an earlier
time, ``check_soon`` makes the timer check within ``CHECK_SECONDS``.

Every process may run a timer; they take rows with SKIP LOCKED and so share the work. Each wake-up
sets a later check in the same transaction, so if it is lost, the timer wakes the same row again. No
other sweep is needed. If a clock was set back, the waits it lengthened are shortened
(``store.maintenance.clock_steps``).

It also runs the tick of the schedules when that has work. It asks with every take-over, in the same
transaction, so that an idle process makes no transaction for its schedules alone.
"""

import asyncio
from typing import Protocol

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.names import JobPriority
from serpline.pipeline.lifeline import Lifeline
from serpline.robustness.ledger import has_orphans, reconcile
from serpline.robustness.limiter import LEASE_SECONDS
from serpline.store.database import (
    Connection,
    Database,
    DatabaseUnavailable,
    TransactionConflict,
)
from serpline.store.maintenance import clock_steps, housekeeping
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import workers

log = get(__name__)

DUE_MAX = 1000
SLEEP_SECONDS_MIN = 0.05
CHECK_SECONDS = 1.0


class ScheduleTick(Protocol):
    """Decides and starts the slots of the schedules."""

    async def due_in(self, conn: Connection) -> float | None:
        """Return the seconds until ``run`` has work: 0 if it has now, None if it never has."""
        ...

    async def run(self) -> float | None:
        """Do what is due; return the seconds until more is, None if nothing will be."""
        ...


class Timer:
    """Wake due runs and chunks; take over dead workers and reconcile their calls."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        lifeline: Lifeline,
        *,
        check_again_seconds: float,
        take_over_seconds: float,
        schedules: ScheduleTick | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lifeline = lifeline
        self._check_again_seconds = check_again_seconds
        self._take_over_seconds = take_over_seconds
        self._schedules = schedules
        self._took_over_at = float("-inf")
        self._schedules_due_at = float("inf")
        self._check_requested = asyncio.Event()

    def check_soon(self) -> None:
        """Check soon: something may be due earlier than at the last check."""
        self._check_requested.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until ``stop`` is set. Keeps trying while the database is unavailable."""
        while not stop.is_set():
            self._check_requested.clear()
            try:
                seconds = await self.tick()
            except (DatabaseUnavailable, TransactionConflict) as error:
                log.warning("timer.waits", action="timer.waits", error=str(error))
                seconds = CHECK_SECONDS
            await self._sleep(min(seconds, CHECK_SECONDS), stop)
            if seconds > CHECK_SECONDS:
                await self._sleep(seconds - CHECK_SECONDS, stop, self._check_requested)

    async def _sleep(self, seconds: float, *until: asyncio.Event) -> None:
        """Sleep for ``seconds`` or until one of the events is set."""
        tasks = [asyncio.create_task(event.wait()) for event in until]
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        await asyncio.wait({sleeping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, *tasks):
            task.cancel()

    async def tick(self) -> float:
        """Wake everything that is due; return the seconds to sleep before the next tick."""
        if self._seconds_to_take_over() < SLEEP_SECONDS_MIN:
            self._took_over_at = self._clock.monotonic()
            seconds = await self._take_over()
        else:
            async with self._database.statement() as conn:
                seconds = await workers.seconds_to_next_check(conn)
        if self._seconds_to_schedules() <= 0:
            await self._run_schedules()
        if seconds is not None and seconds <= 0:
            seconds = await self._wake_due()
        wait = min(self._seconds_to_take_over(), self._seconds_to_schedules())
        return max(SLEEP_SECONDS_MIN, wait if seconds is None else min(wait, seconds))

    async def _ask_schedules(self, conn: Connection) -> None:
        """Ask when the tick of the schedules has work."""
        if self._schedules is None:
            return
        try:
            async with conn.begin_nested():
                self._await_schedules(await self._schedules.due_in(conn))
        except Exception:
            if conn.invalidated:
                raise
            # The savepoint keeps the rest of the transaction.
            log.exception("schedules.error", action="schedules.error")

    async def _run_schedules(self) -> None:
        """Run the tick of the schedules."""
        assert self._schedules is not None
        self._await_schedules(None)
        try:
            self._await_schedules(await self._schedules.run())
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except Exception:
            # Runs in progress go on, whatever is wrong with the schedules.
            log.exception("schedules.error", action="schedules.error")

    def _await_schedules(self, seconds: float | None) -> None:
        wait = float("inf") if seconds is None else seconds
        self._schedules_due_at = self._clock.monotonic() + wait

    def _seconds_to_schedules(self) -> float:
        return self._schedules_due_at - self._clock.monotonic()

    def _seconds_to_take_over(self) -> float:
        return self._took_over_at + self._take_over_seconds - self._clock.monotonic()

    async def _take_over(self) -> float | None:
        """Take over dead workers and reconcile their calls; return the seconds until more is due.

        One transaction checks whether there is anything to do; there seldom is.
        """
        async with self._database.transaction() as conn:
            cut = await clock_steps.correct_waits(
                conn, again_seconds=self._check_again_seconds, lease_seconds=LEASE_SECONDS
            )
            has_dead = await workers.has_dead(conn, self._lifeline.dead_after_seconds)
            has_orphaned_calls = await has_orphans(conn, self._clock)
            seconds = await workers.seconds_to_next_check(conn)
            await self._ask_schedules(conn)
        if cut:
            log.warning("waits.cut", action="waits.cut", **cut)
        if has_dead:
            await self._lifeline.take_over()
        if has_dead or has_orphaned_calls:
            await reconcile(self._database, self._clock)
        return seconds

    async def _wake_due(self) -> float | None:
        """Wake due rows; return the seconds until more is due, or None if nothing waits."""
        async with self._database.transaction() as conn:
            due_runs = await workers.due_runs(conn, self._check_again_seconds, DUE_MAX)
            due_chunks = await workers.due_chunks(conn, self._check_again_seconds, DUE_MAX)
            due_tasks = await housekeeping.due(conn, self._check_again_seconds)
            await wake(
                conn,
                [WakeUp("run", str(run_id), JobPriority.HIGH) for run_id in due_runs]
                + [WakeUp("chunk", str(cid), JobPriority(p)) for cid, p in due_chunks]
                + [WakeUp("housekeeping", task) for task in due_tasks],
            )
            return await workers.seconds_to_next_check(conn)
