"""``JobQueueManager``: enqueues jobs, and runs the handlers that were registered for them.

The promise: a handler is called for every wake-up and job of its type, at least once; a failing
one is tried again or kept as a dead letter, never dropped; nothing a handler does or raises stops
the worker. This room knows only names and handlers; what a run or a chunk is, it does not know.

The limits: a handler that blocks the event loop blocks its worker. A wake-up that fails is not
repeated from here (its truth is in our tables, and the sweep over them asks again).
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
    """The observer when nobody watches."""


class JobQueueManager:
    """One per process. Register the handlers, then ``run``; enqueueing needs neither."""

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
        """``retry`` gives the delays (not the number) of attempts, ``chance`` draws from [0, 1).

        ``lease_seconds``: how long a job stays with a worker that went silent. ``grace_seconds``:
        how long a stopping worker waits for its handlers. ``observer`` is told every outcome.
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
        """Let ``handler`` serve ``job_type``; a wake-up's payload is ``{"target": target}``."""
        if job_type in self._handlers or job_type == queued_jobs.JOB_TYPE:
            raise ValueError(f"job_type={job_type!r}: has a handler already")
        self._handlers[job_type] = handler

    async def enqueue_job(self, job: Job, conn: Connection | None = None) -> int:
        """Write the job, in ``conn``'s transaction if given; returns its id.

        It is run after the commit by any process that has a worker. A secret in its payload is
        masked: a job names what to work on, and people read it.
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

        ``handled`` is called after each of them, however it ended.
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
        keeping = asyncio.create_task(self._maintain())
        try:
            await worker.serve(stop)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def sweep(self) -> float:
        """Renew leases and sweep once; returns the seconds until it is worth looking again."""
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
        """Finish the wake-ups that died with their workers, wake their targets anew; how many."""
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
        """What the worker calls for every wake-up; raises nothing but a cancellation."""
        try:
            if wakeup.job_type == queued_jobs.JOB_TYPE:
                await self._perform_job(int(wakeup.target))
            else:
                await self._perform_wakeup(wakeup)
        except (DatabaseUnavailable, TransactionConflict) as error:
            # Nothing is lost: the lease runs out, or the sweep over the truth asks again.
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
            # At once it would most likely meet the same rival again.
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
                    stood = await queued_jobs.succeed(conn, job)
                case JobOutcome.DEAD:
                    stood = await queued_jobs.bury(conn, job, error or outcome)
                case JobOutcome.HANDED_BACK:
                    stood = await queued_jobs.postpone(conn, job, delay_seconds=0, failed=False)
                case _:
                    burned = outcome is JobOutcome.FAILED
                    stood = await queued_jobs.postpone(
                        conn, job, delay_seconds=delay, failed=burned
                    )
        self._sweep_now.set()
        self._notify(job.job_type, job.payload, outcome if stood else JobOutcome.LOST, error)

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
            # Nobody stops us: something inside the handler was cancelled, which is its failure.
            raise RuntimeError("the handler was cancelled from within") from error

    async def _wake(self, wakeup: WakeUp) -> None:
        async with self._database.transaction() as conn:
            await wake(conn, [wakeup])

    def _notify(
        self, job_type: str, payload: dict[str, Any], outcome: JobOutcome, error: str | None = None
    ) -> None:
        self._observer(JobEvent(job_type, payload, outcome, error))
