"""Collect outcomes into settlements: about 500 at a time, or every 250 ms, whichever is first.

The replies of paid calls that the outcomes rest on are made durable first. The work continues while
a settlement commits. ``add`` waits only while a full settlement is already queued behind the one
being committed, so memory is bounded.

A settlement undone by a cut connection or a conflict is retried for a while, because aborting the
work would abort paid calls in flight.

A settlement that raises is a bug. If the chunk's work crashed before, the settlement is split in
halves until the item whose result cannot be written fails alone.

The ``act`` of a flush commits with the last of its outcomes, or not at all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from serpline.core.logging import described, get
from serpline.domain.errors import ErrorCategory, LeaseLost
from serpline.domain.outcomes import Done, Outcome, Retry
from serpline.phases.base import Act
from serpline.pipeline.state_tracker import Settled, StateTracker, WriteResults
from serpline.robustness.groups import RETRY_SECONDS_MAX, retry_transient
from serpline.robustness.retry import RetryManager
from serpline.store.database import DatabaseUnavailable, TransactionConflict
from serpline.store.runs.chunks import OwnedChunk

log = get(__name__)

BeforeSettle = Callable[[], Awaitable[None]]

SETTLE_ITEMS_MAX = 500
SETTLE_SECONDS_MAX = 0.25


async def nothing_to_flush() -> None:
    """Do nothing: the work makes no calls."""


class Settler:
    """Settle the outcomes of one chunk. Not to be shared between tasks."""

    def __init__(
        self,
        tracker: StateTracker,
        chunk: OwnedChunk,
        *,
        attempts: Mapping[str, int],
        retries: RetryManager,
        write: WriteResults,
        before_settle: BeforeSettle = nothing_to_flush,
        isolating: bool = False,
    ) -> None:
        """``before_settle`` returns once every reply that the added outcomes rest on is durable.

        ``isolating``: an outcome whose settlement raises becomes a failed attempt of its item.
        """
        self._tracker = tracker
        self._chunk = chunk
        self._attempts = attempts
        self._retries = retries
        self._write = write
        self._before_settle = before_settle
        self._isolating = isolating
        self._queued: list[Outcome] = []
        self._act: Act | None = None
        self._commit: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._retry_seconds_max = RETRY_SECONDS_MAX
        self.total = Settled()

    async def add(self, outcome: Outcome) -> None:
        """Add an outcome. Raises the error of an earlier settlement, mostly ``LeaseLost``."""
        self._queued.append(outcome)
        if self._commit is not None and self._commit.done():
            await self._join()
        # The newest outcome always stays queued, so that a flush can commit ``act`` with it.
        if len(self._queued) > SETTLE_ITEMS_MAX:
            await self._join()
        if len(self._queued) > SETTLE_ITEMS_MAX:  # unless the deadline settled them in the meantime
            self._begin()
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(SETTLE_SECONDS_MAX, self._on_deadline)

    async def flush(self, act: Act | None = None) -> None:
        """Settle every added outcome; run ``act`` in the transaction of the last one."""
        self._act = act or self._act
        while self._commit is not None or self._queued or self._act is not None:
            await self._join()
            if self._commit is None:
                self._begin()

    async def flush_after_error(self) -> None:
        """Settle the added outcomes after the work raised, if the chunk is still owned.

        Raises nothing, so that the error of the work is the one reported.
        """
        self._cancel_deadline()
        self._retry_seconds_max = 0.0
        for _ in range(3):  # the running settlement, the queued one, and one more
            try:
                await self.flush()
            except (LeaseLost, DatabaseUnavailable, TransactionConflict) as error:
                log.warning("chunk.unsettled", action="chunk.unsettled", error=str(error))
            except Exception:
                log.exception("chunk.unsettled", action="chunk.unsettled", chunk=self._chunk.id)

    def _on_deadline(self) -> None:
        self._deadline = None
        if self._commit is not None and not self._commit.done():
            self._commit.add_done_callback(lambda _: self._on_deadline())
        elif self._commit is None or not (self._commit.cancelled() or self._commit.exception()):
            self._begin()

    def _begin(self) -> None:
        self._cancel_deadline()
        outcomes = self._queued[:SETTLE_ITEMS_MAX]
        self._queued = self._queued[SETTLE_ITEMS_MAX:]
        act = None
        if not self._queued:
            act, self._act = self._act, None
        if outcomes or act:
            self._commit = asyncio.create_task(self._settle(outcomes, act))

    async def _join(self) -> None:
        commit = self._commit
        if commit is None:
            return
        # A cancellation here must not cancel the commit; ``flush_after_error`` joins it again.
        if not commit.done():
            await asyncio.wait({commit})
        if self._commit is commit:
            self._commit = None
        commit.result()

    async def _settle(self, outcomes: list[Outcome], act: Act | None) -> None:
        try:
            settled = await retry_transient(
                lambda: self._settle_once(outcomes, act), self._retry_seconds_max
            )
        except (LeaseLost, DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            is_divisible = len(outcomes) > 1 or any(isinstance(one, Done) for one in outcomes)
            if not self._isolating or not is_divisible:
                raise
            *first, last = _split(outcomes, error)
            for part in first:
                await self._settle(part, None)
            await self._settle(last, act)
            return
        self.total = Settled(
            completed=self.total.completed + settled.completed,
            failed=self.total.failed + settled.failed,
            skipped=self.total.skipped + settled.skipped,
            retried=self.total.retried + settled.retried,
        )

    async def _settle_once(self, outcomes: list[Outcome], act: Act | None) -> Settled:
        await self._before_settle()
        return await self._tracker.settle(
            self._chunk,
            outcomes,
            attempts=self._attempts,
            retries=self._retries,
            write=self._write,
            act=act,
        )

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _split(outcomes: list[Outcome], error: Exception) -> list[list[Outcome]]:
    """Split in halves; turn a single outcome into a failed attempt of its item."""
    if len(outcomes) > 1:
        half = len(outcomes) // 2
        return [outcomes[:half], outcomes[half:]]
    (only,) = outcomes
    return [[Retry(only.item, ErrorCategory.INTERNAL, described(error))]]
