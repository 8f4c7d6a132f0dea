"""The first portion of the tick: give every instant that has passed its slots.

A schedule's slots and its cursor (``decided_until``) commit together, under the lock of its row. So
an instant has its slots once, however many processes decide, and none is left out after a crash.
"""

from collections.abc import Sequence
from datetime import datetime

from serpline.core.logging import get
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.domain.states import ScheduleStatus, SlotOutcome
from serpline.scheduling.documents import stored_specs
from serpline.scheduling.endings import ended_events
from serpline.scheduling.policy import INSTANTS_MAX, Decided, Halt, Slot, decide
from serpline.store.database import Connection, Database
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import schedules, slots
from serpline.store.schedules.schedules import ScheduleRow
from serpline.store.schedules.slots import NewSlot, SlotKey
from serpline.store.schedules.starting import Ending

# The most schedules that one transaction decides.
SCHEDULES_MAX = 200

log = get(__name__)


async def decide_due(conn: Connection, now: datetime) -> bool:
    """Decide the instants of some schedules that are due; False if there were none."""
    due = await schedules.lock_due(conn, now, SCHEDULES_MAX)
    if not due:
        return False
    # Many schedules with many instants each take several transactions.
    instants_max = max(1, INSTANTS_MAX * 5 // len(due))
    written: list[Event] = []
    decided: list[tuple[ScheduleRow, Decided]] = []
    for row in due:
        try:
            decided.append((row, _decide(row, now, instants_max)))
        except UserError as error:
            written += await _pause_unreadable(conn, row, now, str(error))
        except Exception as error:
            # One schedule must not keep the others from being decided.
            log.exception("schedule.error", action="schedule.error", schedule=row.id)
            reason = f"internal error: {type(error).__name__}; the log has the details"
            written += await _pause_unreadable(conn, row, now, reason)
    written += await _store(conn, decided, now)
    await events.append(conn, written)
    return True


async def decide_in_portions(database: Database, name: str, now: datetime) -> None:
    """Decide the instants of a schedule up to now, each portion in a transaction of its own.

    A change of the schedule calls it first. So it decides little under its lock, however long no
    process has ticked. An unreadable schedule has no instants.
    """
    while True:
        async with database.transaction() as conn:
            row = await schedules.lock(conn, name)
            if row is None or row.status is ScheduleStatus.DELETED:
                return
            try:
                decided = _decide(row, now, INSTANTS_MAX)
            except UserError:
                return
            if not decided.slots:
                return
            await events.append(conn, await _store(conn, [(row, decided)], now))
        if decided.next_at is None or decided.next_at > now:
            return


async def decide_until_now(conn: Connection, row: ScheduleRow, now: datetime) -> list[Event]:
    """Decide every instant of a locked schedule up to now, before it changes.

    Returns the events to write. An unreadable schedule has no instants.
    """
    written: list[Event] = []
    after = row.decided_until
    while True:
        try:
            decided = _decide(row, now, INSTANTS_MAX, after)
        except UserError:
            return written
        written += await _store(conn, [(row, decided)], now)
        after = decided.until
        if decided.next_at is None or decided.next_at > now:
            return written


async def _pause_unreadable(
    conn: Connection, row: ScheduleRow, now: datetime, reason: str
) -> list[Event]:
    """Pause a locked schedule whose instants cannot be known; returns the events to write.

    Its cursor stays, so the next version decides the instants since then.
    """
    log.warning("schedule unreadable", action="schedule.unreadable", schedule=row.id, error=reason)
    await schedules.move_cursors(conn, [(row.id, row.decided_until, None)])
    if not await schedules.change_status(conn, row.id, "pause", now, reason):
        return []
    return [Event("schedule.paused", detail={"schedule": row.id, "reason": reason})]


def _decide(
    row: ScheduleRow, now: datetime, instants_max: int, after: datetime | None = None
) -> Decided:
    specs = stored_specs(row.specs)
    since = after or row.decided_until
    lanes = {ContentType(kind): reason for kind, reason in row.halted.items()}
    halt = Halt.of(row.status, row.pause_reason, lanes)
    return decide(row.id, specs, since, now, halt, instants_max=instants_max)


async def _store(
    conn: Connection, decided: Sequence[tuple[ScheduleRow, Decided]], now: datetime
) -> list[Event]:
    rows = {
        SlotKey(row.id, slot.scheduled_for, slot.content_type): (slot, _new_slot(row, slot, now))
        for row, found in decided
        for slot in found.slots
    }
    new = await slots.insert(conn, [made for _, made in rows.values()])
    await schedules.move_cursors(
        conn, [(row.id, found.until, found.next_at) for row, found in decided]
    )
    return ended_events(
        Ending(key, slot.verdict.outcome, slot.verdict.code, slot.verdict.reason)
        for key, (slot, _) in rows.items()
        if key in new and slot.verdict.outcome is not SlotOutcome.DUE
    )


def _new_slot(row: ScheduleRow, slot: Slot, now: datetime) -> NewSlot:
    return NewSlot(
        schedule_id=row.id,
        scheduled_for=slot.scheduled_for,
        content_type=slot.content_type,
        version=row.version,
        spec_no=slot.spec_no,
        outcome=slot.verdict.outcome,
        reason_code=slot.verdict.code,
        reason=slot.verdict.reason,
        run_group=slot.group,
        caught_up=slot.is_caught_up,
        overlap=slot.spec.overlap,
        priority=int(slot.spec.priority),
        start_at=slot.start_at,
        deadline_at=slot.deadline_at,
        decided_at=now,
    )
