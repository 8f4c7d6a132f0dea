"""The Procrastinate worker, supervised: it survives the database, and stops when told.

The promise: as long as ``serve`` runs, waiting wake-ups are performed; after a restart of
PostgreSQL within seconds of its return. Whatever ends a worker (an exception, or a quiet return
because one of its side tasks died), a new one takes its place.

Why it is built this way: without a periodic task Procrastinate stops watching its side tasks, and
a listener that died with the server is never missed, hence the task that runs on 29 February.
Polling finds what a silent network kept from the listener. Finished jobs are deleted, for they say
nothing our tables do not.

A handler is ours, not the worker's that was told of its wake-up: what ends that worker (any cut
connection may) must not cut off work that has been paid for.

The limits: when we are told to stop, running handlers have ``grace_seconds`` to end and are then
cancelled.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import procrastinate
from procrastinate.worker import Worker

from serpline.core.logging import get
from serpline.queueing.connector import PoolConnector
from serpline.store.database import Database
from serpline.store.queue.wakeups import QUEUE, STALLED_SECONDS, TASK, WakeUp, priority_of

Perform = Callable[[WakeUp], Awaitable[None]]

POLL_SECONDS: Final = 10.0
RESTART_SECONDS: Final = 0.5
RESTART_SECONDS_MAX: Final = 5.0
# A life that lasted this long says the trouble before it is over.
SETTLED_SECONDS: Final = 30.0

log = get(__name__)


class SupervisedWorker:
    """Serves our queue with one Procrastinate worker after another."""

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
        # Handlers that outlived their worker count, too.
        self._places = asyncio.Semaphore(concurrency)
        self._handlers: set[asyncio.Task[None]] = set()

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then let running handlers end within the grace."""
        pause = RESTART_SECONDS
        loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                began = loop.time()
                await self._until(stopping)
                if stop.is_set():
                    return
                if loop.time() - began > SETTLED_SECONDS:
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
        """Perform a wake-up in a task of our own, at most so many at once."""

        async def in_its_place() -> None:
            async with self._places:
                await self._perform(wakeup)

        handler = asyncio.create_task(in_its_place())
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        await asyncio.shield(handler)

    async def _until(self, stopping: "asyncio.Task[bool]") -> None:
        """One worker's life, ended by itself or by ``stopping``."""
        life = asyncio.create_task(self._live(stopping))
        try:
            await asyncio.wait({life})
        finally:
            ended_itself = life.done() and not stopping.done()
            life.cancel()
            (result,) = await asyncio.gather(life, return_exceptions=True)
            if isinstance(result, Exception):
                log.warning("worker failed", action="worker_failed", error=_reason(result))
            elif ended_itself:
                log.warning("worker ended, starting another", action="worker_ended")

    async def _live(self, stopping: "asyncio.Task[bool]") -> None:
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

            # Told, not cancelled: a cancellation that comes while it starts gets lost in the
            # libraries' waits (``wait_for`` before Python 3.12), and then it would never end.
            stopping.add_done_callback(stop)
            try:
                await worker.run()  # type: ignore[no-untyped-call]  # as the library leaves it
            finally:
                stopping.remove_done_callback(stop)


def make_app(connector: PoolConnector, perform: Perform) -> procrastinate.App:
    """A new Procrastinate application; one is never used for a second worker."""
    app = procrastinate.App(connector=connector)

    @app.task(name=TASK, queue=QUEUE, pass_context=True)
    async def serve(context: procrastinate.JobContext, job_type: str, target: str) -> None:
        await perform(WakeUp(job_type, target, priority_of(context.job.priority)))

    @app.periodic(cron="0 0 29 2 *")
    @app.task(name="serpline.leap_day", queue=QUEUE)
    async def nothing(timestamp: int) -> None:
        """Exists so that side tasks are watched; see the module's words."""

    return app


def _reason(error: BaseException) -> str:
    """The first line of the error and of its cause; neither holds the password."""
    parts = [error] if error.__cause__ is None else [error, error.__cause__]
    return ": ".join(" ".join(str(part).split())[:300] or type(part).__name__ for part in parts)
