"""Group commit: many callers, one transaction.

Promise: ``commit`` gets the items in the order of ``put``, in groups of at most ``size_max``. A
group holds what arrived during the previous commit or within ``delay_seconds``. Each future
resolves when its transaction is durable. If the database is unavailable or rolls back, ``commit``
is repeated for up to ``retry_seconds_max``, so it must be idempotent. An item that cannot be
written fails alone.

Limits: at most ``waiting_max`` items wait. One more raises ``OverflowError``. Cancelling a future
removes its item only before its group starts. An item whose future raises may still have been
written, if the acknowledgement was lost.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from serpline.store.database import DatabaseUnavailable, TransactionConflict

In = TypeVar("In")
Out = TypeVar("Out")

# Bounds one statement's text and locks. Its answer fits the socket buffers of a connection whose
# client stopped reading, so the server still commits and releases its locks.
SIZE_MAX = 250
WAITING_MAX = 20_000
# For writes that the work waits for. Replacing a cut connection takes less.
RETRY_SECONDS_MAX = 10.0
_PAUSE_SECONDS_MIN = 0.05
_PAUSE_SECONDS_MAX = 2.0


class GroupCommitter(Generic[In, Out]):
    """Collects items and commits them in groups, one group at a time."""

    def __init__(
        self,
        commit: Callable[[Sequence[In]], Awaitable[Sequence[Out]]],
        *,
        delay_seconds: float = 0.0,
        size_max: int = SIZE_MAX,
        retry_seconds_max: float = RETRY_SECONDS_MAX,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        """``commit`` returns one ``Out`` for each ``In``, in the same order."""
        self._commit = commit
        self._delay_seconds = delay_seconds
        self._size_max = size_max
        self._retry_seconds_max = retry_seconds_max
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[In, asyncio.Future[Out]]] = deque()
        self._flush_requested = asyncio.Event()
        self._put_count = self._done_count = 0
        self._group_ended = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    def put(self, item: In) -> asyncio.Future[Out]:
        """Queue an item without waiting. The future resolves when it is committed."""
        if len(self._waiting) >= self._waiting_max:
            raise OverflowError(f"{self._waiting_max} writes are waiting for the database")
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_mark_retrieved)
        self._waiting.append((item, future))
        self._put_count += 1
        if len(self._waiting) >= self._size_max:
            self._flush_requested.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return future

    async def flush(self) -> None:
        """Wait until every item queued so far is committed or has failed."""
        last = self._put_count
        while self._done_count < last:
            self._flush_requested.set()
            await self._group_ended.wait()

    async def _run(self) -> None:
        while self._waiting:
            if self._delay_seconds > 0 and len(self._waiting) < self._size_max:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._delay_seconds):
                        await self._flush_requested.wait()
            self._flush_requested.clear()
            group = [
                self._waiting.popleft() for _ in range(min(self._size_max, len(self._waiting)))
            ]
            batch = [entry for entry in group if not entry[1].cancelled()]
            if batch:
                await self._commit_batch(batch)
            self._done_count += len(group)
            group_ended, self._group_ended = self._group_ended, asyncio.Event()
            group_ended.set()

    async def _commit_batch(self, batch: Sequence[tuple[In, asyncio.Future[Out]]]) -> None:
        try:
            items = [item for item, _ in batch]
            answers = await retry_transient(lambda: self._commit(items), self._retry_seconds_max)
        except (DatabaseUnavailable, TransactionConflict) as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001  each item's caller gets it
            if len(batch) == 1:
                self._fail(batch, error)
                return
            middle = len(batch) // 2
            await self._commit_batch(batch[:middle])
            await self._commit_batch(batch[middle:])
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    @staticmethod
    def _fail(batch: Sequence[tuple[In, asyncio.Future[Out]]], error: Exception) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)


async def retry_transient(commit: Callable[[], Awaitable[Out]], seconds: float) -> Out:
    """Repeat ``commit`` for up to ``seconds`` while the database is unavailable or rolls back.

    ``commit`` must be idempotent: it may have taken effect although its acknowledgement was lost.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    pause = _PAUSE_SECONDS_MIN
    while True:
        try:
            return await commit()
        except (DatabaseUnavailable, TransactionConflict):
            if loop.time() + pause > give_up_at:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _PAUSE_SECONDS_MAX)


def _mark_retrieved(future: asyncio.Future[Out]) -> None:
    """Mark the exception as retrieved, so that asyncio does not warn if no caller awaits it."""
    if not future.cancelled():
        future.exception()
