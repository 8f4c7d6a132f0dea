"""Read what a run waits for: the facts for ``domain.waits.waits_of``, in a few statements.

No statement reads items. The largest one reads a run's unfinished chunks, by an index.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.domain.states import BreakerState, LaneStatus, RunStatus
from serpline.domain.waits import (
    BatchFact,
    BreakerFact,
    BudgetFact,
    ChunkGroup,
    RunFacts,
    WaitCause,
    WaitReason,
)
from serpline.store.database import Connection
from serpline.store.runs import workers

_RUN = text(
    f"""
    SELECT r.status, r.paused_at, now() AS now, w.workers, w.silent_since,
        (SELECT count(*) FROM chunks WHERE status = 'owned' AND run_id <> r.id) AS others,
        (SELECT detail ->> 'by' FROM pipeline_events WHERE run_id = r.id AND r.status = 'paused'
            AND event_type = 'run.pause' ORDER BY id DESC LIMIT 1) AS paused_by,
        (SELECT error_category FROM item_retries WHERE run_id = r.id
            ORDER BY id DESC LIMIT 1) AS last_error
    FROM pipeline_executions r, (
        SELECT count(*) FILTER (WHERE {workers.IS_ALIVE}) AS workers,
            max(coalesce(ended_at, heartbeat_at)) AS silent_since FROM workers w
    ) AS w WHERE r.id = :run AND r.expired_at IS NULL
    """
)
_LANES = text(
    "SELECT id, phase_name, content_type, status,"
    " status = 'running' AND planned_at IS NULL AS is_unplanned FROM pipeline_phase_status"
    " WHERE pipeline_execution_id = :run ORDER BY id"
)
_GROUPS = text(
    "SELECT lane_id, status = 'owned' AS is_owned, coalesce(next_check_at <= now(), false) AS"
    " is_due, wait_cause, wait_subject, min(next_check_at) AS next_check_at,"
    " sum(planned - completed - failed - skipped) AS items FROM chunks"
    " WHERE run_id = :run AND status <> 'done' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
)
_BATCHES = text(
    "SELECT c.lane_id, c.no + 1 AS number, b.started_at AS since, b.error_message AS error,"
    " l.total FROM chunks c JOIN provider_batches b ON b.chunk_id = c.id"
    # Counted once a lane: a count for each batch would grow with the square of their number.
    " JOIN (SELECT lane_id, count(*) AS total FROM chunks WHERE run_id = :run GROUP BY lane_id) l"
    " ON l.lane_id = c.lane_id"
    " WHERE c.run_id = :run AND c.status <> 'done' AND c.wait_cause = 'provider_queue'"
    " AND b.status NOT IN ('ingested', 'lost') ORDER BY c.lane_id, c.no"
)
_BREAKERS = text("SELECT name, state, open_until FROM circuit_breakers WHERE name = ANY(:names)")
_BUDGETS = text(
    # By the key: every run has rows of its own in this table.
    "SELECT b.provider, b.scope, b.limit_credits, b.spent FROM unnest(CAST(:names AS text[]))"
    " AS n(name) JOIN provider_budgets b ON b.provider = split_part(n.name, ' ', 1)"
    " AND b.scope = split_part(n.name, ' ', 2)"
)
_PAUSES = text(
    "SELECT provider, paused_until FROM provider_rates"
    " WHERE provider = ANY(:names) AND paused_until > now()"
)
_PHASES = list(PhaseName)


async def read(conn: Connection, run_id: UUID) -> RunFacts | None:
    """Return the facts of a run; None if it is unknown. The cost grows with its chunks alone."""
    run = (await conn.execute(_RUN, {"run": run_id})).mappings().first()
    if run is None:
        return None
    rows = list(await conn.execute(_LANES, {"run": run_id}))
    rows.sort(key=lambda row: (_PHASES.index(PhaseName(row.phase_name)), row.id))
    keys = {
        row.id: LaneKey(PhaseName(row.phase_name), ContentType(row.content_type)) for row in rows
    }
    groups = [
        ChunkGroup(
            keys[row.lane_id],
            is_owned=row.is_owned,
            is_due=row.is_due,
            reason=_reason(row.wait_cause, row.wait_subject),
            items=int(row.items),
            next_check_at=row.next_check_at,
        )
        for row in await conn.execute(_GROUPS, {"run": run_id})
    ]
    names: dict[WaitCause, list[str]] = {}
    for group in groups:
        if group.reason is not None:
            names.setdefault(group.reason.cause, []).append(group.reason.subject)
    batches = []
    if WaitCause.PROVIDER_QUEUE in names:
        batches = [
            BatchFact(keys[row.lane_id], row.number, row.total, row.since, row.error)
            for row in await conn.execute(_BATCHES, {"run": run_id})
        ]
    return RunFacts(
        status=RunStatus(run["status"]),
        lanes={keys[row.id]: LaneStatus(row.status) for row in rows},
        unplanned=[keys[row.id] for row in rows if row.is_unplanned],
        groups=groups,
        batches=batches,
        **{name: value for name, value in run.items() if name != "status"},
        **await _subjects(conn, names),
    )


async def unended(conn: Connection, limit: int) -> list[UUID]:
    """Return the runs that have not ended, oldest first."""
    rows = await conn.execute(
        text(
            "SELECT id FROM pipeline_executions WHERE status IN ('pending', 'running', 'paused')"
            " ORDER BY created_at, id LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [row.id for row in rows]


async def _subjects(conn: Connection, names: dict[WaitCause, list[str]]) -> dict[str, Any]:
    """Read the breakers, budgets and pauses that chunks wait for."""
    found: dict[str, Any] = {}
    if breakers := names.get(WaitCause.BREAKER):
        found["breakers"] = {
            row.name: BreakerFact(BreakerState(row.state), row.open_until)
            for row in await conn.execute(_BREAKERS, {"names": breakers})
        }
    budgets = [*names.get(WaitCause.BUDGET, ()), *names.get(WaitCause.BUDGET_TOO_SMALL, ())]
    if budgets:
        found["budgets"] = {
            f"{row.provider} {row.scope}": BudgetFact(row.limit_credits, row.spent)
            for row in await conn.execute(_BUDGETS, {"names": budgets})
        }
    if paused := [*names.get(WaitCause.QUOTA, ()), *names.get(WaitCause.RATE, ())]:
        found["pauses"] = {
            row.provider: row.paused_until for row in await conn.execute(_PAUSES, {"names": paused})
        }
    return found


def _reason(cause: str | None, subject: str | None) -> WaitReason | None:
    return None if cause is None else WaitReason(WaitCause(cause), subject or "")
