"""Lanes with the runs whose results they read, for the statements of the views.

A run may take a phase's results from an earlier run. A view finds that run by the lane
(``OF_LANE``). A statement over one run has it as a value (``GIVEN``), with the phase's name as the
parameter: only then can joins be hash joins (``hash_joins``).
"""

from dataclasses import dataclass, fields
from typing import Final

from serpline.domain.names import SEARCHED_TYPES, ContentType, PhaseName


@dataclass(frozen=True, slots=True)
class Sources:
    """For each phase, SQL for the run whose results are read; ``alias`` of the lanes is ``l``."""

    keyword_metrics: str
    serp_collection: str
    company_enrichment_serp: str
    youtube_enrichment: str
    company_enrichment_youtube: str
    dsi_calculation: str


_PHASES: Final = tuple(field.name for field in fields(Sources))
OF_LANE: Final = Sources(**{phase: f"l.{phase}" for phase in _PHASES})
GIVEN: Final = Sources(**{phase: f"CAST(:{phase} AS uuid)" for phase in _PHASES})

_TYPES: Final = ", ".join(f"'{kind}'" for kind in SEARCHED_TYPES)


def late_for(run: str) -> str:
    """SQL for the slot that a late snapshot stands for; NULL: it is none."""
    return (
        f"CASE WHEN {run}.config #>> '{{backfill,is_late}}' = 'true'"
        f" OR {run}.config #>> '{{backfill,kind}}' = 'late' THEN {run}.scheduled_for END"
    )


def last_search_on(searches: str, content_type: str, otherwise: str) -> str:
    """SQL for the day (UTC) of a run's last search, of one content type or of ``all``.

    An index ends each of the three lookups at its first row.
    """
    return f"""
        CAST(coalesce((
            SELECT max(t.last_at) FROM unnest(ARRAY[{_TYPES}]) AS k(kind), LATERAL (
                SELECT max(x.collected_at) AS last_at FROM serps x
                WHERE CAST(x.run_id AS text) || x.content_type
                    = CAST({searches} AS text) || k.kind
            ) t WHERE {content_type} IN (k.kind, '{ContentType.ALL}')
        ), {otherwise}) AT TIME ZONE 'UTC' AS date)"""


def _source(phase: str) -> str:
    return (
        "coalesce((SELECT x.source_run_id FROM pipeline_phase_status x"
        " WHERE x.pipeline_execution_id = s.id"
        f" AND x.phase_name = '{phase}' LIMIT 1), s.id) AS {phase}"
    )


def lanes(phase: PhaseName) -> str:
    """The lanes of a phase, with their sources and dates.

    GROUP BY a key changes no row. It keeps the planner from computing the columns once per result.
    """
    return f"""(
        SELECT b.*, {last_search_on("b.serp_collection", "b.content_type", "b.created_at")}
            AS collected_on, o.config -> 'devices' AS devices, {late_for("o")} AS late_for
        FROM (
            SELECT s.id AS run_id, i.content_type, s.created_at,
                s.config ->> 'landscape' AS landscape,
                {", ".join(map(_source, _PHASES))}
            FROM pipeline_executions s JOIN pipeline_phase_status i
                ON i.pipeline_execution_id = s.id AND i.phase_name = '{phase}'
            WHERE s.expired_at IS NULL
            GROUP BY s.id, i.content_type
        ) b JOIN pipeline_executions o ON o.id = b.serp_collection
        GROUP BY b.run_id, b.content_type, b.created_at, b.landscape,
            {", ".join(f"b.{name}" for name in _PHASES)}, o.id
    )"""
