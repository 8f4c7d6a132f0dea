"""A supervised Procrastinate worker: it survives database outages and stops on request.

While ``serve`` runs, waiting wake-ups are performed, and within seconds after PostgreSQL restarts.
When a worker ends (by an exception, or by returning because one of its side tasks died), a new one
replaces it.

Procrastinate watches its side tasks only if a periodic task exists, so there is one for 29
February; otherwise a listener that died with the server would go unnoticed. Polling finds wake-ups
that a silent network kept from the listener. Finished jobs are deleted, because our tables hold the
same facts.

Handlers run in tasks of this module, not of the Procrastinate worker. Any cut connection may end
that worker, and this must not abort work that has been paid for.

Limit: on a stop, running handlers have ``grace_seconds`` to end and are then cancelled.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import procrastinate
from procrastinate.worker import Worker

from serpline.core.logging import get
from serpline.queueing.connector import PoolConnector
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict
from serpline.store.queue.wakeups import QUEUE, STALLED_SECONDS, TASK, WakeUp, priority_of

Perform = Callable[[WakeUp], Awaitable[None]]

POLL_SECONDS: Final = 10.0
RESTART_SECONDS: Final = 0.5
RESTART_SECONDS_MAX: Final = 5.0
# A worker that ran this long resets the restart delay.
SETTLED_SECONDS: Final = 30.0

log = get(__name__)


class _StatesInOneLine(logging.Filter):
    """Removes the library's tracebacks, of hundreds of lines, from states of the database."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record; its message has the reason."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, DatabaseUnavailable | TransactionConflict):
            record.exc_info = None
        return True


# asyncio's: the library leaves the task of a job whose end it could not store.
for _name in (f"procrastinate.worker.{QUEUE}", "procrastinate.utils", "asyncio"):
    logging.getLogger(_name).addFilter(_StatesInOneLine())


class SupervisedWorker:
    """Serve our queue with one Procrastinate worker after another."""

    def __init__(
        self,
        database: Database,
        perform: Perform,
        *,
        concurrency: int,
        grace_seconds: float,
    ) -> None:
        """``perform(wakeup)`` must raise nothing but a cancellation."""
        self._database = database
        self._perform = perform
        self._concurrency = concurrency
        self._grace_seconds = grace_seconds
        # Handlers that outlived their worker still hold a slot.
        self._slots = asyncio.Semaphore(concurrency)
        self._handlers: set[asyncio.Task[None]] = set()

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then give running handlers the grace period to end."""
        pause = RESTART_SECONDS
        loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                started = loop.time()
                await self._run_worker_until(stopping)
                if stop.is_set():
                    return
                if loop.time() - started > SETTLED_SECONDS:
                    pause = RESTART_SECONDS
                await asyncio.wait({stopping}, timeout=pause)
                pause = min(pause * 2, RESTART_SECONDS_MAX)
        finally:
            stopping.cancel()
            await self._end_handlers()

    async def _end_handlers(self) -> None:
        try:
            if self._handlers:
                await asyncio.wait(self._handlers, timeout=self._grace_seconds)
        finally:
            for handler in self._handlers:
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _handle(self, wakeup: WakeUp) -> None:
        """Perform a wake-up in a task of its own, at most ``concurrency`` at once."""

        async def in_a_slot() -> None:
            async with self._slots:
                await self._perform(wakeup)

        handler = asyncio.create_task(in_a_slot())
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        await asyncio.shield(handler)

    async def _run_worker_until(self, stopping: "asyncio.Task[bool]") -> None:
        """Run one worker until it ends by itself or ``stopping`` is done."""
        running = asyncio.create_task(self._run_worker(stopping))
        try:
            await asyncio.wait({running})
        finally:
            ended_itself = running.done() and not stopping.done()
            running.cancel()
            (result,) = await asyncio.gather(running, return_exceptions=True)
            if isinstance(result, Exception):
                log.warning("worker failed", action="worker_failed", error=_reason(result))
            elif ended_itself:
                log.warning("worker ended, starting another", action="worker_ended")

    async def _run_worker(self, stopping: "asyncio.Task[bool]") -> None:
        app = make_app(PoolConnector(self._database), self._handle)
        async with app.open_async():
            if stopping.done():
                return
            log.info("worker starts", action="worker_starts", concurrency=self._concurrency)
            worker = Worker(
                app=app,
                queues=[QUEUE],
                name=QUEUE,
                concurrency=self._concurrency,
                fetch_job_polling_interval=POLL_SECONDS,
                install_signal_handlers=False,
                delete_jobs="always",
                shutdown_graceful_timeout=0,
                stalled_worker_timeout=STALLED_SECONDS,
            )

            def stop(_: object) -> None:
                worker.stop()  # type: ignore[no-untyped-call]  # as the library leaves it

            # Use ``stop``, not a cancellation: before Python 3.12 the libraries' ``wait_for`` may
            # lose a cancellation while the worker starts, and it would never end.
            stopping.add_done_callback(stop)
            try:
                await worker.run()  # type: ignore[no-untyped-call]  # as the library leaves it
            finally:
                stopping.remove_done_callback(stop)


def make_app(connector: PoolConnector, perform: Perform) -> procrastinate.App:
    """Make a Procrastinate application. Each worker needs a new one."""
    app = procrastinate.App(connector=connector)

    @app.task(name=TASK, queue=QUEUE, pass_context=True)
    async def serve(context: procrastinate.JobContext, job_type: str, target: str) -> None:
        await perform(WakeUp(job_type, target, priority_of(context.job.priority)))

    @app.periodic(cron="0 0 29 2 *")
    @app.task(name="serpline.leap_day", queue=QUEUE)
    async def nothing(timestamp: int) -> None:
        """Do nothing. This task makes Procrastinate watch its side tasks (module docstring)."""

    return app


def _reason(error: BaseException) -> str:
    """The text of the error and of its cause on one line; neither contains the password."""
    parts = [error] if error.__cause__ is None else [error, error.__cause__]
    return ": ".join(" ".join(str(part).split())[:300] or type(part).__name__ for part in parts)
