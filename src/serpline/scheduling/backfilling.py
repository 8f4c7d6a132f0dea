"""The portion of the tick that works backfills off, newest slot first.

It is level-triggered: each step looks at what is stored, ends the slots whose runs have ended, and
starts at most one run. Slot and run commit together, and the run's id derives from the slot. So a
process that dies at any point leaves a slot *waiting*, or *running* with its only run.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from serpline.core.logging import get
from serpline.domain.errors import UserError
from serpline.domain.names import JobPriority, PipelineMode
from serpline.domain.schedules import BackfillSlotStatus, BackfillStatus
from serpline.pipeline.service import PipelineService
from serpline.scheduling.backfill_runs import config_for, run_id_of
from serpline.store.database import Connection, Database, DatabaseUnavailable, TransactionConflict
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import backfill_slots, backfills
from serpline.store.schedules.backfill_slots import EndedBackfillSlot, FillableSlot
from serpline.store.schedules.backfills import BackfillRow

log = get(__name__)

GONE = "its slot is gone"


class Backfiller:
    """Starts and follows the runs of backfills."""

    def __init__(self, database: Database, pipeline: PipelineService) -> None:
        self._database = database
        self._pipeline = pipeline

    async def advance(self, now: datetime) -> None:
        """Do for every backfill what can be done now."""
        async with self._database.transaction() as conn:
            ids = await backfills.at_work(conn)
        for backfill_id in ids:
            while await self._step(backfill_id, now):
                pass
            await self._cancel_runs(backfill_id)

    async def _step(self, backfill_id: int, now: datetime) -> bool:
        """Make one step; False if nothing is left to do now, or another process does it."""
        slots: list[FillableSlot] = []
        try:
            async with self._database.transaction() as conn:
                row = await backfills.lock(conn, backfill_id, skip=True)
                if row is None:
                    return False
                ended = await backfill_slots.end(conn, row.id, row.schedule_id, row.kind, now)
                counted = (await slot_counts(conn, row.id)) if ended else None
                written = _progress(row, ended, counted)
                if row.status in (BackfillStatus.PLANNED, BackfillStatus.RUNNING):
                    slots = await _next(conn, row)
                    if slots:
                        return await self._start(conn, row, slots, now, written)
                    written += await _finish(conn, row, now)
                await events.append(conn, written)
                return False
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            if not slots:
                raise
            await self._fail(backfill_id, slots, error, now)
            return True

    async def _start(
        self,
        conn: Connection,
        row: BackfillRow,
        slots: Sequence[FillableSlot],
        now: datetime,
        written: list[Event],
    ) -> bool:
        """Start the run of waiting slots, or pause a backfill whose credits are spent."""
        if spent := await spent_limit(conn, row):
            if row.status is BackfillStatus.PLANNED:
                await backfills.change_status(conn, row.id, "start", now)
            await backfills.change_status(conn, row.id, "pause", now, spent)
            await events.append(conn, [*written, event("paused", row, reason=spent)])
            return False
        run_id = run_id_of(row.id, slots)
        config = await config_for(conn, row.schedule_id, row.kind, row.id, slots, now)
        # What is due now goes first.
        config = config.for_every_lane("priority", JobPriority.LOW)
        if row.status is BackfillStatus.PLANNED:
            await backfills.change_status(conn, row.id, "start", now)
        running = BackfillSlotStatus.RUNNING
        if await backfill_slots.mark(conn, row.id, slots, running, run_id=run_id) != len(slots):
            raise TransactionConflict("another process has started a slot of the backfill")
        await self._pipeline.create(
            conn,
            run_id,
            config,
            PipelineMode.SCHEDULED,
            more_events=written,
        )
        return True

    async def _fail(
        self, backfill_id: int, slots: Sequence[FillableSlot], error: Exception, now: datetime
    ) -> None:
        """End slots whose run cannot be created, so that they are not tried for ever."""
        reason = str(error)
        if not isinstance(error, UserError):
            log.error("backfill.error", action="backfill.error", id=backfill_id, exc_info=error)
            reason = f"internal error: {type(error).__name__}; the log has the details"
        async with self._database.transaction() as conn:
            row = await backfills.lock(conn, backfill_id)
            failed = BackfillSlotStatus.FAILED
            await backfill_slots.mark(conn, backfill_id, slots, failed, reason=reason, ended_at=now)
            if row is not None:
                detail = {"slots": len(slots), "reason": reason}
                await events.append(conn, [event("progress", row, **detail)])

    async def _cancel_runs(self, backfill_id: int) -> None:
        """Cancel the runs of a cancelled backfill that have not ended."""
        async with self._database.transaction() as conn:
            row = await backfills.lock(conn, backfill_id, skip=True)
            if row is None or row.status is not BackfillStatus.CANCELLED:
                return
            live = await backfill_slots.running_runs(conn, backfill_id)
        for run_id in live:
            with suppress(UserError):  # it has ended
                await self._pipeline.cancel(run_id)


def event(what: str, row: BackfillRow, **detail: Any) -> Event:
    """An event of a backfill."""
    about = {"schedule": row.schedule_id, "backfill": row.id, "kind": row.kind}
    return Event(f"backfill.{what}", detail={**about, **detail})


async def slot_counts(conn: Connection, backfill_id: int) -> dict[str, int]:
    """How many slots of a backfill have each status."""
    found = (await backfill_slots.counts(conn, [backfill_id])).get(backfill_id, {})
    return {name: count for name, count in found.items() if name != "runs"}


async def _next(conn: Connection, row: BackfillRow) -> list[FillableSlot]:
    """The slots whose run may start now; empty if none waits or enough runs are in progress."""
    counted = (await backfill_slots.counts(conn, [row.id])).get(row.id, {})
    if not counted.get("waiting") or counted.get("runs", 0) >= row.runs_at_once:
        return []
    return await backfill_slots.next_waiting(conn, row.id, row.schedule_id)


async def _finish(conn: Connection, row: BackfillRow, now: datetime) -> list[Event]:
    """Complete a backfill of which no slot waits or runs."""
    counted = (await backfill_slots.counts(conn, [row.id])).get(row.id, {})
    if counted.get("running") or counted.get("runs"):
        return []
    # A waiting slot that is no slot any more was deleted by retention.
    if counted.get("waiting"):
        await backfill_slots.skip_waiting(conn, row.id, GONE, now)
    if row.status is BackfillStatus.PLANNED:
        await backfills.change_status(conn, row.id, "start", now)
    await backfills.change_status(conn, row.id, "complete", now)
    return [event("completed", row, slots=await slot_counts(conn, row.id))]


def _progress(
    row: BackfillRow, ended: Sequence[EndedBackfillSlot], counted: dict[str, int] | None
) -> list[Event]:
    if not ended:
        return []
    failed = [slot for slot in ended if not slot.succeeded]
    detail: dict[str, Any] = {"slots": counted, "failed": len(failed)}
    if failed:
        detail["reason"] = failed[0].reason
    return [event("progress", row, **detail)]


async def spent_limit(conn: Connection, row: BackfillRow) -> str | None:
    """The sentence for a credit limit that is spent, or None."""
    if not row.credit_limits:
        return None
    spent = (await backfills.spent(conn, [row.id])).get(row.id, {})
    for provider, limit in sorted(row.credit_limits.items()):
        # A limit of 0 forbids paid calls, and lets a run do all that is free.
        if 0 < limit <= spent.get(provider, 0.0):
            return f"its credit limit of {limit:g} for {provider} is spent"
    return None
