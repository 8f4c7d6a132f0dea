"""Item states: planned and settled in sets; results and states commit together or not at all.

The tracker holds no state of its own. A settlement is a compare-and-set per item, fenced by the
epoch of the item's chunk. Only rows that the database changed count as settled, so settling the
same outcomes a second time changes, writes and counts nothing.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from serpline.core.clock import Clock
from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.names import ContentType, JobPriority, PhaseName, PipelineMode
from serpline.domain.outcomes import Done, Outcome, Reject, Retry, Skip, Snooze
from serpline.domain.phases import LaneKey
from serpline.domain.states import StateStatus
from serpline.domain.text import storable
from serpline.phases.base import Act
from serpline.robustness.retry import RetryManager
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import items as item_rows
from serpline.store.runs import runs, settling
from serpline.store.runs.chunks import OwnedChunk
from serpline.store.runs.settling import Settlement

WriteResults = Callable[[Connection, OwnedChunk, Sequence[Done]], Awaitable[None]]
"""A phase's store function: writes results of finished items in the settling transaction."""

ITEM_LENGTH_MAX = 2048


@dataclass(frozen=True, slots=True)
class Settled:
    """The number of items that one settlement changed, by outcome."""

    completed: int = 0
    failed: int = 0
    skipped: int = 0
    retried: int = 0


class StateTracker:
    """Plan and settle items."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def settle(
        self,
        chunk: OwnedChunk,
        outcomes: Sequence[Outcome],
        *,
        attempts: Mapping[str, int],
        retries: RetryManager,
        write: WriteResults,
        act: Act | None = None,
    ) -> Settled:
        """Commit outcomes, their results, the chunk's counters and ``act`` in one transaction.

        ``attempts``: the failed attempts of each item that has any. Raises ``LeaseLost``, with
        nothing written, if the chunk is no longer owned at its epoch.
        """
        now = self._clock.now()
        settlements = [
            settlement
            for outcome in outcomes
            if (settlement := _settlement(outcome, attempts.get(outcome.item, 0), retries, now))
        ]
        if not settlements and act is None:
            return Settled()
        done = {outcome.item: outcome for outcome in outcomes if isinstance(outcome, Done)}
        async with self._database.transaction() as conn:
            changed = await settling.settle_items(conn, chunk.lane_id, chunk.no, settlements)
            finished = [done[one.item] for one in changed if one.status is StateStatus.COMPLETED]
            if finished:
                await write(conn, chunk, finished)
            await settling.record_failures(conn, chunk, settlements, changed, now)
            states = [one.status for one in changed]
            settled = Settled(
                completed=states.count(StateStatus.COMPLETED),
                failed=states.count(StateStatus.FAILED),
                skipped=states.count(StateStatus.SKIPPED),
                retried=states.count(StateStatus.RETRY_WAIT),
            )
            await settling.count(
                conn,
                chunk,
                completed=settled.completed,
                failed=settled.failed,
                skipped=settled.skipped,
            )
            if act is not None:
                await act(conn)
        return settled

    async def initialize_pipeline(
        self,
        *,
        pipeline_execution_id: UUID,
        phases: Sequence[str],
        items: Sequence[str],
        chunk_size: int = 500,
    ) -> int:
        """Plan ``phases`` × ``items``, each phase in its lane "all"; return the items planned.

        A missing run is created in MANUAL mode and not started: no worker touches it, and
        ``update_item_status`` settles its items. Items planned before stay as they are. Raises
        ``UserError`` for an unknown phase or an invalid item key.
        """
        # One fixed order, so that two concurrent callers cannot deadlock on lanes.
        names = sorted({_phase(name) for name in phases}, key=list(PhaseName).index)
        lanes = [LaneKey(name, ContentType.ALL) for name in names]
        for item in items:
            if not 1 <= len(item) <= ITEM_LENGTH_MAX or "\0" in item:
                raise UserError(f"item {item[:80]!r}: must be 1 to {ITEM_LENGTH_MAX} characters")
        async with self._database.transaction() as conn:
            await runs.create(
                conn,
                pipeline_execution_id,
                mode=PipelineMode.MANUAL,
                config={},
                lanes=[],
                is_due=False,
            )
            planned = 0
            for lane in lanes:
                lane_id = await item_rows.lane_id(conn, pipeline_execution_id, lane)
                planned += await item_rows.plan_given(conn, lane_id, items, chunk_size)
        return planned

    async def update_item_status(
        self,
        pipeline_execution_id: UUID,
        phase: str,
        item_id: str,
        status: StateStatus,
        result_data: Mapping[str, Any] | None = None,
        *,
        content_type: ContentType = ContentType.ALL,
        error: str | None = None,
    ) -> bool:
        """Settle one item by hand, result and state together, or mark it as processing.

        Returns False if the item is unknown or had ended before. Raises ``UserError`` while a
        worker owns the item's chunk, because only one of them may settle it, and for any other
        state.
        """
        lane = LaneKey(_phase(phase), content_type)
        if status not in _BY_HAND:
            known = ", ".join(_BY_HAND)
            raise UserError(f"item {item_id}: status {str(status)!r} is not one of {known}")
        async with self._database.transaction() as conn:
            chunk = await item_rows.lock_chunk_of(conn, pipeline_execution_id, lane, item_id)
            if chunk is None:
                return False
            if chunk.owned:
                raise UserError(f"item {item_id}: a worker owns it now; try again when it is done")
            if status is StateStatus.PROCESSING:
                return await item_rows.begin(conn, chunk.lane_id, item_id)
            category = ErrorCategory.INTERNAL if status is StateStatus.FAILED else None
            settlement = Settlement(item_id, status, error_category=category, error=error)
            changed = await settling.settle_items(conn, chunk.lane_id, chunk.no, [settlement])
            if not changed:
                return False
            if result_data is not None:
                await item_rows.write_results(
                    conn, chunk.lane_id, [item_id], [json.dumps(storable(result_data))]
                )
            if await item_rows.count_one(conn, chunk.chunk_id, status):
                target = str(pipeline_execution_id)
                await wake(conn, [WakeUp("run", target, JobPriority.HIGH)])
        return True

    async def progress(self, pipeline_execution_id: UUID) -> dict[str, dict[str, int]]:
        """``{"phase/content type": {"planned", "completed", "failed", "skipped"}}``.

        The figures are sums of chunk counters; no item row is read.
        """
        async with self._database.transaction() as conn:
            views = await runs.lanes(conn, pipeline_execution_id)
        return {
            str(view.key): {
                "planned": view.planned,
                "completed": view.completed,
                "failed": view.failed,
                "skipped": view.skipped,
            }
            for view in views
        }


def _settlement(
    outcome: Outcome, failed_before: int, retries: RetryManager, now: datetime
) -> Settlement | None:
    match outcome:
        case Done(item):
            return Settlement(item, StateStatus.COMPLETED)
        case Skip(item, reason):
            return Settlement(item, StateStatus.SKIPPED, error=reason)
        case Reject(item, category, error):
            return Settlement(item, StateStatus.FAILED, True, error_category=category, error=error)
        case Retry(item, category, error):
            wait = retries.delay_seconds(outcome, failed_before + 1)
            if wait is None:
                return Settlement(
                    item, StateStatus.FAILED, True, error_category=category, error=error
                )
            delay = timedelta(seconds=wait)
            return Settlement(
                item,
                StateStatus.RETRY_WAIT,
                True,
                now + delay,
                category,
                error,
                delay.total_seconds(),
            )
        case Snooze():
            return None


_BY_HAND = (
    StateStatus.PROCESSING,
    StateStatus.COMPLETED,
    StateStatus.FAILED,
    StateStatus.SKIPPED,
)


def _phase(name: str) -> PhaseName:
    try:
        return PhaseName(name)
    except ValueError:
        known = ", ".join(PhaseName)
        raise UserError(f"phase {name!r} is not one of {known}") from None
