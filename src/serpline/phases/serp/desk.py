"""One ScaleSERP batch on the desk: its row, its guarded calls, its fenced writes, its end.

What drives the batch (``batch``) and what reads its results (``ingest``) share this.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import ProviderCall
from serpline.domain.outcomes import Outcome, Retry
from serpline.domain.repair import history, rung_of
from serpline.phases.base import Work
from serpline.phases.tools import Tools, over_cuts, run_scope
from serpline.providers.scaleserp.batches import Batch
from serpline.providers.scaleserp.wire import SerpPage
from serpline.robustness.calls import call_key
from serpline.store.calls import ledger
from serpline.store.database import Connection
from serpline.store.runs import batches, events
from serpline.store.runs.batches import BatchRow, Doubt, Search
from serpline.store.runs.events import Event
from serpline.store.runs.retries import FailedAttempt, remember

T = TypeVar("T")
Step = tuple[str, SerpPage | Outcome]

ERROR_CHARS_MAX = 2_000


class Desk:
    """A batch in a worker's hands. Every write raises ``LeaseLost`` once it is in others'."""

    def __init__(self, tools: Tools, work: Work, row: BatchRow) -> None:
        self.tools = tools
        self.work = work
        self.row = row
        self.items = frozenset(row.items)

    @property
    def id(self) -> str:
        """The provider's id of the batch, which it has from its creation on."""
        if self.row.provider_batch_id is None:
            raise RuntimeError(f"batch {self.row.name} has no id in state {self.row.status}")
        return self.row.provider_batch_id

    @property
    def label(self) -> str:
        """What the history of a search calls this batch."""
        return f"batch {self.row.generation + 1} ({self.row.rung}, {self.row.priority} priority)"

    def look_in(self, seconds: float) -> datetime:
        """Have the batch looked at again; returns when."""
        at = self.work.clock.now() + timedelta(seconds=seconds)
        self.work.look_again(at)
        return at

    async def call(self, call: ProviderCall[T]) -> T:
        """A call about the batch itself: never answered from the ledger, with our own deadline.

        A page file is: what was downloaded once is not downloaded again.
        """
        if call.operation == "page_file":
            seconds, ttl = self.tools.batch_file_seconds, None
        else:
            seconds, ttl = self.tools.batch_call_seconds, 0.0
        bounded = min(call.request.timeout_seconds, seconds)
        call = replace(call, request=replace(call.request, timeout_seconds=bounded))
        return await self.tools.collect(self.work, call, ttl_seconds=ttl)

    async def seen(self) -> Batch:
        """The batch as the provider shows it now."""
        return await self.call(self.tools.scaleserp.get_batch(self.id))

    async def doubt(self, operation: str) -> Doubt:
        """Whether such calls for the batch may have taken effect, or may do so yet."""
        async with self.work.database.transaction() as conn:
            return await batches.doubt(conn, self.work.chunk, self.row, operation)

    def may_arrive(self, doubt: Doubt) -> bool:
        """Whether a call without an answer may yet take effect; looks again when it no longer can.

        Until then it is too early to see what is there, and to repeat it.
        """
        if doubt.unheard_at is None:
            return False
        over_at = doubt.unheard_at + timedelta(seconds=1.2 * self.tools.batch_call_seconds + 1)
        if self.work.clock.now() >= over_at:
            return False
        self.work.look_again(over_at)
        return True

    async def forgive_start(self, *, is_refunded: bool = False) -> None:
        """The batch has been seen not to run: whatever start was sent has not been charged.

        ``is_refunded``: or it was, and that was given back.
        """
        await self.tools.guard.flush()
        start = self.tools.scaleserp.start(self.id)
        async with self.work.database.transaction() as conn:
            key = call_key(start, run_scope(self.work))
            await ledger.void_charges(conn, key, is_refunded=is_refunded)

    async def advance(
        self, event: str, *, tell: tuple[str, dict[str, Any]] | None = None, **values: Any
    ) -> None:
        """Change the batch's state, and tell an event with its detail in the same transaction."""
        async with self.work.database.transaction() as conn:
            self.row = await batches.advance(conn, self.work.chunk, self.row, event, **values)
            if tell is not None:
                await events.append(conn, [self._event(*tell)])

    async def waits_for(self, reason: str) -> None:
        """Write down, and tell once, what the batch waits for. It is no failure."""
        reason = reason[:ERROR_CHARS_MAX]
        if reason == self.row.error_message:
            return
        async with self.work.database.transaction() as conn:
            self.row = await batches.note(conn, self.work.chunk, self.row, error_message=reason)
            await events.append(conn, [self._event("batch.waiting", {"reason": reason})])

    async def note(self, **values: Any) -> None:
        """Write down what is known of a batch whose state stays."""
        self.row = await over_cuts(
            self.work, lambda conn: batches.note(conn, self.work.chunk, self.row, **values)
        )

    async def failed(self, error: ProviderError, seconds: float, *, counts: bool) -> None:
        """Write down trouble with a batch that stays, to look again after so many ``seconds``.

        ``counts``: it is a failure; else the batch waits for something, which is told once.
        """
        attempt, reason = self.row.errors + 1, str(error)[:ERROR_CHARS_MAX]
        is_new = reason != self.row.error_message
        changed: dict[str, Any] = {"error_message": reason} | (
            {"errors": attempt} if counts else {}
        )
        told = FailedAttempt(self.row.name, attempt, seconds, error.category, reason)
        now = self.work.clock.now()
        async with self.work.database.transaction() as conn:
            self.row = await batches.note(conn, self.work.chunk, self.row, **changed)
            await remember(conn, self.work.chunk, now, [told])
            if is_new and not counts:
                await events.append(conn, [self._event("batch.waiting", {"reason": reason})])
        self.look_in(seconds)

    async def left(self) -> list[Search]:
        """The batch's searches that have no outcome yet."""
        return await over_cuts(
            self.work, lambda conn: batches.not_brought(conn, self.work.chunk, self.row.items)
        )

    async def end(
        self, event: str, category: ErrorCategory, reason: str, error: str | None = None
    ) -> AsyncGenerator[Step, None]:
        """End the batch (``ingest`` or ``lose``): what it did not bring has failed, for ``reason``.

        First the searches are settled, then the batch ends; whoever takes over in between finds
        it as it was, with nothing left. But nobody does when that settled the whole chunk, so no
        cut breaks this off; only a death leaves such a batch as it was, which costs nothing.
        ``error``: what went wrong with the batch as a whole.
        """
        for search in await self.left():
            told = history(search.error, f"{self.label}: {reason}")
            yield search.item, Retry(search.item, category, told)
        await self.work.settled()
        # Repeated after a commit that was not heard of it raises ``LeaseLost``, with all done.
        self.row = await over_cuts(self.work, lambda conn: self._end(conn, event, error))

    async def _end(self, conn: Connection, event: str, error: str | None) -> BatchRow:
        attempts = await batches.attempts_of_failed(conn, self.work.chunk, self.row.items)
        ended = await batches.advance(
            conn,
            self.work.chunk,
            self.row,
            event,
            ended_at=self.work.clock.now(),
            error_message=error,
        )
        await self._tell_end(conn, ended, attempts, error)
        return ended

    async def _tell_end(
        self, conn: Connection, ended: BatchRow, attempts: dict[int, int], error: str | None
    ) -> None:
        comes_next: Counter[str] = Counter()
        for failed, searches in attempts.items():
            comes_next[rung_of(failed, self.work.config.retry_attempts)] += searches
        detail: dict[str, Any] = {
            "brought": ended.brought,
            "missing": len(ended.items) - ended.brought,
            "next": dict(comes_next),
        }
        if error:
            detail["reason"] = error
        await events.append(conn, [self._event(f"batch.{ended.status}", detail)])

    def _event(self, event_type: str, detail: dict[str, Any]) -> Event:
        chunk = self.work.chunk
        about = {
            "batch": self.row.name,
            "provider_batch_id": self.row.provider_batch_id,
            "rung": self.row.rung,
            "searches": len(self.row.items),
        }
        return Event(
            event_type, chunk.run_id, chunk.lane.phase, chunk.lane.content_type, about | detail
        )
