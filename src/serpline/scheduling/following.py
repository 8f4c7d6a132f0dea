"""The second portion of the tick: note what has figures, pause what keeps failing, watch freshness.

A content type succeeds when its figures are computed, while slower types of its run go on. Its data
are as old as the oldest search of the figures, whenever they came: late results of a provider, a
backfill or a retry by a person make nothing newer than it is.
"""

from collections.abc import Sequence
from datetime import datetime

from serpline.domain.errors import UserError
from serpline.domain.schedules import ScheduleLane
from serpline.domain.states import ScheduleStatus, SlotOutcome
from serpline.scheduling.deciding import decide_until_now
from serpline.scheduling.documents import stored_specs
from serpline.scheduling.health import Targets, after_run, content_types_of, targets_of, with_data
from serpline.store.database import Connection, Database
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import following, schedules
from serpline.store.schedules import lanes as lane_rows
from serpline.store.schedules.following import FollowedSlot
from serpline.store.schedules.lanes import StaleRow
from serpline.store.schedules.schedules import ScheduleRow

ROWS_MAX = 500


async def follow_runs(database: Database, now: datetime) -> None:
    """Store how content types and runs of slots ended, and judge the types of their schedules."""
    while True:
        async with database.transaction() as conn:
            found = await following.follow(conn, ROWS_MAX)
            if found:
                await events.append(conn, await _judge_lanes(conn, found, now))
        if len(found) < ROWS_MAX:
            return


async def watch_freshness(database: Database, now: datetime) -> None:
    """Raise one alarm for each content type whose data have become too old."""
    while True:
        async with database.transaction() as conn:
            stale = await lane_rows.take_stale(conn, now, ROWS_MAX)
            await events.append(conn, [_stale(row) for row in stale])
        if len(stale) < ROWS_MAX:
            return


async def _judge_lanes(
    conn: Connection, found: Sequence[FollowedSlot], now: datetime
) -> list[Event]:
    names = sorted({slot.key.schedule_id for slot in found})
    rows = await schedules.lock_all(conn, names)
    lanes = await lane_rows.lock(conn, names)
    before = dict(lanes)
    for slot in found:
        row, kind = rows[slot.key.schedule_id], slot.key.content_type
        try:
            is_deleted = row.status is ScheduleStatus.DELETED
            targets = Targets() if is_deleted else targets_of(stored_specs(row.specs), kind)
        except UserError:
            continue
        lane = lanes.get((row.id, kind)) or ScheduleLane(row.id, kind)
        lanes[row.id, str(kind)] = _after(slot, lane, targets, now)
    changed = [lane for key, lane in lanes.items() if lane != before.get(key)]
    written: list[Event] = []
    for row in rows.values():
        if any(lane.schedule_id == row.id and _is_new_pause(lane, before) for lane in changed):
            # Instants that have passed are decided as they were: not paused.
            written += await decide_until_now(conn, row, now)
    await lane_rows.write(conn, changed)
    for lane in changed:
        written += _changes(before.get((lane.schedule_id, str(lane.content_type))), lane)
    for row in rows.values():
        written += await _pause_if_all_are(conn, row, list(lanes.values()), now)
    return written


def _after(slot: FollowedSlot, lane: ScheduleLane, targets: Targets, now: datetime) -> ScheduleLane:
    if slot.data_at is not None:
        lane = with_data(lane, targets, slot.data_at, now)
    # A backfill brings data. How often it failed says nothing about today's runs.
    if slot.outcome is not SlotOutcome.STARTED:
        return lane
    return after_run(
        lane, targets, succeeded=slot.succeeded, was_succeeded=slot.was_succeeded, now=now
    )


def _is_new_pause(lane: ScheduleLane, before: dict[tuple[str, str], ScheduleLane]) -> bool:
    known = before.get((lane.schedule_id, str(lane.content_type)))
    return lane.paused_at is not None and (known is None or known.paused_at is None)


def _changes(before: ScheduleLane | None, lane: ScheduleLane) -> list[Event]:
    detail = {"schedule": lane.schedule_id}
    kind = str(lane.content_type)
    found = []
    if lane.paused_at is not None and (before is None or before.paused_at is None):
        detail = {**detail, "reason": f"{kind}: {lane.pause_reason}"}
        found.append(Event("schedule.paused", content_type=kind, detail=detail))
    if before is not None and before.stale_since is not None and lane.stale_since is None:
        detail = {**detail, "stale_since": before.stale_since.isoformat()}
        found.append(Event("schedule.fresh", content_type=kind, detail=detail))
    return found


async def _pause_if_all_are(
    conn: Connection, row: ScheduleRow, lanes: Sequence[ScheduleLane], now: datetime
) -> list[Event]:
    """Pause a schedule of which every content type is paused."""
    if row.status is not ScheduleStatus.ACTIVE:
        return []
    try:
        kinds = content_types_of(stored_specs(row.specs))
    except UserError:
        return []
    paused = {
        lane.content_type: lane.pause_reason
        for lane in lanes
        if lane.schedule_id == row.id and lane.paused_at is not None
    }
    if not kinds <= set(paused):
        return []
    reason = "; ".join(f"{kind}: {paused[kind]}" for kind in sorted(kinds))
    await schedules.change_status(conn, row.id, "pause", now, reason)
    return [Event("schedule.paused", detail={"schedule": row.id, "reason": reason})]


def _stale(row: StaleRow) -> Event:
    last = row.last_success_at
    detail = {
        "schedule": row.schedule_id,
        "fresh_until": row.fresh_until.isoformat(),
        "last_success_at": None if last is None else last.isoformat(),
    }
    return Event("schedule.stale", content_type=row.content_type, detail=detail)
