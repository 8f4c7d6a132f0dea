"""Due slots: which may start, and the compare-and-set that starts or ends them.

One process at a time starts slots (``hold``): it counts the running runs, and the limit holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType
from serpline.domain.states import SLOT_MACHINE, ScheduleStatus, SlotOutcome, change
from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.schedules.slots import SlotKey

_LOCK = 7_235_002  # any constant: the advisory lock of the process that starts slots
_RUNNING = "('pending', 'running', 'paused')"


@dataclass(frozen=True, slots=True)
class DueRow:
    """A due slot with what decides whether it may start.

    ``running``: runs of earlier slots in which lanes of its content type have not ended; other
    types of these runs do not count. ``ahead``: earlier due slots of it, at most 2.
    ``lane_pause_reason``: why the content type is paused, if it is.
    """

    key: SlotKey
    version: int
    spec_no: int
    run_group: str
    reason_code: str
    caught_up: bool
    overlap: str
    deadline_at: datetime | None
    status: ScheduleStatus
    pause_reason: str | None
    lane_pause_reason: str | None
    running: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome of a slot without a run; of one that is still due, why it waits."""

    key: SlotKey
    outcome: SlotOutcome
    reason_code: str
    reason: str


async def hold(conn: Connection) -> bool:
    """Become the one process that starts slots until the transaction ends; False: another is."""
    rows = await conn.execute(
        text(f"SELECT {IDLE_LIMIT}, pg_try_advisory_xact_lock(:lock) AS held"), {"lock": _LOCK}
    )
    return bool(rows.one().held)


async def has_due(conn: Connection, now: datetime) -> bool:
    """Whether a slot may have to be started or ended."""
    rows = await conn.execute(
        text(
            "SELECT EXISTS (SELECT FROM schedule_slots WHERE outcome = 'due' AND start_at <= :now)"
        ),
        {"now": now},
    )
    return bool(rows.scalar_one())


async def count_running(conn: Connection) -> int:
    """Return the number of scheduled runs that are pending or running. Paused ones do no work."""
    rows = await conn.execute(
        text(
            "SELECT count(*) FROM pipeline_executions WHERE status IN ('pending', 'running')"
            " AND mode = 'scheduled'"
        )
    )
    return int(rows.scalar_one())


_SLOT = (
    "t.schedule_id, t.scheduled_for, t.content_type, t.version, t.spec_no, t.run_group,"
    " t.reason_code, t.caught_up, t.overlap, t.deadline_at"
)
_SCHEDULE = "s.status, s.pause_reason, l.pause_reason AS lane_pause_reason"
_OF_SCHEDULE = """
    JOIN schedules s ON s.id = t.schedule_id
    LEFT JOIN {lanes} l ON l.schedule_id = t.schedule_id
        AND l.content_type = t.content_type AND l.paused_at IS NOT NULL"""
_RUNS = f"""
    FROM schedule_slots o JOIN pipeline_executions e ON e.id = o.run_id AND e.status IN {_RUNNING}
    WHERE o.run_id IS NOT NULL AND o.run_status IS NULL
        AND EXISTS (SELECT FROM pipeline_phase_status p WHERE p.pipeline_execution_id = e.id
            AND p.content_type = o.content_type AND p.status IN ('pending', 'running'))"""
# Due slots, running runs and paused lanes are read once each, and then put together. With
# statistics from before the slots came, PostgreSQL may read them all for each slot.
# A slot that waits is read again only if it may have something to wait for no more.
_MAY_CHANGE = f"""
    WITH running AS MATERIALIZED (
        SELECT o.schedule_id, o.content_type, count(*) AS runs {_RUNS} GROUP BY 1, 2
    ), paused AS MATERIALIZED (
        SELECT * FROM schedule_lanes WHERE paused_at IS NOT NULL
    ), slot AS MATERIALIZED (
        SELECT {_SLOT}, t.priority, t.start_at,
            count(*) FILTER (WHERE t.deadline_at IS NULL OR t.deadline_at >= :now) OVER (
                PARTITION BY t.schedule_id, t.content_type ORDER BY t.scheduled_for
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM schedule_slots t WHERE t.outcome = 'due' AND t.start_at <= :now
    )
    SELECT {_SLOT}, {_SCHEDULE}, coalesce(r.runs, 0) AS running, least(t.before, 2) AS ahead
    FROM slot t {_OF_SCHEDULE.format(lanes="paused")}
    LEFT JOIN running r ON r.schedule_id = t.schedule_id AND r.content_type = t.content_type
    WHERE (t.reason_code <> 'no_place' OR :has_place)
        AND (t.reason_code <> 'previous_run' OR coalesce(r.runs, 0) + t.before = 0)
        OR t.deadline_at < :now OR s.status <> 'active' OR l.paused_at IS NOT NULL
    ORDER BY t.priority DESC, t.start_at, t.schedule_id, t.content_type LIMIT :limit"""
_LOCK_GROUP = text(
    "SELECT FROM schedule_slots WHERE schedule_id = :id AND scheduled_for = :at"
    " AND run_group = :group AND outcome = 'due' ORDER BY content_type FOR UPDATE"
)
_OF_GROUP = f"""
    SELECT {_SLOT}, {_SCHEDULE}, r.running, a.ahead
    FROM schedule_slots t {_OF_SCHEDULE.format(lanes="schedule_lanes")}
    CROSS JOIN LATERAL (
        SELECT count(*) AS running {_RUNS}
        AND o.schedule_id = t.schedule_id AND o.content_type = t.content_type) r
    CROSS JOIN LATERAL (
        SELECT count(*) AS ahead FROM (
            SELECT FROM schedule_slots o
            WHERE o.schedule_id = t.schedule_id AND o.content_type = t.content_type
            AND o.outcome = 'due' AND o.scheduled_for < t.scheduled_for AND o.start_at <= :now
            AND (o.deadline_at IS NULL OR o.deadline_at >= :now) LIMIT 2) b) a
    WHERE t.outcome = 'due' AND t.start_at <= :now AND t.schedule_id = :id
        AND t.scheduled_for = :at AND t.run_group = :group
    ORDER BY t.priority DESC, t.start_at, t.content_type"""


async def due(conn: Connection, now: datetime, *, has_place: bool, limit: int) -> list[DueRow]:
    """Return due slots that may start or end now, in the order in which they start.

    ``has_place``: whether a run may be started. Without, those that wait for a place are left out.
    """
    values = {"now": now, "has_place": has_place, "limit": limit}
    rows = await conn.execute(text(_MAY_CHANGE), values)
    return [_row(row) for row in rows.mappings()]


async def lock_group(
    conn: Connection, schedule_id: str, at: datetime, group: str, now: datetime
) -> list[DueRow]:
    """Return the due slots that would share a run, and lock them."""
    values = {"id": schedule_id, "at": at, "group": group}
    await conn.execute(_LOCK_GROUP, values)
    rows = await conn.execute(text(_OF_GROUP), {**values, "now": now})
    return [_row(row) for row in rows.mappings()]


def _row(row: Any) -> DueRow:
    known = dict(row)
    key = SlotKey(
        known.pop("schedule_id"), known.pop("scheduled_for"), ContentType(known.pop("content_type"))
    )
    return DueRow(key=key, **{**known, "status": ScheduleStatus(known["status"])})


async def has_run(conn: Connection, schedule_id: str, at: datetime, group: str) -> bool:
    """Whether another content type of the group has a run at this instant."""
    rows = await conn.execute(
        text(
            "SELECT EXISTS (SELECT FROM schedule_slots WHERE schedule_id = :id"
            " AND scheduled_for = :at AND run_group = :group AND run_id IS NOT NULL)"
        ),
        {"id": schedule_id, "at": at, "group": group},
    )
    return bool(rows.scalar_one())


async def start(
    conn: Connection, reasons: Mapping[SlotKey, tuple[str, str]], run_id: UUID, now: datetime
) -> int:
    """Compare-and-set due slots to started; ``reasons``: code and sentence. Returns how many."""
    rows = [
        {**key._asdict(), "reason_code": code, "reason": reason}
        for key, (code, reason) in reasons.items()
    ]
    step = change(SLOT_MACHINE, "start")
    found = await conn.execute(
        text(
            "UPDATE schedule_slots t SET outcome = :target, reason_code = e.reason_code,"
            " reason = e.reason, run_id = :run, started_at = :now"
            f" FROM {_ROWS} WHERE {_SAME} AND t.outcome = ANY(:sources)"
        ),
        {
            "rows": json.dumps(rows, ensure_ascii=False, default=str),
            "target": step.target,
            "sources": step.sources,
            "run": run_id,
            "now": now,
        },
    )
    return found.rowcount


async def end(conn: Connection, endings: Sequence[Ending], now: datetime) -> set[SlotKey]:
    """Write outcomes and reasons of due slots; return the keys of those that have ended."""
    if not endings:
        return set()
    rows = [
        {
            **each.key._asdict(),
            "outcome": each.outcome,
            "reason_code": each.reason_code,
            "reason": each.reason,
        }
        for each in endings
    ]
    found = await conn.execute(
        text(
            "UPDATE schedule_slots t SET outcome = e.outcome, reason_code = e.reason_code,"
            " reason = e.reason, decided_at = CASE WHEN e.outcome = 'due' THEN t.decided_at"
            " ELSE CAST(:now AS timestamptz) END"
            f" FROM {_ROWS} WHERE {_SAME} AND t.outcome = 'due'"
            " RETURNING t.schedule_id, t.scheduled_for, t.content_type, t.outcome"
        ),
        {"rows": json.dumps(rows, ensure_ascii=False, default=str), "now": now},
    )
    return {SlotKey(row[0], row[1], ContentType(row[2])) for row in found if row.outcome != "due"}


_ROWS = (
    "jsonb_to_recordset(CAST(:rows AS jsonb)) AS e (schedule_id text, scheduled_for timestamptz,"
    " content_type text, outcome text, reason_code text, reason text)"
)
_SAME = (
    "t.schedule_id = e.schedule_id AND t.scheduled_for = e.scheduled_for"
    " AND t.content_type = e.content_type"
)
