"""Backfills of schedules: rows, and compare-and-set changes of their state.

Whoever changes a backfill locks its row first. So two processes start no slot twice.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.schedules import BACKFILL_MACHINE, BackfillKind, BackfillStatus
from serpline.domain.states import change
from serpline.store.database import IDLE_LIMIT, Connection

UNENDED = "status IN ('planned', 'running', 'paused')"
_COLUMNS = (
    "id, schedule_id, kind, slots_from, slots_to, status, runs_at_once, credit_limits, estimate,"
    " reason, created_at, ended_at"
)


@dataclass(frozen=True, slots=True)
class BackfillRow:
    """A backfill as stored. ``slots_from`` to ``slots_to``: instants, both included."""

    id: int
    schedule_id: str
    kind: BackfillKind
    slots_from: datetime
    slots_to: datetime
    status: BackfillStatus
    runs_at_once: int
    credit_limits: dict[str, float]
    estimate: dict[str, Any]
    reason: str | None
    created_at: datetime
    ended_at: datetime | None


def _row(row: Mapping[str, Any]) -> BackfillRow:
    known = {name: value for name, value in row.items() if name != "set_config"}
    enums = {"kind": BackfillKind(row["kind"]), "status": BackfillStatus(row["status"])}
    return BackfillRow(**{**known, **enums})


async def insert(
    conn: Connection,
    schedule_id: str,
    kind: BackfillKind,
    slots: tuple[datetime, datetime],
    *,
    runs_at_once: int,
    credit_limits: Mapping[str, float],
    estimate: Mapping[str, Any],
    now: datetime,
) -> BackfillRow:
    """Store a planned backfill of the instants from ``slots[0]`` to ``slots[1]``."""
    rows = await conn.execute(
        text(
            "INSERT INTO schedule_backfills (schedule_id, kind, slots_from, slots_to,"
            " runs_at_once, credit_limits, estimate, created_at) VALUES (:schedule, :kind, :first,"
            " :last, :at_once, CAST(:limits AS jsonb), CAST(:estimate AS jsonb), :now)"
            f" RETURNING {_COLUMNS}"
        ),
        {
            "schedule": schedule_id,
            "kind": kind,
            "first": slots[0],
            "last": slots[1],
            "at_once": runs_at_once,
            "limits": json.dumps(dict(credit_limits)),
            "estimate": json.dumps(dict(estimate), default=str),
            "now": now,
        },
    )
    return _row(dict(rows.mappings().one()))


async def lock(conn: Connection, backfill_id: int, *, skip: bool = False) -> BackfillRow | None:
    """Return a backfill and lock it; None if there is none, or with ``skip`` if it is locked."""
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS}, {IDLE_LIMIT} FROM schedule_backfills WHERE id = :id"
            f" FOR UPDATE{' SKIP LOCKED' if skip else ''}"
        ),
        {"id": backfill_id},
    )
    row = rows.mappings().first()
    return _row(dict(row)) if row else None


async def at_work(conn: Connection) -> list[int]:
    """Return the ids of the backfills that have runs to start or to follow, oldest first."""
    query = text(
        "SELECT id FROM schedule_backfills WHERE status IN ('planned', 'running')"
        " UNION SELECT backfill_id FROM schedule_backfill_slots WHERE status = 'running' ORDER BY 1"
    )
    return list((await conn.execute(query)).scalars())


async def change_status(
    conn: Connection, backfill_id: int, event: str, now: datetime, reason: str | None = None
) -> bool:
    """Compare-and-set the state; False if the event does not apply to it."""
    step = change(BACKFILL_MACHINE, event)
    is_end = step.target in (BackfillStatus.COMPLETED, BackfillStatus.CANCELLED)
    rows = await conn.execute(
        text(
            "UPDATE schedule_backfills SET status = :target, reason = :reason,"
            " ended_at = CASE WHEN :is_end THEN CAST(:now AS timestamptz) END"
            " WHERE id = :id AND status = ANY(:sources) RETURNING id"
        ),
        {
            "id": backfill_id,
            "target": step.target,
            "reason": reason,
            "is_end": is_end,
            "now": now,
            "sources": step.sources,
        },
    )
    return rows.first() is not None


async def reopen_slots(conn: Connection, backfill_id: str, run_id: UUID) -> None:
    """Mark failed slots as running: a person retries their run, which may fill them yet.

    Those of a cancelled backfill stay, because its runs are cancelled.
    """
    await conn.execute(
        text(
            "UPDATE schedule_backfill_slots s SET status = 'running', reason = NULL,"
            " ended_at = NULL FROM schedule_backfills b WHERE CAST(b.id AS text) = :id"
            " AND b.status <> 'cancelled' AND s.backfill_id = b.id AND s.run_id = :run"
            " AND s.status = 'failed'"
        ),
        {"id": backfill_id, "run": run_id},
    )


async def set_credit_limits(
    conn: Connection, backfill_id: int, limits: Mapping[str, float]
) -> None:
    """Replace the limits of these providers of a locked backfill."""
    await conn.execute(
        text(
            "UPDATE schedule_backfills SET credit_limits = credit_limits || CAST(:limits AS jsonb)"
            " WHERE id = :id"
        ),
        {"id": backfill_id, "limits": json.dumps(dict(limits))},
    )


async def listed(conn: Connection, schedule_id: str, limit: int) -> list[BackfillRow]:
    """Return a schedule's backfills, newest first."""
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM schedule_backfills WHERE schedule_id = :schedule"
            " ORDER BY id DESC LIMIT :limit"
        ),
        {"schedule": schedule_id, "limit": limit},
    )
    return [_row(dict(row)) for row in rows.mappings()]


async def spent(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, float]]:
    """Return the credits that each backfill's runs have spent, by provider, calls in flight too."""
    rows = await conn.execute(
        text(
            "SELECT w.id, b.provider, b.spent + b.reserved AS spent"
            " FROM unnest(CAST(:ids AS bigint[])) AS w(id) JOIN provider_budgets b"
            " ON b.scope = 'backfill:' || CAST(w.id AS text) ORDER BY w.id, b.provider"
        ),
        {"ids": list(ids)},
    )
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row.id, {})[row.provider] = float(row.spent)
    return found
