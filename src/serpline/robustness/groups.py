"""Group commit: many callers, one transaction.

Promise: what is ``put`` is handed to ``commit`` in order, together with what else arrived while the
group before was written, or within ``delay_seconds``, up to ``size_max``; the future answers when
that transaction is durable. A database that is away, or undid the transaction, is asked again for
``retry_seconds_max``, so ``commit`` must bear repetition. One item that cannot be written fails
alone, not its neighbours.

Limits: ``waiting_max`` items wait at most; one more raises ``OverflowError``. A future that is
cancelled before its group is begun takes its item out; afterwards the item is written all the same.
An item whose future raises may have been written, by a try whose answer was lost.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from serpline.store.database import DatabaseUnavailable, TransactionConflict

In = TypeVar("In")
Out = TypeVar("Out")

# What one statement writes: neither its text nor its locks grow with what is waiting. Its answer
# fits the buffers of a connection from which nobody reads, so the server commits and unlocks.
SIZE_MAX = 250
WAITING_MAX = 20_000
# For what the work itself waits for: longer than a cut connection takes to be replaced.
RETRY_SECONDS_MAX = 10.0
_PAUSE_SECONDS_MIN = 0.05
_PAUSE_SECONDS_MAX = 2.0


class GroupCommitter(Generic[In, Out]):
    """Gathers items and commits them in groups, one group at a time."""

    def __init__(
        self,
        commit: Callable[[Sequence[In]], Awaitable[Sequence[Out]]],
        *,
        delay_seconds: float = 0.0,
        size_max: int = SIZE_MAX,
        retry_seconds_max: float = RETRY_SECONDS_MAX,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        """``commit`` answers one ``Out`` for each ``In``, in their order."""
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
        """Hand over an item without waiting; the future answers once it is committed."""
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
        """Wait until everything handed over so far is committed or given up, and for no more."""
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
        except Exception as error:  # noqa: BLE001  told to every caller whose item it was
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
    """Commit, again and again for so long while the database is away or undoes the transaction.

    ``commit`` must bear repetition, for it may have taken effect without our hearing of it.
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
    """A caller that does not wait must not make asyncio complain of an unseen exception."""
    if not future.cancelled():
        future.exception()
