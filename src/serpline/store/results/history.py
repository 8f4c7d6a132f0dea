"""What earlier runs of the project found and paid, as the basis of estimates."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import PhaseName, PipelineMode
from serpline.domain.states import LaneStatus, RunStatus
from serpline.store.database import Connection
from serpline.store.results.reports import spending
from serpline.store.runs import runs
from serpline.store.runs.runs import RunRow

RUNS_MAX = 10
# Rates of so many calls are known well enough; counting those of more large runs takes seconds.
_CALLS_ENOUGH = 10_000
_DONE = [str(RunStatus.COMPLETED), str(RunStatus.COMPLETED_WITH_ERRORS)]
# Phase → the table of what it bought.
_TABLES: Mapping[PhaseName, str] = {
    PhaseName.COMPANY_ENRICHMENT_SERP: "company_profiles",
    PhaseName.YOUTUBE_ENRICHMENT: "youtube_videos",
    PhaseName.COMPANY_ENRICHMENT_YOUTUBE: "youtube_channels",
    PhaseName.CONTENT_ANALYSIS: "content_analyses",
}


@dataclass(frozen=True, slots=True)
class Past:
    """The newest run with figures, and what the newest of such runs paid, at most ``RUNS_MAX``.

    Runs over other runs' searches do not count, and those of mode testing only if there is no
    other: five keywords have few results in common. ``searches``: collected searches by content
    type. ``items``: planned items by phase and type, without those of steps that were skipped or
    did not start. ``fresh``: by phase, the share of the run's things that were bought since
    ``fresh_since``. ``paid``: answered calls and credits by phase and provider, of all these runs.
    """

    run: RunRow
    searches: Mapping[str, int]
    items: Mapping[tuple[PhaseName, str], int]
    fresh: Mapping[PhaseName, float]
    paid: Mapping[tuple[PhaseName, str], tuple[int, float]]


async def load(conn: Connection, fresh_since: datetime) -> Past | None:
    """Return the project's history; None if no finished run has figures."""
    rows = await conn.execute(
        text(
            "SELECT r.id FROM pipeline_executions r WHERE r.expired_at IS NULL"
            " AND r.status = ANY(:done)"
            " AND EXISTS (SELECT FROM dsi_scores d WHERE d.run_id = r.id)"
            " AND EXISTS (SELECT FROM pipeline_phase_status l WHERE l.pipeline_execution_id = r.id"
            " AND l.phase_name = :searches AND l.status = :completed)"
            " ORDER BY r.mode = :testing, r.created_at DESC, r.id LIMIT :runs"
        ),
        {
            "done": _DONE,
            "searches": PhaseName.SERP_COLLECTION,
            "completed": LaneStatus.COMPLETED,
            "testing": PipelineMode.TESTING,
            "runs": RUNS_MAX,
        },
    )
    ids: list[UUID] = list(rows.scalars())
    newest = await runs.get(conn, ids[0]) if ids else None
    if newest is None:
        return None
    paid: dict[tuple[PhaseName, str], tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for run_id in ids:
        if sum(calls for calls, _ in paid.values()) >= _CALLS_ENOUGH:
            break
        for row in await spending(conn, run_id):
            key = (PhaseName(row.phase), row.provider)
            paid[key] = (paid[key][0] + row.answered, paid[key][1] + row.credits)
    lanes = await runs.lanes(conn, newest.id)
    return Past(
        run=newest,
        searches={
            str(lane.key.content_type): lane.completed
            for lane in lanes
            if lane.key.phase is PhaseName.SERP_COLLECTION and lane.completed
        },
        items={
            (lane.key.phase, str(lane.key.content_type)): lane.planned
            for lane in lanes
            if lane.planned or lane.status is LaneStatus.COMPLETED
        },
        fresh={
            phase: await _fresh(conn, newest.id, table, fresh_since)
            for phase, table in _TABLES.items()
        },
        paid=dict(paid),
    )


async def _fresh(conn: Connection, run_id: UUID, table: str, since: datetime) -> float:
    rows = await conn.execute(
        text(
            f"SELECT count(*) AS n, count(*) FILTER (WHERE fetched_at >= :since) AS fresh"
            f" FROM {table} WHERE run_id = :run"
        ),
        {"run": run_id, "since": since},
    )
    row = rows.one()
    return float(row.fresh / row.n) if row.n else 0.0
