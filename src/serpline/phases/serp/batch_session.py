"""A worker's session with one ScaleSERP batch: its row, guarded calls, fenced writes and end.

``batch`` drives it, ``repair`` handles failures, ``ingest`` reads results. A write over a cut
connection is repeated.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from serpline.domain.errors import CallRefused, ErrorCategory, LeaseLost, ProviderError
from serpline.domain.http import ProviderCall
from serpline.domain.outcomes import Outcome, Retry, Snooze
from serpline.domain.repair import RepairStage, history, stage_of
from serpline.domain.waits import WaitCause, WaitReason
from serpline.phases.base import Work
from serpline.phases.freshness import run_scope
from serpline.phases.tools import Tools, run_transaction
from serpline.providers.scaleserp.batches import Batch
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.wire import SerpPage
from serpline.robustness.calls import call_key
from serpline.store.calls import ledger
from serpline.store.database import Connection
from serpline.store.runs import batches, events, searches
from serpline.store.runs.batches import BatchRow
from serpline.store.runs.events import Event
from serpline.store.runs.retries import FailedAttempt, record_attempts
from serpline.store.runs.searches import Search

T = TypeVar("T")
Step = tuple[str, SerpPage | Outcome]

ERROR_CHARS_MAX = 2_000


class BatchSession:
    """Calls and writes for one batch. A write raises ``LeaseLost`` if the chunk has another owner.

    ``resumed``: an earlier session entered the batch's state, and what it sent may have taken
    effect. ``collected_at``: when the provider made a given result set, as it states.
    """

    def __init__(self, tools: Tools, work: Work, row: BatchRow, *, resumed: bool) -> None:
        self.tools = tools
        self.work = work
        self.row = row
        self.items = frozenset(row.items)
        self.resumed = resumed
        self.collected_at: datetime | None = None

    @property
    def id(self) -> str:
        """The provider's id of the batch. RuntimeError before its creation."""
        if self.row.provider_batch_id is None:
            raise RuntimeError(f"batch {self.row.name} has no id in state {self.row.status}")
        return self.row.provider_batch_id

    @property
    def is_given(self) -> bool:
        """Whether the run was given the batch's result set. The batch itself is not ours."""
        return self.row.stage is RepairStage.GIVEN

    @property
    def label(self) -> str:
        """The batch's name in the history of a search."""
        return f"batch {self.row.generation + 1} ({self.row.stage}, {self.row.priority} priority)"

    @property
    def is_overdue(self) -> bool:
        """Whether the batch has run longer than ``batch_running_seconds_max``."""
        return self.running_seconds > self.tools.batch_running_seconds_max

    @property
    def running_seconds(self) -> float:
        """Seconds since the batch's start; 0 before it."""
        started = self.row.started_at
        return (self.work.clock.now() - started).total_seconds() if started else 0.0

    def check_in(self, seconds: float, cause: WaitCause = WaitCause.PROVIDER_QUEUE) -> None:
        """Check the batch again in ``seconds`` at the latest."""
        at = self.work.clock.now() + timedelta(seconds=seconds)
        self.work.check_again(at, wait=WaitReason(cause, PROVIDER))

    async def call(self, call: ProviderCall[T]) -> T:
        """Make a call about the batch, with our own deadline and without stored replies.

        A page file alone may come from the ledger, so it is downloaded once.
        """
        if call.operation == "page_file":
            return await self._call(call, self.tools.batch_file_seconds, None)
        return await self._call(call, self.tools.batch_call_seconds, 0.0)

    async def call_once(self, call: ProviderCall[T]) -> T:
        """Make a call that a later owner does not repeat: the ledger has its reply."""
        return await self._call(call, self.tools.batch_call_seconds, None)

    async def _call(self, call: ProviderCall[T], seconds: float, ttl: float | None) -> T:
        bounded = min(call.request.timeout_seconds, seconds)
        call = replace(call, request=replace(call.request, timeout_seconds=bounded))
        return await self.tools.collect(self.work, call, ttl_seconds=ttl)

    async def change(self, call: ProviderCall[T]) -> T:
        """Send a create, an add or a start, which must not take effect twice.

        Its time is stored before it is sent, and removed when an answer has come.
        """
        await self.note(sent_at=self.work.clock.now())
        try:
            return await self.call(call)
        except (CallRefused, LeaseLost, ProviderError) as error:
            # A refused call was not sent. An answered one takes no effect after its answer.
            if not isinstance(error, ProviderError) or error.http_status is not None:
                await self.note(sent_at=None)
            raise

    def is_in_doubt(self) -> bool:
        """Whether a create, add or start without an answer may still take effect.

        If so, the chunk is due again when it no longer can.
        """
        if self.row.sent_at is None:
            return False
        now = self.work.clock.now()
        # A time in the future means that the clock was set back: treat the call as just sent.
        sent_at = min(self.row.sent_at, now)
        over_at = sent_at + timedelta(seconds=1.2 * self.tools.batch_call_seconds + 1)
        if now >= over_at:
            return False
        self.work.check_again(over_at)
        return True

    async def fetch(self) -> Batch:
        """Fetch the batch from the provider."""
        return await self.call(self.tools.scaleserp.get_batch(self.id))

    def has_started(self, batch: Batch) -> bool:
        """Whether the batch has run since its start was intended, or runs now."""
        before = (self.row.results_count, self.row.next_result_set_id)
        return not batch.is_idle or (batch.results_count, batch.next_result_set_id) != before

    async def find_result(self, batch: Batch) -> int | None:
        """The id of the batch's new result set; None if it has none."""
        if not batch.is_idle or batch.results_count <= (self.row.results_count or 0):
            return None
        if self.row.next_result_set_id is not None:
            return self.row.next_result_set_id
        newest = await self.call(self.tools.scaleserp.results(self.id))
        return newest[0].id if newest else None

    async def void_start(self, *, is_refunded: bool = False) -> None:
        """Void the charges of a start that did not run the batch.

        ``is_refunded``: the start was charged and refunded.
        """
        await self.tools.guard.flush()
        start = self.tools.scaleserp.start(self.id)
        async with self.work.database.transaction() as conn:
            key = call_key(start, run_scope(self.work))
            await ledger.void_charges(conn, key, is_refunded=is_refunded)

    async def advance(
        self, event: str, *, run_events: Iterable[tuple[str, dict[str, Any]]] = (), **values: Any
    ) -> None:
        """Change the batch's state; append ``run_events`` (type, detail) in the same transaction.

        Repeated after an unacknowledged commit, it raises ``LeaseLost``: everything is written.
        """

        async def act(conn: Connection) -> BatchRow:
            row = await batches.advance(conn, self.work.chunk, self.row, event, **values)
            await events.append(conn, [self._event(*run_event) for run_event in run_events])
            return row

        self.row = await run_transaction(self.work, act)
        self.resumed = False

    async def note(self, **values: Any) -> None:
        """Update columns of the batch without a change of state."""
        self.row = await run_transaction(
            self.work, lambda conn: batches.note(conn, self.work.chunk, self.row, **values)
        )

    async def record_wait(self, reason: str) -> None:
        """Store the reason of a wait that is not a failure; append an event if it is new."""
        reason = reason[:ERROR_CHARS_MAX]
        if reason == self.row.error_message:
            return
        async with self.work.database.transaction() as conn:
            self.row = await batches.note(conn, self.work.chunk, self.row, error_message=reason)
            await events.append(conn, [self._event("batch.waiting", {"reason": reason})])

    async def record_failure(
        self, error: ProviderError, seconds: float, cause: WaitCause, *, counts: bool
    ) -> None:
        """Store a failed call of a batch that goes on; check it again in ``seconds``.

        ``cause``: of the wait. ``counts``: the call is a failure. Otherwise the batch waits, and a
        new reason appends an event.
        """
        attempt, reason = self.row.errors + 1, str(error)[:ERROR_CHARS_MAX]
        is_new = reason != self.row.error_message
        errors = attempt if counts else self.row.errors
        failed = FailedAttempt(self.row.name, attempt, seconds, error.category, reason)
        now = self.work.clock.now()
        async with self.work.database.transaction() as conn:
            self.row = await batches.note(
                conn, self.work.chunk, self.row, error_message=reason, errors=errors
            )
            await record_attempts(conn, self.work.chunk, now, [failed])
            if is_new and not counts:
                await events.append(conn, [self._event("batch.waiting", {"reason": reason})])
        self.check_in(seconds, cause)

    async def unfinished(self) -> list[Search]:
        """The batch's searches without an outcome."""
        return await run_transaction(
            self.work, lambda conn: searches.not_received(conn, self.work.chunk, self.row.items)
        )

    def missing(self, search: Search, category: ErrorCategory, reason: str) -> Outcome:
        """The outcome of a search without a result here. A given result set is no attempt."""
        tried = history(search.error, f"{self.label}: {reason}")
        if self.is_given:
            return Snooze(search.item, tried, self.work.clock.now())
        return Retry(search.item, category, tried)

    async def settle_page(self, **values: Any) -> None:
        """Settle a page's outcomes and update the batch with ``values`` in one transaction."""

        async def act(conn: Connection) -> None:
            self.row = await batches.note(conn, self.work.chunk, self.row, **values)

        await self.work.settle(act)

    async def end(
        self,
        event: str,
        left: Iterable[Search],
        category: ErrorCategory,
        reason: str,
        error: str | None = None,
        **values: Any,
    ) -> AsyncGenerator[Step, None]:
        """End the batch (``ingest`` or ``lose``). The searches ``left`` have failed for ``reason``.

        The batch ends in the transaction that settles its last search. ``error``: what went wrong
        with the whole batch. ``values``: further columns to update.
        """
        for search in left:
            yield search.item, self.missing(search, category, reason)
        now = self.work.clock.now()
        values |= {"ended_at": now, "error_message": error}

        async def act(conn: Connection) -> None:
            ended = await batches.advance(conn, self.work.chunk, self.row, event, **values)
            attempts = await searches.attempts_of_failed(conn, self.work.chunk, self.row.items)
            await self._append_end_event(conn, ended, attempts, error)

        await self.work.settle(act)

    async def _append_end_event(
        self, conn: Connection, ended: BatchRow, attempts: dict[int, int], error: str | None
    ) -> None:
        comes_next: Counter[str] = Counter()
        for failed, count in attempts.items():
            comes_next[stage_of(failed, self.work.config.retry_attempts)] += count
        detail: dict[str, Any] = {
            "received": ended.received,
            "missing": len(ended.items) - ended.received,
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
            "stage": self.row.stage,
            "searches": len(self.row.items),
        }
        return Event(
            event_type, chunk.run_id, chunk.lane.phase, chunk.lane.content_type, about | detail
        )
