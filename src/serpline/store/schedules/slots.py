"""Slots: one row for each content type of a schedule at each of its instants."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType
from serpline.domain.states import SlotOutcome
from serpline.store.database import Connection


class SlotKey(NamedTuple):
    """The slot of one content type of a schedule at one instant."""

    schedule_id: str
    scheduled_for: datetime
    content_type: ContentType


@dataclass(frozen=True, slots=True)
class NewSlot:
    """A slot as the tick decided it; see ``schedule_slots``."""

    schedule_id: str
    scheduled_for: datetime
    content_type: ContentType
    version: int
    spec_no: int
    outcome: SlotOutcome
    reason_code: str
    reason: str
    run_group: str
    caught_up: bool
    overlap: str
    priority: int
    start_at: datetime
    deadline_at: datetime | None
    decided_at: datetime
    started_at: datetime | None = None
    run_id: UUID | None = None


_FIELDS = tuple(NewSlot.__dataclass_fields__)
_NAMES = ", ".join(_FIELDS)
_INSERT = text(
    f"INSERT INTO schedule_slots ({_NAMES}) SELECT {_NAMES}"
    " FROM jsonb_populate_recordset(CAST(NULL AS schedule_slots), CAST(:rows AS jsonb))"
    " ON CONFLICT DO NOTHING RETURNING schedule_id, scheduled_for, content_type"
)


async def insert(conn: Connection, slots: Sequence[NewSlot]) -> set[SlotKey]:
    """Insert slots and return the keys of the new ones. A slot that exists stays as it is."""
    if not slots:
        return set()
    # After a long downtime they are many, and ``asdict`` would copy every value.
    values = [{name: getattr(slot, name) for name in _FIELDS} for slot in slots]
    rows = json.dumps(values, ensure_ascii=False, default=str)
    found = await conn.execute(_INSERT, {"rows": rows})
    return {SlotKey(row[0], row[1], ContentType(row[2])) for row in found}


async def reopen(conn: Connection, schedule_id: str, run_id: UUID) -> None:
    """Mark the run of slots as not ended: a person retries it. The caller has locked the run.

    ``succeeded`` stays until the run has ended again.
    """
    # It writes rows that need no change too, so that it waits for a tick that notes their end.
    await conn.execute(
        text(
            "UPDATE schedule_slots SET run_status = NULL, run_ended_at = NULL"
            " WHERE schedule_id = :id AND run_id = :run"
        ),
        {"id": schedule_id, "run": run_id},
    )


async def page(
    conn: Connection,
    schedule_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    content_types: Sequence[ContentType] = (),
    outcomes: Sequence[SlotOutcome] = (),
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return slots of a schedule with instants in [``since``, ``until``], newest first.

    ``content_types``, ``outcomes``: only these; empty: all.
    ``run_status`` is that of the run now: a retry may have changed how it ended.
    """
    rows = await conn.execute(
        text(
            "SELECT t.scheduled_for, t.content_type, t.started_at, t.outcome, t.reason,"
            " t.reason_code, t.run_id, coalesce(r.status, t.run_status) AS run_status,"
            " t.run_ended_at, t.succeeded, t.version, t.start_at, t.deadline_at, t.decided_at,"
            " t.caught_up, t.backfill_id,"
            " extract(epoch FROM t.started_at - t.scheduled_for)::float AS lateness_seconds"
            " FROM schedule_slots t LEFT JOIN pipeline_executions r ON r.id = t.run_id"
            " WHERE t.schedule_id = :id"
            " AND t.scheduled_for >= coalesce(CAST(:since AS timestamptz), '-infinity')"
            " AND t.scheduled_for <= coalesce(CAST(:until AS timestamptz), 'infinity')"
            " AND (CAST(:kinds AS text[]) IS NULL OR t.content_type = ANY(:kinds))"
            " AND (CAST(:outcomes AS text[]) IS NULL OR t.outcome = ANY(:outcomes))"
            " ORDER BY t.scheduled_for DESC, t.content_type LIMIT :limit"
        ),
        {
            "id": schedule_id,
            "since": since,
            "until": until,
            "kinds": [str(kind) for kind in content_types] or None,
            "outcomes": [str(outcome) for outcome in outcomes] or None,
            "limit": limit,
        },
    )
    return [dict(row) for row in rows.mappings()]


async def free_instant(conn: Connection, schedule_id: str, now: datetime) -> datetime:
    """Return now, or a little later: an instant at which a locked schedule has no slot."""
    rows = await conn.execute(
        text(
            "SELECT min(free.at) FROM generate_series(0, 1000) AS n CROSS JOIN LATERAL"
            " (SELECT CAST(:now AS timestamptz) + n * interval '1 microsecond' AS at) AS free"
            " WHERE NOT EXISTS (SELECT FROM schedule_slots"
            " WHERE schedule_id = :id AND scheduled_for = free.at)"
        ),
        {"id": schedule_id, "now": now},
    )
    found: datetime = rows.scalar_one()
    return found


async def first_decided(conn: Connection, schedule_id: str) -> datetime | None:
    """Return the oldest instant of a schedule that has a slot."""
    rows = await conn.execute(
        text("SELECT min(scheduled_for) FROM schedule_slots WHERE schedule_id = :id"),
        {"id": schedule_id},
    )
    found: datetime | None = rows.scalar_one()
    return found
