"""The slots of backfills: which ones a backfill can fill, and how far it got with each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.schedules import BackfillKind
from serpline.domain.states import ENDED_RUNS, SLOT_MACHINE, change
from serpline.store.database import Connection
from serpline.store.schedules.backfills import UNENDED

REASON_CHARACTERS_MAX: Final = 1_000
_ENDED: Final = [str(status) for status in ENDED_RUNS]
# Where its run ended, and its results were not deleted.
_HAS_RUN: Final = (
    "t.outcome IN ('started', 'backfilled') AND e.status = ANY(:ended) AND e.expired_at IS NULL"
)
# A batch that was started and not read, so that its result set may still be held.
_HAS_UNREAD_BATCH: Final = (
    "EXISTS (SELECT FROM chunks c JOIN pipeline_phase_status l ON l.id = c.lane_id"
    " JOIN provider_batches b ON b.chunk_id = c.id WHERE c.run_id = e.id"
    " AND l.content_type = t.content_type AND b.provider_batch_id IS NOT NULL"
    " AND b.started_at > :held_since AND b.status <> 'ingested')"
)
_FILLABLE: Final[Mapping[BackfillKind, str]] = MappingProxyType(
    {
        BackfillKind.LATE: "t.outcome IN ('missed', 'skipped', 'refused')",
        BackfillKind.REFETCH: f"{_HAS_RUN} AND {_HAS_UNREAD_BATCH}",
        BackfillKind.RECOMPUTE: _HAS_RUN,
    }
)


@dataclass(frozen=True, slots=True)
class FillableSlot:
    """A slot that a backfill can fill. ``run_id``: that of its earlier run, if it had one."""

    scheduled_for: datetime
    content_type: ContentType
    version: int
    spec_no: int
    run_group: str
    outcome: str
    reason: str
    run_id: UUID | None


@dataclass(frozen=True, slots=True)
class EndedBackfillSlot:
    """A slot of a backfill whose run has ended, and whether it got figures."""

    scheduled_for: datetime
    content_type: str
    run_id: UUID
    succeeded: bool
    reason: str | None


_SLOT = "t.scheduled_for, t.content_type, t.version, t.spec_no, t.run_group, t.outcome, t.reason"


def _slot(row: Mapping[str, object]) -> FillableSlot:
    return FillableSlot(**{**row, "content_type": ContentType(str(row["content_type"]))})  # type: ignore[arg-type]


async def fillable(
    conn: Connection,
    schedule_id: str,
    kind: BackfillKind,
    first: datetime,
    last: datetime,
    *,
    held_since: datetime,
    limit: int,
) -> list[FillableSlot]:
    """Return the slots from ``first`` to ``last`` that a backfill of a kind can fill, newest first.

    Slots of another backfill that has not ended are left out. ``held_since``: of older starts the
    provider holds no result set.
    """
    rows = await conn.execute(
        text(
            f"SELECT {_SLOT}, t.run_id FROM schedule_slots t"
            " LEFT JOIN pipeline_executions e ON e.id = t.run_id"
            " WHERE t.schedule_id = :schedule AND t.scheduled_for BETWEEN :first AND :last"
            f" AND {_FILLABLE[kind]} AND NOT EXISTS (SELECT FROM schedule_backfills b"
            " JOIN schedule_backfill_slots s ON s.backfill_id = b.id"
            f" WHERE b.schedule_id = t.schedule_id AND b.{UNENDED}"
            " AND s.scheduled_for = t.scheduled_for AND s.content_type = t.content_type)"
            " ORDER BY t.scheduled_for DESC, t.content_type LIMIT :limit"
        ),
        {
            "schedule": schedule_id,
            "first": first,
            "last": last,
            "limit": limit,
            **({} if kind is BackfillKind.LATE else {"ended": _ENDED}),
            **({"held_since": held_since} if kind is BackfillKind.REFETCH else {}),
        },
    )
    return [_slot(dict(row)) for row in rows.mappings()]


async def insert(conn: Connection, backfill_id: int, slots: Sequence[FillableSlot]) -> None:
    """Store the slots of a backfill."""
    await conn.execute(
        text(
            "INSERT INTO schedule_backfill_slots (backfill_id, scheduled_for, content_type)"
            " SELECT :id, * FROM unnest(CAST(:times AS timestamptz[]), CAST(:types AS text[]))"
        ),
        {
            "id": backfill_id,
            "times": [slot.scheduled_for for slot in slots],
            "types": [str(slot.content_type) for slot in slots],
        },
    )


async def next_waiting(conn: Connection, backfill_id: int, schedule_id: str) -> list[FillableSlot]:
    """Return the newest waiting slot of a backfill and those that share its run."""
    rows = await conn.execute(
        text(
            "WITH waiting AS (SELECT t.* FROM schedule_backfill_slots s JOIN schedule_slots t"
            " ON t.schedule_id = :schedule AND t.scheduled_for = s.scheduled_for"
            " AND t.content_type = s.content_type"
            " WHERE s.backfill_id = :id AND s.status = 'waiting'),"
            " first AS (SELECT scheduled_for, version, run_group, run_id FROM waiting"
            " ORDER BY scheduled_for DESC, version, run_group, run_id LIMIT 1)"
            f" SELECT {_SLOT}, t.run_id FROM waiting t JOIN first USING (scheduled_for)"
            " WHERE t.version = first.version AND t.run_group = first.run_group"
            " AND t.run_id IS NOT DISTINCT FROM first.run_id"
            " ORDER BY t.content_type"
        ),
        {"id": backfill_id, "schedule": schedule_id},
    )
    return [_slot(dict(row)) for row in rows.mappings()]


async def mark(
    conn: Connection,
    backfill_id: int,
    slots: Sequence[FillableSlot],
    status: str,
    *,
    run_id: UUID | None = None,
    reason: str | None = None,
    ended_at: datetime | None = None,
) -> int:
    """Compare-and-set waiting slots to ``status``; return how many."""
    rows = await conn.execute(
        text(
            "UPDATE schedule_backfill_slots s SET status = :status, run_id = :run,"
            " reason = :reason, ended_at = :ended_at"
            " FROM unnest(CAST(:times AS timestamptz[]), CAST(:types AS text[]))"
            " AS w(scheduled_for, content_type) WHERE s.backfill_id = :id AND s.status = 'waiting'"
            " AND s.scheduled_for = w.scheduled_for AND s.content_type = w.content_type"
        ),
        {
            "id": backfill_id,
            "status": status,
            "run": run_id,
            "reason": reason,
            "ended_at": ended_at,
            "times": [slot.scheduled_for for slot in slots],
            "types": [str(slot.content_type) for slot in slots],
        },
    )
    return rows.rowcount


async def skip_waiting(conn: Connection, backfill_id: int, reason: str, now: datetime) -> int:
    """End the waiting slots of a backfill without a run; return how many."""
    rows = await conn.execute(
        text(
            "UPDATE schedule_backfill_slots SET status = 'skipped', reason = :reason,"
            " ended_at = :now WHERE backfill_id = :id AND status = 'waiting'"
        ),
        {"id": backfill_id, "reason": reason, "now": now},
    )
    return rows.rowcount


# A content type without a collected search got no figures, whatever its lanes say.
_END = text(
    f"""
    WITH over AS (
        SELECT s.scheduled_for, s.content_type, s.run_id, e.started_at,
            coalesce(l.status = 'completed' AND EXISTS (SELECT FROM serps p WHERE p.run_id = e.id
                AND p.content_type = s.content_type), false) AS succeeded,
            coalesce(CASE WHEN e.id IS NULL THEN 'its run is gone' END, l.error_message,
                e.error_message, 'the run is ' || e.status) AS problem
        FROM schedule_backfill_slots s LEFT JOIN pipeline_executions e ON e.id = s.run_id
        LEFT JOIN pipeline_phase_status l ON l.pipeline_execution_id = e.id
            AND l.phase_name = '{PhaseName.DSI_CALCULATION}' AND l.content_type = s.content_type
        WHERE s.backfill_id = :id AND s.status = 'running'
        AND (e.id IS NULL OR e.status = ANY(:ended))
    ), marked AS (
        UPDATE schedule_backfill_slots s SET ended_at = :now,
            status = CASE WHEN over.succeeded THEN 'completed' ELSE 'failed' END,
            reason = CASE WHEN NOT over.succeeded THEN left(over.problem, :chars) END
        FROM over WHERE s.backfill_id = :id AND s.scheduled_for = over.scheduled_for
        AND s.content_type = over.content_type
        RETURNING s.scheduled_for, s.content_type, s.run_id, over.succeeded, s.reason
    ), filled AS (
        UPDATE schedule_slots t SET outcome = :target, run_id = over.run_id, backfill_id = :id,
            started_at = over.started_at, run_status = NULL, run_ended_at = NULL, succeeded = true,
            reason = left('backfilled (' || CAST(:kind AS text) || '); before: ' || t.outcome
                || coalesce(' (run ' || CAST(t.run_id AS text) || ')', '') || ', ' || t.reason,
                :chars)
        FROM over WHERE over.succeeded AND t.schedule_id = :schedule
        AND t.scheduled_for = over.scheduled_for AND t.content_type = over.content_type
        AND t.outcome = ANY(:sources)
    )
    SELECT * FROM marked ORDER BY scheduled_for DESC, content_type
    """
)


async def end(
    conn: Connection, backfill_id: int, schedule_id: str, kind: BackfillKind, now: datetime
) -> list[EndedBackfillSlot]:
    """End the slots whose runs have ended; those with figures become *backfilled*.

    The next tick follows their runs (``following``), as it does with others.
    The reason of a backfilled slot keeps its earlier outcome, reason and run.
    """
    step = change(SLOT_MACHINE, "backfill")
    rows = await conn.execute(
        _END,
        {
            "id": backfill_id,
            "schedule": schedule_id,
            "kind": str(kind),
            "ended": _ENDED,
            "now": now,
            "target": step.target,
            "sources": step.sources,
            "chars": REASON_CHARACTERS_MAX,
        },
    )
    return [EndedBackfillSlot(**row) for row in rows.mappings()]


async def counts(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return how many slots of each backfill have each status, and its runs in progress."""
    rows = await conn.execute(
        text(
            "SELECT backfill_id, status, count(*) AS slots, count(DISTINCT run_id) AS runs"
            " FROM schedule_backfill_slots WHERE backfill_id = ANY(:ids) GROUP BY 1, 2"
        ),
        {"ids": list(ids)},
    )
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        counted = found.setdefault(row.backfill_id, {})
        counted[row.status] = row.slots
        if row.status == "running":
            counted["runs"] = row.runs
    return found


async def running_runs(conn: Connection, backfill_id: int) -> list[UUID]:
    """Return the runs of a backfill that are in progress."""
    rows = await conn.execute(
        text(
            "SELECT DISTINCT run_id FROM schedule_backfill_slots WHERE backfill_id = :id"
            " AND status = 'running'"
        ),
        {"id": backfill_id},
    )
    return list(rows.scalars())


async def listed(conn: Connection, backfill_id: int, limit: int) -> list[dict[str, object]]:
    """Return the slots of a backfill for people, newest first."""
    rows = await conn.execute(
        text(
            "SELECT scheduled_for, content_type, status, run_id, reason, ended_at"
            " FROM schedule_backfill_slots WHERE backfill_id = :id"
            " ORDER BY scheduled_for DESC, content_type LIMIT :limit"
        ),
        {"id": backfill_id, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]
