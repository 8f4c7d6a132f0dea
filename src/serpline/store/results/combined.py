"""Choose the figures that the combined DSI weighs: one run's per content type, market and device.

A run uses its own figures where it collected and scored them. Elsewhere it uses those of the newest
earlier run over the same keywords (``landscape`` and ``keyword_limit``) that did. That run must be
tracked and have scored its own searches: a run over another run's results is never a source for
others. Such a run takes the place in time of the run it reads: later collections are not before it.

Limit: only the last ``CANDIDATES_MAX`` runs that scored a type are considered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import text

from serpline.config.freshness import is_stale, stands_at
from serpline.config.run import PipelineConfig
from serpline.domain.names import SEARCHED_TYPES, ContentType
from serpline.domain.phases import LaneKey
from serpline.store.database import Connection
from serpline.store.frames import read_frame
from serpline.store.results.collection import Collection, collection, late_for
from serpline.store.results.scores import CHOSEN
from serpline.store.runs import runs

if TYPE_CHECKING:
    import polars as pl

CANDIDATES_MAX = 100


@dataclass(frozen=True, slots=True)
class Source:
    """The figures of one content type, market and device.

    Run ``scored_by`` computed them from ``searches``, which run ``collected_by`` made.
    ``is_stale``: see ``config.freshness``. ``late_for``: the slot for which the searches were made
    late.
    """

    searches: Collection
    scored_by: UUID
    collected_by: UUID
    is_stale: bool = False
    late_for: datetime | None = None

    @property
    def landscape(self) -> tuple[str, str, str]:
        """Return content type, market and device."""
        return self.searches.content_type, self.searches.market, self.searches.device


async def of_type(conn: Connection, run_id: UUID, content_type: str) -> list[Source]:
    """Return the sources of a run's figures of one content type, by market and device."""
    read = await runs.source_runs(conn, run_id)
    found = await collection(conn, run_id, content_type)
    late = await late_for(conn, run_id)
    return [
        Source(each, run_id, read["serp_collection"], late_for=late)
        for each in found
        if each.collected
    ]


async def choose(conn: Connection, run_id: UUID) -> list[Source]:
    """Return the sources of a run's combined figures, for the markets and devices it collected."""
    read = await runs.source_runs(conn, run_id)
    origin = await runs.get(conn, read["serp_collection"])
    if origin is None:
        return []
    config = PipelineConfig.from_json(origin.config)
    now = stands_at(config, origin.scheduled_for, origin.created_at)
    own = await collection(conn, run_id)
    places = {(each.market, each.device) for each in own if each.collected}
    chosen = []
    for kind in SEARCHED_TYPES:
        missing = set(places)
        for candidate in await candidates(conn, run_id, origin.id, kind):
            config = PipelineConfig.from_json(candidate.config)
            started = stands_at(config, candidate.scheduled_for, candidate.created_at)
            stale = candidate.id != run_id and is_stale(config, kind, started, now)
            late = await late_for(conn, candidate.id)
            for each in await collection(conn, candidate.id, kind):
                place = (each.market, each.device)
                if place in missing and each.collected:
                    missing.remove(place)
                    by = origin.id if candidate.id == run_id else candidate.id
                    chosen.append(Source(each, candidate.id, by, stale, late))
            if not missing:
                break
    return chosen


def _is_tracked(run: str) -> str:
    """Whether the results of type ``:type`` of a run are tracked (``PipelineConfig.of``)."""
    key = "->> 'enable_historical_tracking'"
    own = f"{run}.config -> 'lanes' -> CAST(:type AS text) {key}"
    return f"coalesce({own}, {run}.config {key})::boolean"


def _stands_at(run: str) -> str:
    """SQL for the place of a run in the order of runs (``config.freshness.stands_at``)."""
    return (
        f"coalesce(CAST({run}.config #>> '{{backfill,started_at}}' AS timestamptz),"
        f" {run}.created_at)"
    )


def _place(run: str) -> str:
    """SQL for the run in whose place a run stands: one that it replaces, or itself."""
    return f"coalesce({run}.config #>> '{{backfill,run_id}}', CAST({run}.id AS text))"


# A later run collected and scored the type in the place of ``r``.
_REPLACED = f"""
    SELECT FROM pipeline_executions n JOIN pipeline_phase_status l
        ON l.pipeline_execution_id = n.id AND l.phase_name = 'dsi_calculation'
        AND l.content_type = :type AND l.status = 'completed'
    WHERE n.config #>> '{{backfill,run_id}}' = {_place("r")} AND n.created_at > r.created_at
    AND n.expired_at IS NULL
    AND EXISTS (SELECT FROM serps p WHERE p.run_id = n.id AND p.content_type = :type)
"""


async def candidates(
    conn: Connection, run_id: UUID, origin: UUID, content_type: ContentType
) -> Sequence[Any]:
    """Return the runs that scored a type: this one first, then earlier ones, newest first.

    A run that replaces another one takes its place in time.
    """
    rows = await conn.execute(
        text(
            f"""
            SELECT r.id, r.config, r.scheduled_for, r.created_at
            FROM pipeline_executions r
            JOIN pipeline_phase_status scored ON scored.pipeline_execution_id = r.id
                AND scored.phase_name = 'dsi_calculation' AND scored.content_type = :type
                AND scored.status = 'completed'
            JOIN pipeline_phase_status searched ON searched.pipeline_execution_id = r.id
                AND searched.phase_name = 'serp_collection' AND searched.content_type = :type
            JOIN pipeline_executions own ON own.id = :run
            JOIN pipeline_executions origin ON origin.id = :origin
            WHERE r.id = own.id OR (
                {_stands_at("r")} <= {_stands_at("origin")} AND searched.source_run_id = r.id
                AND r.expired_at IS NULL
                AND {_is_tracked("r")} AND {_is_tracked("own")}
                AND r.config ->> 'landscape' IS NOT DISTINCT FROM own.config ->> 'landscape'
                AND r.config ->> 'keyword_limit' IS NOT DISTINCT FROM own.config ->> 'keyword_limit'
                AND NOT EXISTS ({_REPLACED}) AND (r.created_at < own.created_at
                    OR r.config #>> '{{backfill,run_id}}' IS DISTINCT FROM {_place("own")})
            )
            ORDER BY r.id = own.id DESC, {_stands_at("r")} DESC LIMIT :limit
            """
        ),
        {"run": run_id, "origin": origin, "type": str(content_type), "limit": CANDIDATES_MAX},
    )
    return rows.all()


COUNTED = (
    "keywords_ranked",
    "relevance_basis",
    "results",
    "unknown_volume_keywords",
    "unknown_ai_overview_keywords",
    "unanalysed_results",
)
SCORE: Mapping[str, type] = {
    **dict.fromkeys(("content_type", "market", "device", "company", "completeness"), str),
    "dsi": float,
    **dict.fromkeys(COUNTED, int),
    "proxy": bool,
}
SCORES = text(f"SELECT {', '.join(SCORE)} FROM dsi_scores WHERE {CHOSEN}")


async def typed_scores(conn: Connection, sources: Sequence[Source]) -> "pl.DataFrame":
    """Return the sources' scores with the columns of ``SCORE``, in no order."""
    return await read_frame(conn, SCORES, chosen(sources), SCORE)


async def plan_params(conn: Connection, run_id: UUID, lane: LaneKey) -> dict[str, Any]:
    """Return the runs that a lane's plan reads, by phase, and the sources of the combined DSI."""
    found = await choose(conn, run_id) if lane.is_combined else []
    return {**await runs.source_runs(conn, run_id), **chosen(found)}


def chosen(sources: Sequence[Source]) -> dict[str, list[Any]]:
    """Return the sources as parameters of ``scores.CHOSEN``."""
    return {
        "chosen_types": [each.searches.content_type for each in sources],
        "chosen_markets": [each.searches.market for each in sources],
        "chosen_devices": [each.searches.device for each in sources],
        "chosen_runs": [each.scored_by for each in sources],
    }
