"""The append-only event table, which the WebSocket, the page and the notifications tail."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import IDLE_LIMIT, Connection

_LOCK = 7_235_001  # any constant: the advisory lock that puts ids in commit order


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a run; ``detail`` is a JSON object."""

    event_type: str
    run_id: UUID | None = None
    phase_name: str | None = None
    content_type: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def acted(by: str | None) -> dict[str, Any]:
    """The part of a detail that names the person who acted; empty if none is known."""
    return {} if by is None else {"by": by}


async def append(conn: Connection, events: Sequence[Event]) -> None:
    """Write events, as the last statement of the transaction.

    The lock is held until the commit, so a reader that has read up to an id has missed nothing
    below it. Statements after this call would block every other writer.
    """
    if not events:
        return
    await conn.execute(text(f"SELECT {IDLE_LIMIT}, pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    rows = json.dumps([asdict(event) for event in events], ensure_ascii=False, default=str)
    await conn.execute(
        text(
            "INSERT INTO pipeline_events (run_id, event_type, phase_name, content_type, detail)"
            " SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS event (run_id uuid,"
            " event_type text, phase_name text, content_type text, detail jsonb)"
        ),
        {"rows": rows},
    )


# What people do to a provider's breakers and budgets concerns every run that may wait for them.
_SHARED = ("breaker.reset", "breaker.isolate", "budget.raise")


async def of_run(
    conn: Connection, run_id: UUID, *, last_id: int = 0, limit: int = 500
) -> list[dict[str, Any]]:
    """Return up to ``limit`` events of a run with an id above ``last_id``, oldest first.

    Resets of breakers and raised budgets are among them, from the run's first event to its end.
    """
    rows = await conn.execute(
        text(
            "WITH run AS (SELECT coalesce(completed_at, 'infinity') AS until, coalesce((SELECT"
            " min(id) FROM pipeline_events WHERE run_id = :run), 0) AS first"
            " FROM pipeline_executions WHERE id = :run)"
            " SELECT id, occurred_at, run_id, event_type, phase_name, content_type, detail FROM ("
            " (SELECT * FROM pipeline_events WHERE run_id = :run AND id > :last"
            " ORDER BY id LIMIT :limit) UNION ALL"
            " (SELECT e.* FROM pipeline_events e, run WHERE e.run_id IS NULL"
            " AND e.id > greatest(:last, run.first) AND e.event_type = ANY(:shared)"
            " AND e.occurred_at <= run.until ORDER BY e.id LIMIT :limit)"
            " ) AS found ORDER BY id LIMIT :limit"
        ),
        {"run": run_id, "last": last_id, "limit": limit, "shared": list(_SHARED)},
    )
    return [dict(row) for row in rows.mappings()]


async def after(
    conn: Connection, last_id: int, *, run_id: UUID | None = None, limit: int = 500
) -> list[dict[str, Any]]:
    """Return up to ``limit`` events with an id above ``last_id``, oldest first."""
    rows = await conn.execute(
        text(
            "SELECT id, occurred_at, run_id, event_type, phase_name, content_type, detail"
            " FROM pipeline_events WHERE id > :last"
            " AND (CAST(:run AS uuid) IS NULL OR run_id = CAST(:run AS uuid))"
            " ORDER BY id LIMIT :limit"
        ),
        {"last": last_id, "run": run_id, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]
