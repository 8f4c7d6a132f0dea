"""``JobQueueManager``: enqueue jobs, and run the handlers registered for them.

Every wake-up and job reaches the handler of its type at least once. A failing job is retried or
kept as a dead letter, never dropped. No error of a handler stops the worker. This package knows
names and handlers only, not runs or chunks.

Limits: a handler that blocks the event loop blocks its worker. Failed wake-ups are not retried
here. The state is in our tables, and the timer issues the wake-up again.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from random import SystemRandom
from typing import Any, Final

from serpline.core.logging import described, get, masked
from serpline.domain.retry import RetryStrategy
from serpline.queueing.jobs import Handler, Job, JobEvent, JobOutcome, UnknownJobType
from serpline.queueing.worker import SupervisedWorker
from serpline.store.database import Connection, Database, DatabaseUnavailable, TransactionConflict
from serpline.store.queue import dead_letters
from serpline.store.queue import jobs as queued_jobs
from serpline.store.queue.jobs import Claim
from serpline.store.queue.wakeups import WakeUp, reap_stalled, wake

RETRY: Final = RetryStrategy(max_attempts=100, base_delay=5.0, max_delay=900.0)
CHANCE: Final = SystemRandom()
SWEEP_SECONDS_MAX: Final = 15.0
SWEEP_SECONDS_MIN: Final = 0.05
REAP_SECONDS: Final = 30.0
SWEEP_RETRY_SECONDS: Final = 2.0
CONFLICT_SECONDS_MAX: Final = 1.0

log = get(__name__)


def _ignore(_event: JobEvent) -> None:
    """Ignore the event: the default observer."""


class JobQueueManager:
    """One per process. Register handlers before ``run``; enqueueing needs neither."""

    def __init__(
        self,
        database: Database,
        *,
        retry: RetryStrategy = RETRY,
        lease_seconds: float = 60.0,
        grace_seconds: float = 10.0,
        chance: Callable[[], float] = CHANCE.random,
        observer: Callable[[JobEvent], None] = _ignore,
    ) -> None:
        """``retry`` sets the delays between attempts, not their number. ``chance``: from [0, 1).

        ``lease_seconds``: how long a job stays with a worker that went silent. ``grace_seconds``:
        how long a stopping worker waits for its handlers. ``observer`` receives every outcome.
        """
        self._database = database
        self._retry = retry
        self._lease_seconds = lease_seconds
        self._grace_seconds = grace_seconds
        self._chance = chance
        self._observer = observer
        self._handlers: dict[str, Handler] = {}
        self._held: set[tuple[int, int]] = set()
        self._sweep_now = asyncio.Event()

    def register(self, job_type: str, handler: Handler) -> None:
        """Call ``handler`` for ``job_type``; a wake-up's payload is ``{"target": target}``."""
        if job_type in self._handlers or job_type == queued_jobs.JOB_TYPE:
            raise ValueError(f"job_type={job_type!r}: has a handler already")
        self._handlers[job_type] = handler

    async def enqueue_job(self, job: Job, conn: Connection | None = None) -> int:
        """Store the job, in ``conn``'s transaction if given; return its id.

        After the commit any process with a worker may run it. Secrets in the payload are masked,
        because people read payloads.
        """
        if conn is None:
            async with self._database.transaction() as own:
                return await self.enqueue_job(job, own)
        return await queued_jobs.insert(
            conn,
            job.job_type,
            json.loads(masked(json.dumps(dict(job.payload)))),
            priority=job.priority,
            max_retries=job.max_retries,
        )

    async def run(
        self,
        stop: asyncio.Event,
        concurrency: int,
        handled: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve until ``stop`` is set, at most ``concurrency`` handlers at a time.

        ``handled`` is called after every handler, whatever its outcome.
        """

        async def perform(wakeup: WakeUp) -> None:
            try:
                await self._perform(wakeup)
            finally:
                handled()

        worker = SupervisedWorker(
            self._database,
            perform,
            concurrency=concurrency,
            grace_seconds=self._grace_seconds,
        )
        maintenance = asyncio.create_task(self._maintain())
        try:
            await worker.serve(stop)
        finally:
            maintenance.cancel()
            await asyncio.gather(maintenance, return_exceptions=True)

    async def sweep(self) -> float:
        """Renew leases and wake due jobs once; return the seconds until the next sweep."""
        async with self._database.transaction() as conn:
            if self._held:
                await queued_jobs.renew(conn, sorted(self._held), self._lease_seconds)
            await queued_jobs.sweep(conn)
            due = await queued_jobs.seconds_to_next_check(conn)
        wait = min(
            SWEEP_SECONDS_MAX, self._lease_seconds / 4, SWEEP_SECONDS_MAX if due is None else due
        )
        return max(SWEEP_SECONDS_MIN, wait)

    async def reap_stalled(self) -> int:
        """Replace the wake-ups of dead workers by new ones; return their number."""
        async with self._database.transaction() as conn:
            return await reap_stalled(conn)

    async def _maintain(self) -> None:
        loop = asyncio.get_running_loop()
        reap_at = loop.time()
        while True:
            self._sweep_now.clear()
            wait = SWEEP_RETRY_SECONDS
            try:
                wait = await self.sweep()
                if loop.time() >= reap_at:
                    reap_at = loop.time() + REAP_SECONDS
                    await self.reap_stalled()
            except (DatabaseUnavailable, TransactionConflict) as error:
                log.warning("queue not swept", action="queue_sweep_failed", error=str(error))
            except Exception:
                log.exception("queue not swept", action="queue_sweep_failed")
            # Not ``wait_for``: before Python 3.12 it may lose a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._sweep_now.wait()

    async def _perform(self, wakeup: WakeUp) -> None:
        """Run a wake-up for the worker. Raises nothing but a cancellation."""
        try:
            if wakeup.job_type == queued_jobs.JOB_TYPE:
                await self._perform_job(int(wakeup.target))
            else:
                await self._perform_wakeup(wakeup)
        except (DatabaseUnavailable, TransactionConflict) as error:
            # Nothing is lost: the lease expires, or the timer issues the wake-up again.
            log.warning("not settled", action="job_not_settled", wakeup=wakeup, why=str(error))
        except Exception:
            log.exception("not settled", action="job_not_settled", wakeup=wakeup)

    async def _perform_wakeup(self, wakeup: WakeUp) -> None:
        job_type, payload = wakeup.job_type, {"target": wakeup.target}
        try:
            await self._call(job_type, payload)
        except asyncio.CancelledError:
            await self._wake(wakeup)
            self._notify(job_type, payload, JobOutcome.HANDED_BACK)
            raise
        except TransactionConflict as error:
            # An immediate retry would most likely conflict with the same transaction again.
            try:
                await asyncio.sleep(CONFLICT_SECONDS_MAX * self._chance())
            finally:
                await self._wake(wakeup)
            self._notify(job_type, payload, JobOutcome.POSTPONED, str(error))
        except DatabaseUnavailable as error:
            self._notify(job_type, payload, JobOutcome.POSTPONED, str(error))
        except Exception as error:
            reason = described(error)
            async with self._database.transaction() as conn:
                count = await dead_letters.record_wakeup(conn, wakeup, reason)
            log.exception("wake-up failed", action="wakeup_failed", wakeup=wakeup, count=count)
            self._notify(job_type, payload, JobOutcome.DEAD, reason)
        else:
            self._notify(job_type, payload, JobOutcome.DONE)

    async def _perform_job(self, job_id: int) -> None:
        async with self._database.transaction() as conn:
            job = await queued_jobs.claim(conn, job_id, self._lease_seconds)
        if job is None:
            return
        key = (job.id, job.epoch)
        self._held.add(key)
        try:
            await self._call(job.job_type, job.payload)
        except asyncio.CancelledError:
            await self._settle(job, JobOutcome.HANDED_BACK, None)
            raise
        except (DatabaseUnavailable, TransactionConflict) as error:
            await self._settle(job, JobOutcome.POSTPONED, str(error))
        except Exception as error:
            known = not isinstance(error, UnknownJobType)
            again = known and job.attempts < job.max_retries
            log.exception(
                "job failed",
                action="job_failed",
                job=job.id,
                job_type=job.job_type,
                attempt=job.attempts + 1,
            )
            outcome = JobOutcome.FAILED if again else JobOutcome.DEAD
            await self._settle(job, outcome, described(error))
        else:
            await self._settle(job, JobOutcome.DONE, None)
        finally:
            self._held.discard(key)

    async def _settle(self, job: Claim, outcome: JobOutcome, error: str | None) -> None:
        delay = self._retry.delay_seconds(job.attempts + 1, self._chance)
        async with self._database.transaction() as conn:
            match outcome:
                case JobOutcome.DONE:
                    was_written = await queued_jobs.succeed(conn, job)
                case JobOutcome.DEAD:
                    was_written = await queued_jobs.bury(conn, job, error or outcome)
                case JobOutcome.HANDED_BACK:
                    was_written = await queued_jobs.postpone(
                        conn, job, delay_seconds=0, failed=False
                    )
                case _:
                    failed = outcome is JobOutcome.FAILED
                    was_written = await queued_jobs.postpone(
                        conn, job, delay_seconds=delay, failed=failed
                    )
        self._sweep_now.set()
        self._notify(job.job_type, job.payload, outcome if was_written else JobOutcome.LOST, error)

    async def _call(self, job_type: str, payload: dict[str, Any]) -> None:
        handler = self._handlers.get(job_type)
        if handler is None:
            raise UnknownJobType(f"job_type={job_type!r}: no handler in this process")
        try:
            await handler(payload)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The worker is not stopping: the handler cancelled itself, so it failed.
            raise RuntimeError("the handler was cancelled from within") from error

    async def _wake(self, wakeup: WakeUp) -> None:
        async with self._database.transaction() as conn:
            await wake(conn, [wakeup])

    def _notify(
        self, job_type: str, payload: dict[str, Any], outcome: JobOutcome, error: str | None = None
    ) -> None:
        self._observer(JobEvent(job_type, payload, outcome, error))
