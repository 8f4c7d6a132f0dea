"""A run as one document: the output of ``run show --json`` and ``demo --json``.

One snapshot of lanes, scores and the ledger. Lane figures are sums of chunk counters, so the
document costs the same for ten items and for ten million.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from serpline.domain.errors import UserError
from serpline.domain.names import PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS
from serpline.domain.phases import LaneView
from serpline.domain.states import ENDED_LANES, LaneStatus
from serpline.pipeline.waiting import document, read_waiting
from serpline.store.calls import ledger
from serpline.store.database import Connection, Database
from serpline.store.results.collection import collection
from serpline.store.results.empty_pages import empty_pages
from serpline.store.results.reading import Figure, stream
from serpline.store.results.selection import Selection
from serpline.store.runs import batches, failures, runs
from serpline.store.runs import lanes as lane_rows
from serpline.store.runs.failures import FailureFilter
from serpline.store.runs.runs import RunRow

FAILURES_SHOWN_MAX = 100
BATCHES_SHOWN_MAX = 1_000

_COMPONENTS = (
    "market",
    "device",
    "dsi",
    "completeness",
    "coverage",
    "keywords_ranked",
    "keywords_collected",
    "keywords_planned",
    "traffic_share",
    "share_of_first",
    "share_of_volume",
    "share_unweighted",
    "relevance",
    "relevance_basis",
    "unknown_volume_keywords",
    "unknown_ai_overview_keywords",
    "unanalysed_results",
    "curve",
    "curve_version",
    "proxy",
    "sources",
    "stale_types",
    "late_types",
)


async def run_report(database: Database, run_id: UUID, now: datetime) -> dict[str, Any]:
    """Build the document. Raises ``UserError`` for an unknown run.

    ``now`` ends the ``seconds`` of a run that has not ended. Scores are not included, because a
    run may have 100,000 of them: see ``dsi_rows``.
    """
    async with database.transaction() as conn:
        run = await runs.get(conn, run_id)
        if run is None:
            raise UserError(f"run {run_id}: there is no such run")
        lanes = await runs.lanes(conn, run_id)
        reports = await lane_rows.reports(conn, run_id)
        spent = await ledger.totals(conn, run_id)
        failed = await failures.page(conn, run_id, FailureFilter(), limit=FAILURES_SHOWN_MAX)
        searches = await collection(conn, run_id)
        empty = await empty_pages(conn, run_id)
        made = await batches.of_run(conn, run_id, BATCHES_SHOWN_MAX)
        waiting = await read_waiting(conn, run_id)
    return {
        **run_summary(run),
        "seconds": seconds_of(run, now),
        **document(*waiting),
        "phases": (phases := _phases(lanes, reports)),
        "missing": _not_completed(phases),
        "collection": [asdict(row) for row in searches],
        "credits": {provider: _number(total.credits) for provider, total in spent.items()},
        "calls": {provider: total.calls for provider, total in spent.items()},
        "calls_unknown": {p: total.unknown for p, total in spent.items() if total.unknown},
        "failures": failed,
        "empty_pages": empty,
        "batches": [{**row, "missing": _missing(row)} for row in made],
        "config": run.config,
    }


def _missing(batch: Mapping[str, Any]) -> int | None:
    """Count the searches without a result in an ended batch; None before it ended."""
    return batch["searches"] - batch["received"] if batch["ended_at"] else None


def run_summary(run: RunRow) -> dict[str, Any]:
    """The fields of a run in a list of runs."""
    return {
        "run_id": run.id,
        "id": run.id,
        "status": run.status,
        "mode": run.mode,
        "error": run.error_message,
        "scheduled_for": run.scheduled_for,
        "schedule": run.config.get("schedule"),
        "backfill": run.config.get("backfill"),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
    }


def seconds_of(run: RunRow, now: datetime) -> float:
    """Seconds from the run's start to its end, or to ``now``; 0 before the start.

    Pauses are left out, and so is the time between an end and its retry.
    """
    if run.started_at is None:
        return 0.0
    until = run.completed_at or run.paused_at or now
    seconds = (until - run.started_at).total_seconds() - run.paused_seconds
    return round(max(0.0, seconds), 3)


async def dsi_rows(
    conn: Connection,
    run_id: UUID,
    *,
    content_type: str | None = None,
    market: str | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield a run's DSI with every component, strongest first.

    ``domain`` is a registrable domain or a channel's address; ``company`` is its company's name if
    known, else the same. ``sources`` gives the run and time of collection of each content type in
    the figure. Rows are read lazily.
    """
    chosen = Selection(
        run_id=run_id,
        content_types=() if content_type is None else (content_type,),
        markets=() if market is None else (market,),
    )
    async with aclosing(stream(conn, Figure, chosen, order=Figure.ORDER)) as rows:
        async for row in rows:
            yield {
                "company": row.company_name or row.company,
                "domain": row.company,
                "relation": row.relation,
                "content_type": row.content_type,
                **{name: getattr(row, name) for name in _COMPONENTS},
            }


def phase_status(statuses: Sequence[LaneStatus]) -> str:
    """Derive a phase's status from its lanes.

    A phase is running once a lane has started and until all have ended. It is cancelled if a lane
    was, and ``completed_with_errors`` if only some lanes completed.
    """
    asked = [status for status in statuses if status is not LaneStatus.SKIPPED]
    if not asked:
        return str(LaneStatus.SKIPPED)
    if any(status not in ENDED_LANES for status in asked):
        begun = any(status is not LaneStatus.PENDING for status in asked)
        return str(LaneStatus.RUNNING if begun else LaneStatus.PENDING)
    kinds = set(asked)
    if len(kinds) == 1:
        return str(kinds.pop())
    if LaneStatus.CANCELLED in kinds:
        return str(LaneStatus.CANCELLED)
    if LaneStatus.COMPLETED in kinds:
        return "completed_with_errors"
    return str(LaneStatus.FAILED)


def _phases(lanes: Sequence[LaneView], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    report_of = {(row["phase_name"], row["content_type"]): row for row in reports}
    phases: dict[str, Any] = {}
    for lane in lanes:
        phase = phases.setdefault(str(lane.key.phase), {"content_types": {}})
        row = report_of[str(lane.key.phase), str(lane.key.content_type)]
        phase["content_types"][str(lane.key.content_type)] = {
            "status": lane.status,
            "planned": lane.planned,
            "completed": lane.completed,
            "failed": lane.failed,
            "skipped": lane.skipped,
            "error": row["error_message"],
            "note": row["note"],
            "retry_count": lane.retry_count,
            "source_run_id": row["source_run_id"],
            "started_at": row["started_at"],
            "completed_at": row["completed_at"],
        }
    return {name: _phase(found["content_types"]) for name, found in phases.items()}


def _not_completed(phases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was skipped without a provider or failed, and what the figures lack because of it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for phase, lanes in phases.items():
        for kind, lane in lanes["content_types"].items():
            why = lane["note"] if lane["status"] is LaneStatus.SKIPPED else lane["error"]
            if why and lane["status"] in (LaneStatus.SKIPPED, LaneStatus.FAILED):
                row = {"phase": phase, "status": lane["status"], "content_types": []}
                row |= {"reason": why, "without": PHASE_INPUTS[PhaseName(phase)].without}
                found.setdefault((phase, lane["status"]), row)["content_types"].append(kind)
    return list(found.values())


def _phase(types: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    errors = [f"{kind}: {lane['error']}" for kind, lane in types.items() if lane["error"]]
    return {
        "status": phase_status([lane["status"] for lane in types.values()]),
        "error": "; ".join(errors) or None,
        "content_types": types,
    }


def _number(value: Decimal) -> int | float:
    """Convert credits to a JSON number; whole numbers have no decimal point."""
    return int(value) if value == value.to_integral_value() else float(value)
