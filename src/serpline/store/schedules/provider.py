"""Batches that a provider starts by itself: what we want, what was seen, and who works on them.

One driver at a time owns a row, fenced by its epoch. Every write renews its lease. An owner that
lost the row writes nothing (``LeaseLost``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from serpline.domain.errors import LeaseLost
from serpline.domain.names import ContentType
from serpline.store.database import IDLE_LIMIT, Connection

_COLUMNS = (
    "id, schedule_id, content_type, part, name, secret_path, wanted, filled, provider_batch_id,"
    " seen, seen_at, sent_at, epoch, next_check_at, errors, error_message"
)


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A scheduled batch as stored; see the table for its columns."""

    id: int
    schedule_id: str
    content_type: ContentType
    part: int
    name: str
    secret_path: str
    wanted: dict[str, Any] | None
    filled: str | None
    provider_batch_id: str | None
    seen: dict[str, Any] | None
    seen_at: datetime | None
    sent_at: datetime | None
    epoch: int
    next_check_at: datetime
    errors: int
    error_message: str | None


class Wanted(NamedTuple):
    """A batch that a schedule wants."""

    content_type: ContentType
    part: int
    name: str
    secret_path: str
    wanted: Mapping[str, Any]


class DrivenSchedule(NamedTuple):
    """A schedule with its newest specifications, or one that has batches at the provider.

    ``halted``: its paused content types.
    """

    id: str
    version: int
    created_at: datetime
    status: str
    specs: list[dict[str, Any]]
    halted: list[str]


def _row(row: Mapping[str, Any]) -> ProviderRow:
    known = {name: value for name, value in row.items() if name != "set_config"}
    return ProviderRow(**{**known, "content_type": ContentType(row["content_type"])})


async def driven(conn: Connection, schedule_id: str | None = None) -> list[DrivenSchedule]:
    """Return the schedules that a provider drives, or whose batches it may still have."""
    rows = await conn.execute(
        text(
            "SELECT s.id, s.version, s.created_at, s.status,"
            " coalesce(v.specs, '[]'::jsonb) AS specs,"
            " ARRAY(SELECT l.content_type FROM schedule_lanes l WHERE l.schedule_id = s.id"
            " AND l.paused_at IS NOT NULL) AS halted FROM schedules s"
            " LEFT JOIN schedule_versions v ON v.schedule_id = s.id AND v.version = s.version"
            " WHERE (CAST(:id AS text) IS NULL OR s.id = :id)"
            """ AND (v.specs @> '[{"driver": "provider"}]' AND s.status <> 'deleted'"""
            " OR EXISTS (SELECT FROM provider_schedules p WHERE p.schedule_id = s.id))"
            " ORDER BY s.id"
        ),
        {"id": schedule_id},
    )
    return [DrivenSchedule(*row) for row in rows]


async def want(conn: Connection, schedule_id: str, wanted: Sequence[Wanted]) -> None:
    """Store what a schedule wants. Its other batches are wanted no more. Changed rows are due."""
    rows = json.dumps([one._asdict() for one in wanted], ensure_ascii=False)
    values = {"schedule": schedule_id, "rows": rows}
    given = (
        "jsonb_to_recordset(CAST(:rows AS jsonb)) AS w (content_type text, part int, name text,"
        " secret_path text, wanted jsonb)"
    )
    await conn.execute(
        text(
            "INSERT INTO provider_schedules AS p (schedule_id, content_type, part, name,"
            " secret_path, wanted) SELECT :schedule, w.content_type, w.part, w.name, w.secret_path,"
            f" w.wanted FROM {given} ORDER BY 2, 3"
            " ON CONFLICT (schedule_id, content_type, part) DO UPDATE SET wanted = excluded.wanted,"
            " next_check_at = least(p.next_check_at, now()), errors = 0"
            " WHERE p.wanted IS DISTINCT FROM excluded.wanted"
        ),
        values,
    )
    await conn.execute(
        text(
            "UPDATE provider_schedules p SET wanted = NULL, errors = 0,"
            " next_check_at = least(p.next_check_at, now())"
            " WHERE p.schedule_id = :schedule AND p.wanted IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {given} WHERE w.content_type = p.content_type AND w.part = p.part)"
        ),
        values,
    )


async def claim(conn: Connection, lease_seconds: float) -> ProviderRow | None:
    """Claim the row that is due first; None if no free row is due."""
    rows = await conn.execute(
        text(
            "UPDATE provider_schedules p SET epoch = p.epoch + 1,"
            " owned_until = now() + make_interval(secs => :lease)"
            " FROM (SELECT id FROM provider_schedules WHERE next_check_at <= now()"
            " AND (owned_until IS NULL OR owned_until <= now()) ORDER BY next_check_at, id LIMIT 1"
            f" FOR UPDATE SKIP LOCKED) due WHERE p.id = due.id RETURNING {_qualified()},"
            f" {IDLE_LIMIT}"
        ),
        {"lease": lease_seconds},
    )
    row = rows.mappings().first()
    return _row(dict(row)) if row else None


async def note(
    conn: Connection, row: ProviderRow, lease_seconds: float, **values: Any
) -> ProviderRow:
    """Set columns of an owned row and renew its lease; ``LeaseLost`` if it has another owner."""
    sets = "".join(f"{_set(name)}, " for name in values)
    rows = await conn.execute(
        text(
            f"UPDATE provider_schedules SET {sets}"
            " owned_until = now() + make_interval(secs => :lease)"
            f" WHERE id = :id AND epoch = :epoch AND owned_until IS NOT NULL RETURNING {_COLUMNS}"
        ),
        {**_values(values), "id": row.id, "epoch": row.epoch, "lease": lease_seconds},
    )
    found = rows.mappings().first()
    if found is None:
        raise LeaseLost(f"batch {row.name} has another owner")
    return _row(dict(found))


# At once if another state is wanted than the one that the owner worked on.
_DELAY = (
    "CASE WHEN wanted IS NOT DISTINCT FROM CAST(:wanted AS jsonb)"
    " THEN CAST(:seconds AS float8) ELSE 0 END"
)


async def release(conn: Connection, row: ProviderRow, seconds: float, **values: Any) -> None:
    """Give an owned row back and check it in ``seconds``; at once if another state is wanted."""
    sets = "".join(f"{_set(name)}, " for name in values)
    await conn.execute(
        text(
            f"UPDATE provider_schedules SET {sets} owned_until = NULL,"
            f" delay_seconds = {_DELAY}, next_check_at = now() + make_interval(secs => {_DELAY})"
            " WHERE id = :id AND epoch = :epoch"
        ),
        {
            **_values(values),
            "id": row.id,
            "epoch": row.epoch,
            "seconds": seconds,
            "wanted": None if row.wanted is None else json.dumps(row.wanted),
        },
    )


async def forget(conn: Connection, row: ProviderRow) -> bool:
    """Delete an owned row whose batch is gone; False if it is wanted again."""
    rows = await conn.execute(
        text(
            "DELETE FROM provider_schedules WHERE id = :id AND epoch = :epoch AND wanted IS NULL"
            " RETURNING id"
        ),
        {"id": row.id, "epoch": row.epoch},
    )
    return rows.first() is not None


async def is_in_use(conn: Connection, provider_batch_id: str) -> bool:
    """Whether a run in progress waits for, or reads, a result set of the batch."""
    rows = await conn.execute(
        text(
            "SELECT FROM provider_batches b JOIN chunks c ON c.id = b.chunk_id"
            " JOIN pipeline_executions r ON r.id = c.run_id"
            " WHERE b.provider_batch_id = :id AND b.status NOT IN ('ingested', 'lost')"
            " AND r.status IN ('pending', 'running', 'paused') LIMIT 1"
        ),
        {"id": provider_batch_id},
    )
    return rows.first() is not None


async def batch_of_part(
    conn: Connection, schedule_id: str, content_type: str, part: int
) -> str | None:
    """Return the id of the batch that the provider has for a part of a schedule's searches."""
    rows = await conn.execute(
        text(
            "SELECT provider_batch_id FROM provider_schedules WHERE schedule_id = :schedule"
            " AND content_type = :kind AND part = :part AND provider_batch_id IS NOT NULL"
        ),
        {"schedule": schedule_id, "kind": content_type, "part": part},
    )
    found: str | None = rows.scalar_one_or_none()
    return found


async def seconds_to_next_check(conn: Connection) -> float | None:
    """Return the seconds until a row is due; None if there is none."""
    rows = await conn.execute(
        text(
            "SELECT extract(epoch FROM min(greatest(next_check_at, owned_until)) - now())::float"
            " FROM provider_schedules"
        )
    )
    found: float | None = rows.scalar_one()
    return found


async def due_ids(conn: Connection) -> set[int]:
    """Return the ids of the rows that are due."""
    query = text("SELECT id FROM provider_schedules WHERE next_check_at <= now()")
    rows = await conn.execute(query)
    return set(rows.scalars())


async def listed(conn: Connection, schedule_id: str | None = None) -> list[ProviderRow]:
    """Return the rows of a schedule, or of all."""
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM provider_schedules"
            " WHERE CAST(:id AS text) IS NULL OR schedule_id = :id"
            " ORDER BY schedule_id, content_type, part"
        ),
        {"id": schedule_id},
    )
    return [_row(dict(row)) for row in rows.mappings()]


def _qualified() -> str:
    return ", ".join(f"p.{name}" for name in _COLUMNS.split(", "))


def _set(name: str) -> str:
    return f"{name} = CAST(:{name} AS jsonb)" if name == "seen" else f"{name} = :{name}"


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    seen = values.get("seen")
    return {**values, **({"seen": json.dumps(seen)} if seen is not None else {})}
