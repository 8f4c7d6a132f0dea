"""Runs and lanes: creation, locked reads for ``advance``, and compare-and-set changes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey, LaneView
from serpline.domain.states import LANE_MACHINE, RUN_MACHINE, LaneStatus, RunStatus, change
from serpline.store.database import IDLE_LIMIT, Connection


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as stored; ``config`` is the run's own, not the current settings.

    ``paused_at``: since when it is paused. ``paused_seconds``: how long it was paused before, or
    had ended before a retry.
    """

    id: UUID
    status: RunStatus
    mode: str
    config: dict[str, Any]
    scheduled_for: datetime | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    paused_at: datetime | None
    paused_seconds: float
    error_message: str | None


_PHASES = list(PhaseName)

_COLUMNS = (
    "id, status, mode, config, scheduled_for, created_at, started_at, completed_at, paused_at,"
    " paused_seconds, error_message"
)
_RUN = f"SELECT {_COLUMNS} FROM pipeline_executions"


def _run(row: Mapping[str, Any]) -> RunRow:
    known = {name: value for name, value in row.items() if name != "set_config"}
    return RunRow(**{**known, "status": RunStatus(row["status"])})


async def create(
    conn: Connection,
    run_id: UUID,
    *,
    mode: str,
    config: Mapping[str, Any],
    lanes: Sequence[tuple[LaneKey, LaneStatus]],
    priorities: Mapping[str, int] = MappingProxyType({}),
    sources: Mapping[PhaseName, UUID] = MappingProxyType({}),
    scheduled_for: datetime | None = None,
    is_due: bool = True,
) -> bool:
    """Insert the run and its lanes; False if the id exists already.

    ``priorities``: of the lanes' work, by content type; one that is not given has the normal one.
    ``sources``: by phase, the other runs whose results it reads. Without ``is_due``, the timer
    never starts it.
    """
    made = await conn.execute(
        text(
            "INSERT INTO pipeline_executions (id, mode, config, scheduled_for, next_check_at)"
            " VALUES (:id, :mode, CAST(:config AS jsonb), :scheduled,"
            " CASE WHEN :is_due THEN now() END) ON CONFLICT (id) DO NOTHING RETURNING id"
        ),
        {
            "id": run_id,
            "mode": mode,
            "config": json.dumps(config, ensure_ascii=False, default=str),
            "scheduled": scheduled_for,
            "is_due": is_due,
        },
    )
    if made.first() is None:
        return False
    await conn.execute(
        text(
            "INSERT INTO pipeline_phase_status (pipeline_execution_id, phase_name, content_type,"
            " status, source_run_id, priority) SELECT :run, * FROM unnest("
            " CAST(:phases AS text[]), CAST(:types AS text[]), CAST(:states AS text[]),"
            " CAST(:sources AS uuid[]), CAST(:priorities AS smallint[])) ON CONFLICT DO NOTHING"
        ),
        {
            "run": run_id,
            "phases": [str(key.phase) for key, _ in lanes],
            "types": [str(key.content_type) for key, _ in lanes],
            "states": [str(status) for _, status in lanes],
            "sources": [sources.get(key.phase, run_id) for key, _ in lanes],
            "priorities": [int(priorities.get(key.content_type, 0)) for key, _ in lanes],
        },
    )
    return True


async def get(conn: Connection, run_id: UUID) -> RunRow | None:
    """Return the run; None if it is unknown or its results have expired."""
    query = text(f"{_RUN} WHERE id = :id AND expired_at IS NULL")
    row = (await conn.execute(query, {"id": run_id})).mappings().first()
    return _run(dict(row)) if row else None


async def lock(conn: Connection, run_id: UUID) -> RunRow | None:
    """Return the run like ``get``, and lock its row until the transaction ends.

    The lock blocks other changes of the run, but not writes of its results, which lock only its
    key.
    """
    query = text(
        f"SELECT {_COLUMNS}, {IDLE_LIMIT} FROM pipeline_executions"
        " WHERE id = :id AND expired_at IS NULL FOR NO KEY UPDATE"
    )
    row = (await conn.execute(query, {"id": run_id})).mappings().first()
    return _run(dict(row)) if row else None


async def recent(conn: Connection, limit: int) -> list[RunRow]:
    """Return the latest runs, newest first."""
    query = text(f"{_RUN} WHERE expired_at IS NULL ORDER BY created_at DESC, id LIMIT :limit")
    return [_run(dict(row)) for row in (await conn.execute(query, {"limit": limit})).mappings()]


async def lanes(conn: Connection, run_id: UUID) -> list[LaneView]:
    """Return a run's lanes in the order of the data flow, with the sums of their chunks."""
    rows = await conn.execute(
        text(
            "SELECT l.id, l.phase_name, l.content_type, l.status, l.retry_count,"
            " l.planned_at IS NOT NULL AS is_planned, l.deadline_at,"
            " coalesce(c.chunks, 0) AS chunks, coalesce(c.chunks_done, 0) AS chunks_done,"
            " coalesce(c.planned, 0) AS planned, coalesce(c.completed, 0) AS completed,"
            " coalesce(c.failed, 0) AS failed, coalesce(c.skipped, 0) AS skipped"
            " FROM pipeline_phase_status l LEFT JOIN (SELECT lane_id, count(*) AS chunks,"
            " count(*) FILTER (WHERE status = 'done') AS chunks_done, sum(planned) AS planned,"
            " sum(completed) AS completed, sum(failed) AS failed, sum(skipped) AS skipped"
            " FROM chunks WHERE run_id = :run GROUP BY lane_id) c ON c.lane_id = l.id"
            " WHERE l.pipeline_execution_id = :run ORDER BY l.id"
        ),
        {"run": run_id},
    )
    views = [
        LaneView(
            id=row["id"],
            key=LaneKey(PhaseName(row["phase_name"]), ContentType(row["content_type"])),
            status=LaneStatus(row["status"]),
            is_planned=row["is_planned"],
            deadline_at=row["deadline_at"],
            retry_count=row["retry_count"],
            chunks=row["chunks"],
            chunks_done=row["chunks_done"],
            planned=int(row["planned"]),
            completed=int(row["completed"]),
            failed=int(row["failed"]),
            skipped=int(row["skipped"]),
        )
        for row in rows.mappings()
    ]
    # Not by id: a lane created by hand may be newer than the lanes that need it.
    return sorted(views, key=lambda view: (_PHASES.index(view.key.phase), view.id))


async def source_runs(conn: Connection, run_id: UUID) -> dict[str, UUID]:
    """Return, by phase, the run whose results ``run_id`` reads; as parameters of a statement.

    A phase without a lane is the run's own.
    """
    rows = await conn.execute(
        text(
            "SELECT DISTINCT phase_name, source_run_id FROM pipeline_phase_status"
            " WHERE pipeline_execution_id = :run"
        ),
        {"run": run_id},
    )
    return {**{str(phase): run_id for phase in PhaseName}, **{row[0]: row[1] for row in rows}}


async def change_run(
    conn: Connection, run_id: UUID, event: str, now: datetime, error: str | None = None
) -> bool:
    """Compare-and-set the run's state; False if the event does not apply to its state.

    The time that it was paused, or had ended before a retry, is added to ``paused_seconds``.
    """
    step = change(RUN_MACHINE, event)
    ended = step.target not in (RunStatus.RUNNING, RunStatus.PAUSED)
    rows = await conn.execute(
        text(
            "UPDATE pipeline_executions SET status = :target, error_message = :error,"
            " started_at = CASE WHEN :event = 'cancel' THEN started_at"
            " ELSE coalesce(started_at, :now) END,"
            " completed_at = CASE WHEN :ended THEN CAST(:now AS timestamptz) END,"
            " paused_at = CASE WHEN :event = 'pause' THEN CAST(:now AS timestamptz) END,"
            " paused_seconds = paused_seconds + greatest(0, coalesce(extract(epoch FROM"
            " CAST(:now AS timestamptz) - CASE WHEN started_at IS NOT NULL THEN"
            " CASE WHEN :event = 'retry' THEN completed_at ELSE paused_at END END), 0)),"
            " next_check_at = CASE WHEN :ended THEN NULL ELSE now() END,"
            " items_pruned_at = CASE WHEN :event = 'retry' THEN NULL ELSE items_pruned_at END"
            " WHERE id = :id AND status = ANY(:sources) RETURNING id"
        ),
        {
            "id": run_id,
            "event": event,
            "target": step.target,
            "sources": step.sources,
            "now": now,
            "ended": ended,
            "error": error,
        },
    )
    return rows.first() is not None


async def change_lane(
    conn: Connection, lane_id: int, event: str, now: datetime, reason: str | None = None
) -> bool:
    """Compare-and-set a lane's state. ``reason``: the error of a failure, else a note.

    A retry marks the lane as unplanned, so that it is planned again. If it was cancelled or skipped
    the retry does not count, because nothing had failed.
    """
    step = change(LANE_MACHINE, event)
    rows = await conn.execute(
        text(
            "UPDATE pipeline_phase_status SET status = :target,"
            " started_at = CASE WHEN :event = 'start' THEN :now ELSE started_at END,"
            " completed_at = CASE WHEN :ended THEN CAST(:now AS timestamptz) END,"
            " planned_at = CASE WHEN :event = 'retry' THEN NULL ELSE planned_at END,"
            " deadline_at = CASE WHEN :event = 'start' THEN NULL ELSE deadline_at END,"
            " retry_count = retry_count + CASE WHEN :event = 'retry'"
            " AND status NOT IN ('cancelled', 'skipped') THEN 1 ELSE 0 END,"
            " error_message = CASE WHEN :broken THEN CAST(:reason AS text) END,"
            " note = CASE WHEN NOT :broken THEN CAST(:reason AS text) END"
            " WHERE id = :id AND status = ANY(:sources) RETURNING id"
        ),
        {
            "id": lane_id,
            "event": event,
            "target": step.target,
            "sources": step.sources,
            "now": now,
            "ended": step.target not in (LaneStatus.PENDING, LaneStatus.RUNNING),
            "broken": event in ("fail", "block"),
            "reason": reason,
        },
    )
    return rows.first() is not None


async def check_again(conn: Connection, run_id: UUID, after_seconds: float) -> None:
    """Have the timer wake the run after at most ``after_seconds``."""
    await conn.execute(
        text(
            "UPDATE pipeline_executions SET next_check_at = now() + make_interval(secs => :s)"
            " WHERE id = :id AND status IN ('pending', 'running')"
        ),
        {"id": run_id, "s": after_seconds},
    )
